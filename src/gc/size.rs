//! How much of the disk something takes: allocated blocks, as `du` counts them.
//!
//! A file with several names is counted where it is met first. Nothing is marked as read: directories and files are
//! opened without touching their times of last access, because these say when builds used them last.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

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

    fn beneath(&mut self, directory: &OwnedFd) -> rustix::io::Result<u64> {
        let mut total = 0;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match self.child(directory, name) {
                // What goes while it is counted is not there.
                Err(Errno::NOENT) => {}
                counted => total += counted?,
            }
        }
        Ok(total)
    }

    fn child(&mut self, parent: &OwnedFd, name: &CStr) -> rustix::io::Result<u64> {
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let own = self.entry(&stat);
        if !is_directory(&stat) {
            return Ok(own);
        }
        Ok(own + self.beneath(&quietly(parent, name, OFlags::DIRECTORY)?)?)
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
