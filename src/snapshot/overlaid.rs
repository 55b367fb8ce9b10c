//! Commands on overlays: the layers' directories stay as they are, and what is written goes to an upper directory.
//!
//! Below the layers of a tree that lacks files over which the sandbox mounts lies one more directory, which has them
//! empty: otherwise each command would have them made in its upper directory and removed from there. A tree may hide that
//! directory's entries; the sandbox then makes them as everywhere else.

use std::path::Path;

use rustix::io::Errno;

use super::reduce::Leftovers;
use super::upper::Upper;
use super::{
    Base, LayerId, Left, Result, Snapshots, Snapshotter, View, Workspace, plain_directory,
};
use crate::digest::ContentDigest;
use crate::fs::PathError;
use crate::layer::{Changes, Kind, Metadata, Nowhere, Tree, TreePath, diff_upper};
use crate::sandbox::spec::{NETWORK_FILES, Root, Scratch};

/// See the module.
pub(super) struct Overlaid;

impl Snapshotter for Overlaid {
    fn prepare(&self, snapshots: Snapshots<'_>, base: Base<'_>) -> Result<Workspace> {
        let upper = Upper::new(snapshots.store, base.tree.root().meta())?;
        let mut lower = snapshots.directories(base.layers)?;
        if !lower.is_empty() && lacks_mount_points(base.tree) {
            lower.push(snapshots.keep_directory(&mount_points(), &Nowhere)?);
        }
        let root = Root::Overlay { lower, upper: upper.files.clone(), work: upper.work.clone() };
        Ok(Workspace { root, upper, before: None })
    }

    fn keep(
        &self,
        snapshots: Snapshots<'_>,
        base: Base<'_>,
        workspace: Workspace,
        Left { owned, remains }: Left<'_>,
    ) -> Result<(LayerId, Changes)> {
        let files = &workspace.upper.files;
        remove_copies(base.tree, files)?;
        let found = workspace.upper.read(base.tree, owned, &snapshots.canceled_by())?;
        drop(remains);
        let leftovers = Leftovers::of(&found);
        let changes = diff_upper(base.tree, found);
        leftovers.reduce(files, &changes)?;
        let diff_id = snapshots.diff_id_of_few(&changes, files)?;
        let layer = snapshots.commit_directory(&changes, files, diff_id)?;
        workspace.upper.throw_away(snapshots.store);
        Ok((layer, changes))
    }

    fn view(&self, snapshots: Snapshots<'_>, base: Base<'_>, writable: bool) -> Result<View> {
        // Files that are no layer were never written as directories.
        let lower = match base.layers {
            [] if base.tree.root().children().is_some_and(|children| !children.is_empty()) => {
                vec![snapshots.keep_tree(base.tree)?]
            }
            layers => snapshots.directories(layers)?,
        };
        let scratch = match writable || lower.is_empty() {
            false => None,
            true => {
                let upper = Upper::new(snapshots.store, &plain_directory())?;
                Some(Scratch { upper: upper.files, work: upper.work })
            }
        };
        Ok(View { lower, scratch })
    }
}

/// Returns the directories that hold [`NETWORK_FILES`], and these files.
fn network_paths() -> impl Iterator<Item = (TreePath, TreePath)> {
    let paths = NETWORK_FILES.iter().filter_map(TreePath::clean);
    paths.map(|path| (path.parent().unwrap_or_default(), path))
}

/// Whether a directory below all layers can show what the tree lacks of [`NETWORK_FILES`].
fn lacks_mount_points(tree: &Tree) -> bool {
    network_paths().any(|(parent, path)| match tree.get(&parent) {
        None => true,
        Some(directory) => directory.is_directory() && tree.get(&path).is_none(),
    })
}

/// Makes the layer that has [`NETWORK_FILES`], empty, and nothing else.
fn mount_points() -> Changes {
    let mut changes = Changes::new();
    for (parent, path) in network_paths() {
        changes.put(parent, Kind::Directory, plain_directory());
        let empty = Kind::File { size: 0, content: ContentDigest::of(b"") };
        changes.put(path, empty, Metadata { mode: 0o644, ..Metadata::default() });
    }
    changes
}

/// Removes the copies of [`mount_points`]' directories in which a command has put nothing: a tree that lacks them did
/// not get them from the command.
fn remove_copies(tree: &Tree, files: &Path) -> Result<()> {
    for (parent, _) in network_paths().filter(|(parent, _)| tree.get(parent).is_none()) {
        let copy = files.join(parent.as_path());
        match rustix::fs::rmdir(&copy) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(errno) => return Err(PathError::of("remove", &copy)(errno).into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Edit;
    use crate::store::Store;

    #[test]
    fn mount_points_lie_below_the_layers_of_a_tree_that_lacks_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let snapshots = Snapshots::new(&store);
        let below = |names: &[&str]| {
            let mut edit = Edit::new(Tree::empty());
            for name in names {
                let path = TreePath::clean(name).unwrap();
                edit.mkdir_all(&path, &plain_directory()).unwrap();
            }
            let (tree, changes) = edit.finish();
            let files = store.scratch_dir().unwrap();
            let layer = snapshots.commit_directory(&changes, &files, None).unwrap();
            let base = Base { tree: &tree, layers: std::slice::from_ref(&layer) };
            let workspace = Overlaid.prepare(snapshots, base).unwrap();
            let Root::Overlay { lower, .. } = &workspace.root else { panic!("no overlay") };
            lower[1..].to_vec()
        };
        let [points] = &below(&[])[..] else { panic!("one directory") };
        for name in NETWORK_FILES {
            assert_eq!(std::fs::read(points.join(&name[1..])).unwrap(), b"", "{name}");
        }
        assert_eq!(below(&["/etc/hosts"]), std::slice::from_ref(points));
        assert!(below(&["/etc/hosts", "/etc/resolv.conf"]).is_empty());
    }
}
