//! RUN for another CPU: with qemu as the kernel hands programs to it, and without.
//!
//! The rules are registered here, for the whole machine as the kernel has it, and taken back. A rule of the machine's
//! own for the same programs does not matter: the kernel asks the youngest first. Where binfmt_misc is mounted nowhere,
//! rules last as long as the mount in which they are made, so all is done in one.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Ended, Kiln, ended, on_path, tars};

const EMULATOR: &str = "/usr/bin/qemu-aarch64-static";

/// An arm64 program that writes `arm64` into `/made`: openat, write and exit, laid out by hand.
fn program() -> Vec<u8> {
    const CODE: [u32; 13] = [
        0x9280_0c60, // mov x0, #-100
        0x1000_0181, // adr x1, path
        0xd280_4822, // mov x2, #0x241 (write, create, truncate)
        0xd280_3483, // mov x3, #0644
        0xd280_0708, // mov x8, #56
        0xd400_0001, // svc #0
        0x1000_0121, // adr x1, text
        0xd280_00c2, // mov x2, #6
        0xd280_0808, // mov x8, #64
        0xd400_0001, // svc #0
        0xd280_0000, // mov x0, #0
        0xd280_0ba8, // mov x8, #93
        0xd400_0001, // svc #0
    ];
    const PATH_AND_TEXT: &[u8] = b"/made\0\0\0arm64\n";
    const ADDRESS: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + (CODE.len() * 4 + PATH_AND_TEXT.len()) as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, 183] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for long in [ADDRESS + HEADERS, 64, 0] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for word in [1_u32, 5] {
        bytes.extend(word.to_le_bytes());
    }
    for long in [0, ADDRESS, ADDRESS, size, size, 0x1000] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend(CODE.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(PATH_AND_TEXT);
    bytes
}

fn put_program(kiln: &Kiln, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt;
    let path = kiln.context().join("program");
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a script where binfmt_misc is mounted, and nowhere else.
fn with_binfmt(script: &str, arguments: &[&str]) -> Output {
    let mount = "test -e $0/status || mount -t binfmt_misc binfmt_misc $0";
    let script = format!("{{ {mount}; }} && {script}");
    let mut command = Command::new("unshare");
    let command =
        command.args(["--mount", "sh", "-c", &script, "/proc/sys/fs/binfmt_misc"]).args(arguments);
    on_path(command).output().unwrap()
}

/// A command that builds the context.
fn build<'a>(state: &'a str, args: &[&'a str], context: &'a str) -> Vec<&'a str> {
    let program = env!("CARGO_BIN_EXE_kiln");
    [&[program, "--root", state, "build", "--progress", "plain"], args, &[context]].concat()
}

/// Runs a command while the kernel hands arm64 programs to qemu: the rule is taken back however it ends.
fn with_emulator(flags: &str, command: &[&str]) -> Ended {
    assert!(Path::new(EMULATOR).exists(), "apt-get install qemu-user-static");
    let name = format!("kiln-test-{}", std::process::id());
    let magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00";
    let mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff";
    let rule = format!(":{name}:M::{magic}:{mask}:{EMULATOR}:{flags}");
    let script =
        "printf %s \"$1\" >$0/register && trap \"echo -1 >$0/$2\" EXIT && shift 2 && \"$@\"";
    ended(with_binfmt(script, &[&[rule.as_str(), &name], command].concat()))
}

#[test]
fn an_emulator_runs_what_is_made_for_its_cpu() {
    let kiln = Kiln::new();
    put_program(&kiln, &program());
    kiln.file("Dockerfile", "FROM scratch\nCOPY program /\nRUN [\"/program\"]\n");
    let out = kiln.path("out.tar");
    let output = format!("type=tar,dest={}", out.display());
    let context = kiln.context();
    let args = ["--platform", "linux/arm64", "--no-cache", "--output", &output];
    // Held open by the kernel, and looked up inside.
    for flags in ["F", ""] {
        for how in [&[][..], &["unshare", "--user", "--map-root-user"]] {
            let state = kiln.path(if how.is_empty() { "state" } else { "state-of-user" });
            let command = build(state.to_str().unwrap(), &args, context.to_str().unwrap());
            let ended = with_emulator(flags, &[how, &command].concat());
            assert_eq!(ended.code, Some(0), "{flags} {how:?}: {}", ended.stderr);
            let entries = tars::entries(std::fs::File::open(&out).unwrap());
            let lines: Vec<_> = entries.iter().map(tars::Entry::line).collect();
            // Of the emulator nothing stays.
            let expected = [
                "d 755 0:0 dev/",
                "- 644 0:0 made",
                "d 755 0:0 proc/",
                "- 755 0:0 program",
                "d 755 0:0 sys/",
            ];
            assert_eq!(lines, expected, "{flags} {how:?}");
            assert_eq!(entries[1].content, b"arm64\n");
        }
    }
}

/// Builds where the kernel shows these rules and no others.
fn build_under(kiln: &Kiln, rules: &[(&str, &str)], args: &[&str]) -> Ended {
    let folder = kiln.path("rules");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in rules {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let script = format!("mount --bind {} $0 && exec \"$@\"", folder.display());
    let (state, context) = (kiln.path("state"), kiln.context());
    let command = build(state.to_str().unwrap(), args, context.to_str().unwrap());
    ended(with_binfmt(&script, &command))
}

#[test]
fn without_an_emulator_nothing_is_begun() {
    let kiln = Kiln::new();
    put_program(&kiln, &program());
    let base =
        kiln.build("FROM scratch\nCOPY program /\n", &["--platform", "linux/arm64", "-t", "arm"]);
    assert_eq!(base.code, Some(0), "{}", base.stderr);
    kiln.file("Dockerfile", "FROM arm\nCOPY busybox /\nRUN [\"/program\"]\n");
    let dynamic = "enabled\ninterpreter /usr/bin/perl\nflags: OC\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";
    for (rules, cause) in [
        (
            vec![("status", "enabled\n"), ("register", "")],
            "no emulator for them is registered in /proc/sys/fs/binfmt_misc",
        ),
        (
            vec![("qemu", dynamic)],
            "the emulator that is registered for them, `/usr/bin/perl`, needs shared libraries, which the container \
             does not have",
        ),
    ] {
        let ended = build_under(&kiln, &rules, &["--platform", "linux/arm64"]);
        assert_eq!(
            (ended.code, ended.error()),
            (
                Some(3),
                format!(
                    "error: this machine cannot run programs for arm64\n --> {0}/Dockerfile:3:1\n  |\n\
                     3 | RUN [\"/program\"]\n  | ^^^^^^^^^^^^^^^^\n  caused by: {cause}\n  \
                     hint: `apt install qemu-user-static binfmt-support` (Debian, Ubuntu), `dnf install \
                     qemu-user-static` (Fedora), or `docker run --privileged --rm tonistiigi/binfmt --install arm64`\n",
                    kiln.context().display()
                )
            ),
            "{}",
            ended.stderr
        );
        assert!(!ended.stderr.contains("COPY busybox"), "{}", ended.stderr);
    }
}

#[test]
fn a_program_that_cannot_be_executed_says_for_which_cpu_it_is() {
    let kiln = Kiln::new();
    // Of a kind that no rule is about.
    let mut bytes = program();
    bytes[8] = 1;
    put_program(&kiln, &bytes);
    let ended = kiln.build("FROM scratch\nCOPY program /\nRUN [\"/program\"]\n", &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let line = "kiln: cannot execute `/program`: exec format error; it is a program for arm64, and the machine has no \
                emulator that works in here: `apt install qemu-user-static binfmt-support` (Debian, Ubuntu)";
    assert!(ended.error().contains(line), "{}", ended.stderr);
}
