//! Commands on copies, where overlays are refused: each gets all files of its own, and what it did is found by
//! comparing them with what was copied.
//!
//! A file that the command did not touch has the inode and the time of change that it had when it was copied; only
//! the others are read. That time cannot be set by a command. Where the clock of a file system is coarse, files that were
//! copied in its last tick before the command began are read as well.

use std::cell::RefCell;
use std::collections::HashMap;

use rustix::fs::{FileType, Stat};

use super::upper::Upper;
use super::{
    Base, LayerId, Left, Result, Snapshots, Snapshotter, View, Workspace, flavour, plain_directory,
};
use crate::event::Cancel;
use crate::fs::PathError;
use crate::layer::{
    Changes, DirectoryContents, Found, Opacity, Tree, TreePath, diff_upper, duplicate,
};
use crate::ownership::Owned;
use crate::sandbox::spec::{Root, Scratch};

/// See the module.
pub(super) struct Copied;

/// When the kernel last saw an inode change: seconds and nanoseconds.
type Changed = (i64, u64);

/// What a copy was when it was made.
pub(super) struct Before {
    /// The inode and its time of change, by path.
    entries: HashMap<TreePath, (u64, Changed)>,
    /// What the clock of the file system said then.
    made: Changed,
}

impl Before {
    fn of(upper: &Upper, base: &Tree) -> Result<Self> {
        let entries = RefCell::new(HashMap::new());
        upper.read_if(base, &[], &Cancel::new(), &mut |path, stat| {
            entries.borrow_mut().insert(path.clone(), (stat.st_ino, changed(stat)));
            false
        })?;
        let stamp = upper.work.join("made");
        std::fs::write(&stamp, "").map_err(PathError::of("create", &stamp))?;
        let made = rustix::fs::lstat(&stamp).map_err(PathError::of("examine", &stamp))?;
        Ok(Self { entries: entries.into_inner(), made: changed(&made) })
    }

    fn is_untouched(&self, path: &TreePath, stat: &Stat) -> bool {
        let now = (stat.st_ino, changed(stat));
        now.1 < self.made && self.entries.get(path) == Some(&now)
    }
}

fn changed(stat: &Stat) -> Changed {
    (stat.st_ctime, stat.st_ctime_nsec)
}

/// Writes a copy of a tree for one command.
fn copy(snapshots: Snapshots<'_>, base: Base<'_>) -> Result<Upper> {
    let upper = Upper::new(snapshots.store, base.tree.root().meta())?;
    duplicate(base.tree, &upper.files, flavour())?;
    Ok(upper)
}

/// Returns what a command may have changed.
fn found(
    base: Base<'_>,
    workspace: &Workspace,
    (owned, cancel): (&[Owned], &Cancel),
) -> Result<Vec<(TreePath, Found)>> {
    let mut there = HashMap::from([(TreePath::root(), true)]);
    let mut found = workspace.upper.read_if(base.tree, owned, cancel, &mut |path, stat| {
        let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
        there.insert(path.clone(), is_directory);
        workspace.before.as_ref().is_none_or(|before| !before.is_untouched(path, stat))
    })?;
    for (_, found) in &mut found {
        if let Found::Directory { opacity, .. } = found {
            // Nothing is below a copy, whatever the command has written on its directories.
            *opacity = Opacity::Merged;
        }
    }
    for (path, _) in base.tree.walk(&TreePath::root()) {
        let parent = path.parent().and_then(|parent| there.get(&parent).copied());
        if parent == Some(true) && !there.contains_key(&path) {
            found.push((path, Found::Whiteout));
        }
    }
    Ok(found)
}

impl Snapshotter for Copied {
    fn prepare(&self, snapshots: Snapshots<'_>, base: Base<'_>) -> Result<Workspace> {
        let upper = copy(snapshots, base)?;
        let before = Before::of(&upper, base.tree)?;
        Ok(Workspace { root: Root::Directory(upper.files.clone()), upper, before: Some(before) })
    }

    fn keep(
        &self,
        snapshots: Snapshots<'_>,
        base: Base<'_>,
        workspace: Workspace,
        Left { owned, remains }: Left<'_>,
    ) -> Result<(LayerId, Changes)> {
        let changes =
            diff_upper(base.tree, found(base, &workspace, (owned, &snapshots.canceled_by()))?);
        drop(remains);
        // The directory is no layer's, and none that an overlay could use is needed here.
        let contents = DirectoryContents::open(&workspace.upper.files)?;
        let layer = snapshots.commit_packed(&changes, &contents)?;
        workspace.discard();
        Ok((layer, changes))
    }

    fn view(&self, snapshots: Snapshots<'_>, base: Base<'_>, writable: bool) -> Result<View> {
        if !writable && base.tree.root().children().is_some_and(|children| !children.is_empty()) {
            return Ok(View { lower: vec![snapshots.keep_tree(base.tree)?], scratch: None });
        }
        let upper = Upper::new(snapshots.store, &plain_directory())?;
        duplicate(base.tree, &upper.files, flavour())?;
        Ok(View {
            lower: Vec::new(),
            scratch: Some(Scratch { upper: upper.files, work: upper.work }),
        })
    }
}
