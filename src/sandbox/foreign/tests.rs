//! Rules as the kernel shows them, and what follows from them. Nothing is registered here.

use super::*;

const MAGIC: &str = "7f454c460201010000000000000000000200b700";
const MASK: &str = "ffffffffffffff00fffffffffffffffffeffffff";

/// A CPU that this machine is not.
const OTHER: &str = if cfg!(target_arch = "aarch64") { "s390x" } else { "arm64" };

fn rule(interpreter: &Path, flags: &str, [magic, mask]: [&str; 2]) -> String {
    let mask = if mask.is_empty() { String::new() } else { format!("mask {mask}\n") };
    let interpreter = interpreter.display();
    format!("enabled\ninterpreter {interpreter}\nflags: {flags}\noffset 0\nmagic {magic}\n{mask}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The emulators of a kernel that shows these files.
fn emulators(files: &[(&str, &str)]) -> Emulators {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    Emulators::read(folder.path(), &folder.path().join("filesystems"))
}

fn lack(emulators: &Emulators) -> Lack {
    emulators.mounts(OTHER).unwrap_err().cause
}

#[test]
fn rules_are_read_as_the_kernel_shows_them() {
    let text = rule(Path::new("/usr/bin/qemu-aarch64-static"), "OCF", [MAGIC, MASK]);
    let entry = Entry::parse(&text).unwrap();
    assert_eq!(
        (entry.interpreter.as_path(), entry.fixed),
        (Path::new("/usr/bin/qemu-aarch64-static"), true)
    );
    let taken = CPUS.iter().filter(|cpu| entry.takes(cpu)).map(|cpu| cpu.name);
    assert_eq!(taken.collect::<Vec<_>>(), ["arm64"]);
    assert_eq!(Entry::parse(&text.replace("enabled", "disabled")), None);
    // A rule by the ending of names, the register file, the status file.
    for text in ["enabled\ninterpreter /x\nflags: \nextension .exe\n", "", "enabled"] {
        assert_eq!(Entry::parse(text), None, "{text:?}");
    }
    // Without a mask every byte counts, and so the second kind of programs is not taken.
    let exact = Entry::parse(&rule(Path::new("/x"), "", [MAGIC, ""])).unwrap();
    assert!(!exact.takes(Cpu::named("arm64").unwrap()));
    // Any ELF file, which is no emulator's rule.
    let any = Entry::parse(&rule(Path::new("/x"), "F", ["7f454c46", ""])).unwrap();
    assert!(!CPUS.iter().any(|cpu| any.takes(cpu)));
}

#[test]
fn every_cpu_is_told_by_its_header() {
    for cpu in &CPUS {
        let magic = hex(&cpu.header(2));
        let mask = if cpu.order == 1 { MASK.to_owned() } else { MASK.replace("feff", "fffe") };
        let entry = Entry::parse(&rule(Path::new("/x"), "", [&magic, &mask])).unwrap();
        let taken = CPUS.iter().filter(|cpu| entry.takes(cpu)).map(|cpu| cpu.name);
        assert_eq!(taken.collect::<Vec<_>>(), [cpu.name]);
        let expected = (!cpu.is_own()).then_some(cpu.name);
        assert_eq!(foreign_cpu(&cpu.header(3)), expected);
    }
    let own = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!((foreign_cpu(&own), foreign_cpu(b"#!/bin/sh\n")), (None, None));
    assert_eq!(CPUS.iter().filter(|cpu| cpu.is_own()).count(), 1);
}

#[test]
fn an_emulator_that_the_kernel_holds_needs_nothing() {
    let header = Cpu::named(OTHER).unwrap().header(2);
    let mask = "ffffffffffffff00fffffffffffffffffefeffff";
    let text = rule(Path::new("/nowhere/qemu"), "POCF", [&hex(&header), mask]);
    let found = emulators(&[("status", "enabled\n"), ("register", ""), ("qemu", &text)]);
    assert_eq!(found.mounts(OTHER), Ok(Vec::new()));
    assert_eq!(found.mounts("loong64").unwrap_err().architecture, "loong64");
    // This machine's own programs need none, and of unheard-of ones nothing is known.
    let own = CPUS.iter().find(|cpu| cpu.is_own()).unwrap().name;
    for architecture in [own, "unheard-of"] {
        assert_eq!(found.mounts(architecture), Ok(Vec::new()));
    }
    let off = emulators(&[("status", "disabled\n"), ("qemu", &text)]);
    assert_eq!(lack(&off), Lack::Emulator);
}

#[test]
fn any_other_emulator_is_mounted_if_it_can_work_inside() {
    let folder = tempfile::tempdir().unwrap();
    let header = hex(&Cpu::named(OTHER).unwrap().header(2));
    let mask = "ffffffffffffff00fffffffffffffffffefeffff";
    let found = |interpreter: &Path| {
        let text = rule(interpreter, "OC", [&header, mask]);
        emulators(&[("status", "enabled\n"), ("qemu", &text)])
    };
    let gone = folder.path().join("gone");
    assert_eq!(lack(&found(&gone)), Lack::File(gone.clone()));
    let shared = Path::new("/usr/bin/perl");
    assert_eq!(lack(&found(shared)), Lack::Static(shared.to_owned()));
    let alone = Path::new("/bin/busybox");
    let mounts = found(alone).mounts(OTHER).unwrap();
    let kind = MountKind::Bind { root: "/".into(), path: alone.to_owned() };
    assert_eq!(mounts, [Mount { target: alone.to_owned(), kind, readonly: true }]);
    for program in [&b""[..], b"\x7fELF\x02", &[0xff; 64]] {
        assert!(!needs_libraries(program));
    }
}

#[test]
fn where_nothing_is_to_be_seen_nothing_is_refused() {
    let hidden = emulators(&[("filesystems", "nodev\tbinfmt_misc\n")]);
    assert_eq!(hidden.mounts(OTHER), Ok(Vec::new()));
    let without = emulators(&[("filesystems", "nodev\tproc\n")]);
    assert_eq!(lack(&without), Lack::Emulator);
    let error = without.mounts(OTHER).unwrap_err();
    assert_eq!(error.to_string(), format!("this machine cannot run programs for {OTHER}"));
    assert!(error.hint().unwrap().contains("qemu-user-static"));
}
