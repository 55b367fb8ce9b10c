//! The thread that asked: its memory, and what its paths mean.
//!
//! Everything read of it counts only while its question waits; what it can reach by being quick is what it can reach
//! anyway, because whoever answers has no more rights over files than the caller has.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2, readlink, stat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use rustix::thread::CapabilitySet;

use super::call::Place;
use crate::fs::descriptor_path;
use crate::sandbox::sys::{self, Question};

/// The longest path that the kernel takes, with its end.
const LONGEST_PATH: usize = 4096;
const PAGE: u64 = 4096;

/// A thread whose question is being answered.
pub(super) struct Caller<'a> {
    listener: &'a OwnedFd,
    question: u64,
    thread: u32,
    /// What /proc calls it.
    name: u32,
    /// Its root, if that is not the sandbox's.
    root: Option<OwnedFd>,
}

/// A path that means here what the caller's means there.
pub(super) struct Spot {
    pub(super) path: PathBuf,
    /// Whether a link at its end is followed.
    pub(super) follow: bool,
    /// What the path leads through.
    _held: Option<OwnedFd>,
}

impl Spot {
    /// Names the file without opening it.
    pub(super) fn open(&self) -> Result<OwnedFd, Errno> {
        let nofollow = if self.follow { OFlags::empty() } else { OFlags::NOFOLLOW };
        open(&self.path, OFlags::PATH | OFlags::CLOEXEC | nofollow, Mode::empty())
    }
}

impl<'a> Caller<'a> {
    /// Looks at who asks; `may_differ` says that some thread has changed its root, `elsewhere` that /proc is that of a
    /// container around the sandbox.
    pub(super) fn new(
        listener: &'a OwnedFd,
        question: &Question,
        may_differ: bool,
        elsewhere: bool,
    ) -> Result<Self, Errno> {
        let thread = question.thread;
        let name = if elsewhere { name_elsewhere(thread)? } else { thread };
        let mut caller = Self { listener, question: question.id, thread, name, root: None };
        if may_differ {
            let (own, theirs) = (stat("/")?, stat(caller.proc("root"))?);
            if (own.st_dev, own.st_ino) != (theirs.st_dev, theirs.st_ino) {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                caller.root = Some(open(caller.proc("root"), flags, Mode::empty())?);
            }
        }
        Ok(caller)
    }

    /// Returns its number.
    pub(super) fn thread(&self) -> u32 {
        self.thread
    }

    /// Returns a path of what the kernel tells of it.
    pub(super) fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.name))
    }

    /// Reads its memory.
    pub(super) fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Errno> {
        match sys::read_memory(self.thread, address, into) {
            Ok(read) if read == into.len() => Ok(()),
            _ => Err(Errno::FAULT),
        }
    }

    /// Returns whether it still waits: if not, what was read of it may have been of a later thread with its number.
    pub(super) fn is_waiting(&self) -> bool {
        sys::is_waiting(self.listener, self.question)
    }

    /// Writes its memory.
    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        if !self.is_waiting() {
            return Err(Errno::SRCH);
        }
        sys::write_memory(self.thread, address, bytes).map_err(|_| Errno::FAULT)
    }

    /// Reads a path.
    pub(super) fn path(&self, address: u64) -> Result<PathBuf, Errno> {
        let mut bytes = vec![0; LONGEST_PATH];
        let mut filled = 0;
        while filled < LONGEST_PATH {
            let from = address.wrapping_add(filled as u64);
            // A page at a time: the next one may not be there.
            let room = usize::try_from(PAGE - from % PAGE).unwrap_or(LONGEST_PATH);
            let to = LONGEST_PATH.min(filled + room);
            self.read(from, &mut bytes[filled..to])?;
            if let Some(end) = bytes[filled..to].iter().position(|byte| *byte == 0) {
                bytes.truncate(filled + end);
                return Ok(std::ffi::OsString::from_vec(bytes).into());
            }
            filled = to;
        }
        Err(Errno::NAMETOOLONG)
    }

    /// Where relative paths start.
    fn base(&self, place: Place) -> PathBuf {
        match place.directory {
            libc::AT_FDCWD => self.proc("cwd"),
            descriptor => self.proc(&format!("fd/{descriptor}")),
        }
    }

    /// Opens what a call means in the way that it asks for (`openat2(2)`). With a root of its own nobody can do that in
    /// the caller's place.
    pub(super) fn open_resolved(
        &self,
        place: Place,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        if self.root.is_some() {
            return Err(Errno::OPNOTSUPP);
        }
        let path = self.path(place.path.ok_or(Errno::FAULT)?)?;
        let base = open(self.base(place), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        openat2(base, path, flags, mode, resolve)
    }

    /// Finds what a call means; of something that is to be made, where.
    pub(super) fn spot(&self, place: Place, to_make: bool) -> Result<Spot, Errno> {
        let base = self.base(place);
        let path = place.path.map(|address| self.path(address)).transpose()?;
        let path = match path {
            None => return Ok(Spot { path: base, follow: true, _held: None }),
            Some(path) if path.as_os_str().is_empty() => {
                let spot = Spot { path: base, follow: true, _held: None };
                return if place.may_be_empty { Ok(spot) } else { Err(Errno::NOENT) };
            }
            Some(path) => path,
        };
        match &self.root {
            None => {
                let path = if path.is_absolute() { self.own(&path) } else { join(&base, &path) };
                Ok(Spot { path, follow: place.follow, _held: None })
            }
            Some(root) => {
                let path = if path.is_absolute() { path } else { self.beneath(&base, &path)? };
                beneath_root(root, &path, place.follow, to_make)
            }
        }
    }

    /// Goes on from links to where nothing is yet: a file that is made through them is made there.
    pub(super) fn pass_dangling(&self, spot: &mut Spot) {
        /// As many as the kernel passes.
        const MOST: usize = 40;
        for _ in 0..MOST {
            if self.root.is_some() || stat(&spot.path).err() != Some(Errno::NOENT) {
                return;
            }
            let Ok(target) = readlink(&spot.path, Vec::new()) else { return };
            let target = Path::new(OsStr::from_bytes(target.as_bytes()));
            spot.path = match spot.path.parent() {
                Some(parent) if target.is_relative() => join(parent, target),
                _ => self.own(target),
            };
        }
    }

    /// Takes the file of one of its descriptors.
    pub(super) fn descriptor(&self, number: i32) -> Result<OwnedFd, Errno> {
        pidfd_getfd(pidfd(self.thread)?, number, PidfdGetfdFlags::empty())
    }

    /// What a process calls its own in /proc is not what whoever answers would find there.
    fn own(&self, path: &Path) -> PathBuf {
        for own in ["/proc/self", "/proc/thread-self"] {
            if let Ok(rest) = path.strip_prefix(own) {
                return join(&PathBuf::from(format!("/proc/{}", self.name)), rest);
            }
        }
        if let Ok(rest) = path.strip_prefix("/dev/fd")
            && !rest.as_os_str().is_empty()
        {
            return join(&self.proc("fd"), rest);
        }
        path.to_owned()
    }

    /// Makes a relative path one from the caller's root.
    fn beneath(&self, base: &Path, path: &Path) -> Result<PathBuf, Errno> {
        let target = |link: PathBuf| {
            let target = readlink(link, Vec::new())?.into_bytes();
            Ok::<_, Errno>(PathBuf::from(std::ffi::OsString::from_vec(target)))
        };
        let (root, base) = (target(self.proc("root"))?, target(base.to_owned())?);
        Ok(Path::new("/").join(base.strip_prefix(&root).map_err(|_| Errno::NOENT)?).join(path))
    }

    /// Returns the mask for the modes of what it makes.
    pub(super) fn umask(&self) -> Mode {
        let mask = self.status("Umask:").and_then(|mask| u32::from_str_radix(&mask, 8).ok());
        Mode::from_raw_mode(mask.unwrap_or(0o022))
    }

    /// Returns whether it has all of these capabilities.
    pub(super) fn may(&self, wanted: CapabilitySet) -> bool {
        let held = self.status("CapEff:").and_then(|held| u64::from_str_radix(&held, 16).ok());
        CapabilitySet::from_bits_retain(held.unwrap_or(0)).contains(wanted)
    }

    fn status(&self, name: &str) -> Option<String> {
        let status = std::fs::read_to_string(self.proc("status")).ok()?;
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim().to_owned())
    }
}

/// Returns whether /proc is not that of this process's own namespace.
pub(super) fn is_proc_elsewhere() -> bool {
    let own = rustix::process::getpid().as_raw_nonzero().to_string();
    readlink("/proc/self", Vec::new()).is_ok_and(|name| name.as_bytes() != own.as_bytes())
}

/// Finds out what another namespace's /proc calls a thread: a descriptor's information has the number that is right there.
fn name_elsewhere(thread: u32) -> Result<u32, Errno> {
    let thread = pidfd(thread)?;
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", thread.as_raw_fd()));
    let told = told.map_err(|_| Errno::SRCH)?;
    let number = told.lines().find_map(|line| line.strip_prefix("Pid:"));
    number.and_then(|number| number.trim().parse().ok()).ok_or(Errno::SRCH)
}

fn pidfd(thread: u32) -> Result<OwnedFd, Errno> {
    // PIDFD_THREAD, since Linux 6.9.
    let any_thread = PidfdFlags::from_bits_retain(libc::O_EXCL.cast_unsigned());
    let pid = i32::try_from(thread).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    match pidfd_open(pid, any_thread) {
        Err(Errno::INVAL) => pidfd_open(pid, PidfdFlags::empty()),
        opened => opened,
    }
}

/// Joins without taking a look at what the parts mean; a slash at the end stays.
fn join(base: &Path, path: &Path) -> PathBuf {
    let parts = [base.as_os_str().as_bytes(), b"/", path.as_os_str().as_bytes()];
    OsStr::from_bytes(&parts.concat()).into()
}

/// Resolves a path as a process with this root does.
fn beneath_root(root: &OwnedFd, path: &Path, follow: bool, to_make: bool) -> Result<Spot, Errno> {
    let find = |path: &Path, flags: OFlags| {
        let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
        openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
    };
    if to_make {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EXIST);
        };
        let parent = find(parent, OFlags::DIRECTORY)?;
        return Ok(Spot {
            path: Path::new(&descriptor_path(&parent)).join(name),
            follow,
            _held: Some(parent),
        });
    }
    let nofollow = if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let found = find(path, nofollow)?;
    Ok(Spot { path: descriptor_path(&found).into(), follow: true, _held: Some(found) })
}
