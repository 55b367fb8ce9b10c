//! Commands on overlays: the layers' directories stay as they are, and what is written goes to an upper directory.

use super::upper::Upper;
use super::{Base, LayerId, Result, Snapshots, Snapshotter, View, Workspace, plain_directory};
use crate::layer::{Changes, Found, TreePath};
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

    fn found(&self, _: Base<'_>, workspace: &Workspace) -> Result<Vec<(TreePath, Found)>> {
        workspace.upper.read()
    }

    fn commit(
        &self,
        snapshots: Snapshots<'_>,
        changes: &Changes,
        workspace: Workspace,
    ) -> Result<LayerId> {
        let layer = snapshots.commit_directory(changes, &workspace.upper.files, None)?;
        workspace.discard();
        Ok(layer)
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
