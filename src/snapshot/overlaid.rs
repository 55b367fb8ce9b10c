//! Commands on overlays: the layers' directories stay as they are, and what is written goes to an upper directory.

use super::reduce::Leftovers;
use super::upper::Upper;
use super::{Base, LayerId, Result, Snapshots, Snapshotter, View, Workspace, plain_directory};
use crate::layer::{Changes, diff_upper};
use crate::ownership::Owned;
use crate::sandbox::spec::{Root, Scratch};

/// See the module.
pub(super) struct Overlaid;

impl Snapshotter for Overlaid {
    fn prepare(&self, snapshots: Snapshots<'_>, base: Base<'_>) -> Result<Workspace> {
        let upper = Upper::new(snapshots.store, base.tree.root().meta())?;
        let lower = snapshots.directories(base.layers)?;
        let root = Root::Overlay { lower, upper: upper.files.clone(), work: upper.work.clone() };
        Ok(Workspace { root, upper, before: None })
    }

    fn keep(
        &self,
        snapshots: Snapshots<'_>,
        base: Base<'_>,
        workspace: Workspace,
        owned: &[Owned],
    ) -> Result<(LayerId, Changes)> {
        let files = &workspace.upper.files;
        let found = workspace.upper.read(base.tree, owned, &snapshots.canceled_by())?;
        let leftovers = Leftovers::of(&found);
        let changes = diff_upper(base.tree, found);
        leftovers.reduce(files, &changes)?;
        let layer = snapshots.commit_directory(&changes, files, None)?;
        workspace.discard();
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
