//! Programs for another CPU: whether the kernel hands them to an emulator (binfmt_misc), and what that needs.
//!
//! What is registered is read from the kernel's files. Where they are not to be seen, as in most containers, nothing
//! is known: the program is tried. An emulator registered with the flag `F` is held open by the kernel and needs
//! nothing; the path of any other is looked up inside the sandbox, where it has to be put, and it must not need
//! shared libraries, which are not there.

use std::fmt;
use std::path::{Path, PathBuf};

use super::spec::{Mount, MountKind};

const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
const FILESYSTEMS: &str = "/proc/filesystems";

/// How much of a program the kernel's rules are held against: an ELF header up to the machine.
const HEADER: usize = 20;

/// A CPU: its name in images and in Rust, and its ELF header's class, byte order and machine.
struct Cpu {
    name: &'static str,
    rust: &'static str,
    class: u8,
    order: u8,
    machine: u16,
}

const fn cpu(
    name: &'static str,
    rust: &'static str,
    (class, order, machine): (u8, u8, u16),
) -> Cpu {
    Cpu { name, rust, class, order, machine }
}

const CPUS: [Cpu; 13] = [
    cpu("386", "x86", (1, 1, 3)),
    cpu("amd64", "x86_64", (2, 1, 62)),
    cpu("arm", "arm", (1, 1, 40)),
    cpu("arm64", "aarch64", (2, 1, 183)),
    cpu("loong64", "loongarch64", (2, 1, 258)),
    cpu("mips", "mips", (1, 2, 8)),
    cpu("mipsle", "mips", (1, 1, 8)),
    cpu("mips64", "mips64", (2, 2, 8)),
    cpu("mips64le", "mips64", (2, 1, 8)),
    cpu("ppc64", "powerpc64", (2, 2, 21)),
    cpu("ppc64le", "powerpc64", (2, 1, 21)),
    cpu("riscv64", "riscv64", (2, 1, 243)),
    cpu("s390x", "s390x", (2, 2, 22)),
];

impl Cpu {
    fn named(name: &str) -> Option<&'static Self> {
        CPUS.iter().find(|cpu| cpu.name == name)
    }

    fn is_own(&self) -> bool {
        let order = if cfg!(target_endian = "little") { 1 } else { 2 };
        (self.rust, self.order) == (std::env::consts::ARCH, order)
    }

    /// Whether most machines of this kind run its programs as well, though not all do.
    fn is_akin(&self) -> bool {
        matches!((std::env::consts::ARCH, self.name), ("x86_64", "386") | ("aarch64", "arm"))
    }

    /// The beginning of a program, of the older (2) or the position-independent kind (3).
    fn header(&self, kind: u16) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', self.class, self.order, 1]);
        let bytes = |number: u16| match self.order {
            1 => number.to_le_bytes(),
            _ => number.to_be_bytes(),
        };
        header[16..18].copy_from_slice(&bytes(kind));
        header[18..20].copy_from_slice(&bytes(self.machine));
        header
    }
}

/// Returns for which CPU a program is if it is not this machine's own, by the beginning of its file.
pub(super) fn foreign_cpu(program: &[u8]) -> Option<&'static str> {
    let begin = program.get(..HEADER)?;
    let same = |cpu: &&Cpu| {
        let header = cpu.header(2);
        (&begin[..6], &begin[18..]) == (&header[..6], &header[18..])
    };
    CPUS.iter().find(same).filter(|cpu| !cpu.is_own()).map(|cpu| cpu.name)
}

/// Why programs for a CPU cannot be run.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("this machine cannot run programs for {architecture}")]
pub struct ForeignError {
    /// The CPU.
    pub architecture: String,
    /// What is missing.
    #[source]
    pub cause: Lack,
}

/// What is missing to run programs for a CPU.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum Lack {
    /// No emulator.
    #[error("no emulator for them is registered in {BINFMT}")]
    Emulator,
    /// The file of the one that is registered.
    #[error("the emulator that is registered for them, `{}`, is not there", .0.display())]
    File(PathBuf),
    /// The one that is registered works outside of a container only.
    #[error(
        "the emulator that is registered for them, `{}`, needs shared libraries, which the container does not have",
        .0.display()
    )]
    Static(PathBuf),
}

impl ForeignError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        Some(Remedy(&self.architecture).to_string())
    }
}

/// Where emulators come from.
pub(super) struct Remedy<'a>(pub(super) &'a str);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`apt install qemu-user-static binfmt-support` (Debian, Ubuntu), `dnf install qemu-user-static` (Fedora), \
             or `docker run --privileged --rm tonistiigi/binfmt --install {}`",
            self.0
        )
    }
}

/// The emulators that the kernel knows.
#[derive(Debug, Clone, Default)]
pub struct Emulators {
    entries: Vec<Entry>,
    /// Whether these are all: an emulator that is not among them is not there.
    complete: bool,
}

/// An enabled rule: programs that begin so are handed to that emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    interpreter: PathBuf,
    /// Whether the kernel holds it open.
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Emulators {
    /// Reads what this machine's kernel says.
    pub fn of_this_machine() -> Self {
        Self::read(Path::new(BINFMT), Path::new(FILESYSTEMS))
    }

    fn read(folder: &Path, file_systems: &Path) -> Self {
        let Ok(status) = std::fs::read_to_string(folder.join("status")) else {
            // Not mounted, which hides what others have registered; a kernel that never heard of it has nothing.
            let known = std::fs::read_to_string(file_systems).unwrap_or_default();
            let has_it = known.is_empty() || known.contains("binfmt_misc");
            return Self { entries: Vec::new(), complete: !has_it };
        };
        if status.trim() != "enabled" {
            return Self { entries: Vec::new(), complete: true };
        }
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        let entries = texts.filter_map(|text| Entry::parse(&text)).collect();
        Self { entries, complete: true }
    }

    /// Returns for which other CPUs there is an emulator that works, and whether the kernel holds it open; `None` if that
    /// is not to be seen.
    pub fn architectures(&self) -> Option<Vec<(&'static str, bool)>> {
        let works = |cpu: &Cpu| {
            let entry = self.entries.iter().find(|entry| entry.takes(cpu))?;
            (entry.fixed || entry.mount().is_ok()).then_some((cpu.name, entry.fixed))
        };
        let others = CPUS.iter().filter(|cpu| !cpu.is_own());
        self.complete.then(|| others.filter_map(works).collect())
    }

    /// Returns what must be mounted for programs for a CPU to run; nothing for this machine's own and for those of
    /// which nothing is known.
    pub fn mounts(&self, architecture: &str) -> Result<Vec<Mount>, ForeignError> {
        let Some(cpu) = Cpu::named(architecture).filter(|cpu| !cpu.is_own()) else {
            return Ok(Vec::new());
        };
        let lack = |cause| ForeignError { architecture: architecture.to_owned(), cause };
        match self.entries.iter().find(|entry| entry.takes(cpu)) {
            Some(entry) if entry.fixed => Ok(Vec::new()),
            Some(entry) => Ok(vec![entry.mount().map_err(lack)?]),
            None if cpu.is_akin() || !self.complete => Ok(Vec::new()),
            None => Err(lack(Lack::Emulator)),
        }
    }
}

impl Entry {
    /// Reads what the kernel's file says; `None` if it is no enabled rule about the beginning of programs.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let field =
            |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
        let magic = bytes(field("magic ")?)?;
        let mask = field("mask ").map_or_else(|| Some(vec![0xff; magic.len()]), bytes)?;
        Some(Self {
            interpreter: field("interpreter ")?.into(),
            fixed: field("flags:").is_some_and(|flags| flags.contains('F')),
            offset: field("offset ")?.parse().ok()?,
            magic,
            mask,
        })
    }

    /// Whether it takes both kinds of programs; what it says of what follows the machine is not looked at.
    fn takes(&self, cpu: &Cpu) -> bool {
        [2, 3].into_iter().all(|kind| {
            let header = cpu.header(kind);
            let begin = header.iter().skip(self.offset);
            let rule = self.magic.iter().zip(&self.mask);
            // A rule that says nothing of the machine is no emulator's.
            self.offset + self.magic.len() >= HEADER
                && begin.zip(rule).all(|(byte, (magic, mask))| (byte ^ magic) & mask == 0)
        })
    }

    fn mount(&self) -> Result<Mount, Lack> {
        let path = self.interpreter.clone();
        match std::fs::read(&path) {
            Err(_) => Err(Lack::File(path)),
            Ok(program) if needs_libraries(&program) => Err(Lack::Static(path)),
            Ok(_) => Ok(Mount {
                target: path.clone(),
                kind: MountKind::Bind { root: "/".into(), path },
                readonly: true,
            }),
        }
    }
}

/// Two hexadecimal digits a byte.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Whether a program of this machine's own kind names a loader (ELF: a program header of type 3).
fn needs_libraries(program: &[u8]) -> bool {
    let number = |at: usize, width: usize| {
        let bytes = program.get(at..at.checked_add(width)?)?;
        let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(match cfg!(target_endian = "little") {
            true => bytes.iter().rev().fold(0, add),
            false => bytes.iter().fold(0, add),
        })
    };
    let (table, size, count) = match program.get(4) {
        Some(1) => (number(28, 4), number(42, 2), number(44, 2)),
        _ => (number(32, 8), number(54, 2), number(56, 2)),
    };
    let (Some(table), Some(size), Some(count)) = (table, size, count) else { return false };
    (0..count).any(|index| {
        let at = size.checked_mul(index).and_then(|offset| table.checked_add(offset));
        at.and_then(|at| number(at, 4)) == Some(3)
    })
}

#[cfg(test)]
mod tests;
