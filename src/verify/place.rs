//! One thing in the store as it was when it was read.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Stat, statat};
use rustix::io::Errno;

use super::Result;
use crate::fs::{PathError, is_lost, words};

/// A path beneath the root, and by what it is known whether the same thing is still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: String,
    inode: u64,
    /// When it was written. Marking it as used leaves this time alone.
    written: (i64, u64),
}

impl Place {
    pub(super) fn new(path: String, stat: &Stat) -> Self {
        Self { path, inode: stat.st_ino, written: (stat.st_mtime, stat.st_mtime_nsec) }
    }

    /// Returns whether it was written before a time.
    pub(super) fn is_before(&self, time: Option<SystemTime>) -> bool {
        let (seconds, nanoseconds) = self.written;
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let written = UNIX_EPOCH + duration + Duration::from_nanos(nanoseconds);
        time.is_some_and(|time| written < time)
    }

    /// Returns whether what was read is still there.
    pub(super) fn is_there(&self, root: &Path) -> Result<bool> {
        let stat = examine(&root.join(&self.path))?;
        Ok(stat.is_some_and(|stat| Self::new(self.path.clone(), &stat) == *self))
    }
}

/// Looks at a path without following it; `None` if there is nothing.
pub(super) fn examine(path: &Path) -> Result<Option<Stat>> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(PathError::of("examine", path)(errno).into()),
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Lists what is in a directory beneath the root, sorted: path and what it is. What goes meanwhile is left out.
pub(super) fn list(root: &Path, directory: &str) -> Result<Vec<(Place, Stat)>> {
    let path = root.join(directory);
    let fail = PathError::of("list", &path);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(&fail)? {
        let name = entry.map_err(&fail)?.file_name();
        if let Some(stat) = examine(&path.join(&name))? {
            let place = format!("{directory}/{}", name.to_string_lossy());
            found.push((Place::new(place, &stat), stat));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    Ok(found)
}

/// Takes an error of reading for what it says of the thing: `Ok` is what is wrong with it, an error is this machine's.
pub(super) fn judge(error: PathError) -> std::result::Result<String, PathError> {
    match is_lost(&error.source) {
        true => Ok(format!("cannot be read: {}", words(&error.source))),
        false => Err(error),
    }
}
