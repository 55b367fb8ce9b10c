//! How much of the disk something takes: allocated blocks, as `du` counts them.
//!
//! A file with several names is counted where it is met first. Nothing is marked as read: directories and files are
//! opened without touching their times of last access, because these say when builds used them last.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, statat};
use rustix::io::Errno;

use crate::fs::{PathError, Result};

/// Counts; remembers files that have several names.
#[derive(Debug, Default)]
pub(super) struct Meter {
    linked: HashSet<(u64, u64)>,
}

impl Meter {
    /// Returns what a file or directory takes with everything in it; 0 if it is not there.
    pub(super) fn tree(&mut self, path: &Path) -> Result<u64> {
        let fail = PathError::of("count the blocks of", path);
        match statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(0),
            Err(errno) => Err(fail(errno)),
            Ok(stat) if is_directory(&stat) => {
                let fd = match open_quietly(path) {
                    Err(Errno::NOENT) => return Ok(0),
                    opened => opened.map_err(&fail)?,
                };
                Ok(self.entry(&stat) + self.beneath(&fd).map_err(&fail)?)
            }
            Ok(stat) => Ok(self.entry(&stat)),
        }
    }

    /// Returns what one file or directory takes by itself.
    pub(super) fn entry(&mut self, stat: &Stat) -> u64 {
        const UNIT: u64 = 512;
        let again = !is_directory(stat)
            && stat.st_nlink > 1
            && !self.linked.insert((stat.st_dev, stat.st_ino));
        if again { 0 } else { u64::try_from(stat.st_blocks).unwrap_or(0) * UNIT }
    }

    /// Counts what is in a directory, however deep: no descriptor and no frame is kept for a level. What lies deeper
    /// than a path can say is not counted.
    fn beneath(&mut self, top: &OwnedFd) -> rustix::io::Result<u64> {
        let (mut total, mut pending) = (0, vec![PathBuf::from(".")]);
        while let Some(path) = pending.pop() {
            let directory = match quietly(top, &path, OFlags::DIRECTORY) {
                // What goes while it is counted is not there.
                Err(Errno::NOENT | Errno::NAMETOOLONG) => continue,
                opened => opened?,
            };
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                    Ok(stat) => {
                        total += self.entry(&stat);
                        if is_directory(&stat) {
                            pending.push(path.join(OsStr::from_bytes(name.to_bytes())));
                        }
                    }
                }
            }
        }
        Ok(total)
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn open_quietly(path: &Path) -> rustix::io::Result<OwnedFd> {
    quietly(rustix::fs::CWD, path, OFlags::empty())
}

/// Lists a directory without marking it as read: names and what they are.
pub(super) fn list(path: &Path) -> Result<Vec<(String, Stat)>> {
    let fail = PathError::of("list", path);
    let directory = open_quietly(path).map_err(&fail)?;
    let mut found = Vec::new();
    for entry in Dir::read_from(&directory).map_err(&fail)? {
        let entry = entry.map_err(&fail)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(errno)),
            Ok(stat) => found.push((name.to_string_lossy().into_owned(), stat)),
        }
    }
    Ok(found)
}

fn quietly(
    at: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(&at, path, flags | OFlags::NOATIME, Mode::empty()) {
        // Only who owns it may ask for that.
        Err(Errno::PERM) => rustix::fs::openat(&at, path, flags, Mode::empty()),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, outer) = (dir.path().join("inner"), dir.path().join("outer"));
        std::fs::create_dir(&inner).unwrap();
        for _ in 0..2_500 {
            std::fs::create_dir(&outer).unwrap();
            std::fs::rename(&inner, outer.join("d")).unwrap();
            std::fs::rename(&outer, &inner).unwrap();
        }
        std::fs::write(inner.join("file"), vec![1; 100_000]).unwrap();
        // The stack has not even 50 bytes a level.
        let top = dir.path().to_owned();
        let count = move || Meter::default().tree(&top).unwrap();
        let thread = std::thread::Builder::new().stack_size(120 << 10).spawn(count);
        let counted = thread.unwrap().join().unwrap();
        assert!(counted >= 100_000, "{counted}");
        crate::fs::remove_tree(&inner).unwrap();
    }
}
