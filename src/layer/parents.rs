//! The directories above changes.

use std::collections::BTreeSet;

use super::tree::default_directory;
use super::{Change, Changes, Kind, Tree, TreePath};

/// Adds every directory above a change, except the root, with the metadata it has in `tree`.
pub(super) fn include_parents(changes: &mut Changes, tree: &Tree) {
    let mut missing: BTreeSet<TreePath> = BTreeSet::new();
    let mut before = &TreePath::root();
    for (path, _) in changes.iter() {
        // What is in the same directory as the one before, or in that one itself, has nothing else above it.
        if before.parent().is_some_and(|parent| path.is_in(&parent)) || path.is_in(before) {
            before = path;
            continue;
        }
        before = path;
        let mut above = path.parent();
        while let Some(parent) = above.filter(|parent| !parent.is_root()) {
            if changes.get(&parent).is_some() || missing.contains(&parent) {
                break;
            }
            above = parent.parent();
            missing.insert(parent);
        }
    }
    let directory = |path: TreePath| {
        let meta = tree.get(&path).map_or_else(default_directory, |node| node.meta().clone());
        (path, Change::Put { kind: Kind::Directory, meta })
    };
    changes.extend(missing.into_iter().map(directory));
}
