//! Makes the directory that a command left hold what its layer changes, and nothing else.
//!
//! A layer is named by its changes, so one directory serves whatever base makes the same changes. What overlayfs put
//! there of one base alone must go: files that were copied up and not changed, whiteouts of nothing, and the mark of a
//! directory that hides everything below it, in whose place come whiteouts of what the changes remove. Sockets stay:
//! no layer has them, and they hide nothing that a base has.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use rustix::io::Errno;

use super::Result;
use crate::fs::{self, PathError};
use crate::layer::{Change, Changes, Found, Opacity, TreePath};

/// What was found in the directory, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    all: BTreeSet<TreePath>,
    opaque: Vec<TreePath>,
}

impl Leftovers {
    /// Takes note of what was found.
    pub(super) fn of(upper: &[(TreePath, Found)]) -> Self {
        let is_opaque =
            |found: &Found| matches!(found, Found::Directory { opacity: Opacity::Opaque, .. });
        let all = upper.iter().map(|(path, _)| path.clone()).collect();
        let opaque = upper.iter().filter(|(_, found)| is_opaque(found));
        Self { all, opaque: opaque.map(|(path, _)| path.clone()).collect() }
    }

    /// Removes from the directory what is not among the changes.
    pub(super) fn reduce(&self, files: &Path, changes: &Changes) -> Result<()> {
        let mut times = Times::default();
        let mut gone: Option<&TreePath> = None;
        for path in self.all.iter().filter(|path| !path.is_root()) {
            if changes.get(path).is_some() || gone.is_some_and(|top| path.starts_with(top)) {
                continue;
            }
            gone = Some(path);
            let place = files.join(path.as_path());
            let Ok(meta) = place.symlink_metadata() else { continue };
            times.note(files, path)?;
            match meta.is_dir() {
                true => fs::remove_tree(&place)?,
                false => fs::remove_file(&place)?,
            }
        }
        for top in self.opaque.iter().filter(|path| changes.get(path).is_some()) {
            whiteouts(files, top, changes, &mut times)?;
        }
        times.restore()
    }
}

/// Hides one by one what the mark of a directory hides altogether.
fn whiteouts(files: &Path, top: &TreePath, changes: &Changes, times: &mut Times) -> Result<()> {
    let removed =
        changes.iter().filter(|(path, change)| **change == Change::Remove && path.starts_with(top));
    for (path, _) in removed {
        let place = files.join(path.as_path());
        times.note(files, path)?;
        match rustix::fs::mknodat(CWD, &place, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(PathError::of("create the whiteout", &place)(errno).into()),
        }
    }
    let place = files.join(top.as_path());
    for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
        match rustix::fs::lremovexattr(&place, name) {
            Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(PathError::of("unmark", &place)(errno).into()),
        }
    }
    Ok(())
}

/// When directories were written to last, before something in them was removed.
#[derive(Default)]
struct Times(BTreeMap<std::path::PathBuf, Timespec>);

impl Times {
    fn note(&mut self, files: &Path, path: &TreePath) -> Result<()> {
        let parent = files.join(path.parent().unwrap_or_default().as_path());
        if let Entry::Vacant(entry) = self.0.entry(parent) {
            let stat = rustix::fs::lstat(entry.key());
            let stat = stat.map_err(PathError::of("examine", entry.key()))?;
            entry.insert(Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ });
        }
        Ok(())
    }

    fn restore(&self) -> Result<()> {
        for (directory, time) in &self.0 {
            let times = Timestamps { last_access: *time, last_modification: *time };
            let set = rustix::fs::utimensat(CWD, directory, &times, AtFlags::SYMLINK_NOFOLLOW);
            set.map_err(PathError::of("set the time of", directory))?;
        }
        Ok(())
    }
}
