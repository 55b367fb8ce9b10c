//! Merging the upper layers of an image into one: the same files, fewer bytes.
//!
//! The merged layer is how the image's tree differs from that of the layers below it, so what the merged ones wrote
//! and removed, or wrote twice, is in it once or not at all. The layers below stay as they are, blobs included. The
//! history stays too: entries whose layer was merged are marked as empty, and one is added for the merged layer.

use jiff::Timestamp;

use super::Result;
use super::image::{Image, ImageLayer, time};
use crate::layer::{Change, Changes, Kind, Metadata, Tree, TreeContents, TreePath};
use crate::oci::History;
use crate::snapshot::Snapshots;

/// The only extended attribute that kiln's layers hold.
const CAPABILITY: &[u8] = b"security.capability";

/// What is merged, and what is said of it.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The lowest layer that is merged, from 0.
    pub first: usize,
    /// The time of the merged layer.
    pub created: Option<Timestamp>,
    /// What made it, for the history.
    pub created_by: String,
    /// What the history says besides.
    pub comment: String,
    /// No file of the merged layer is younger than this, in seconds since the Unix epoch.
    pub latest: Option<i64>,
}

impl Image {
    /// Merges the layers of a build as `docker build --squash` did: those from `first` up.
    pub fn merged(self, first: usize, snapshots: Snapshots<'_>) -> Result<Self> {
        let created = self.layers.iter().rev().find_map(|layer| layer.created);
        let below = self.layers.get(first.wrapping_sub(1)).map(|layer| layer.diff_id);
        let comment = match below {
            Some(diff_id) => format!("merge {diff_id} and the layers of this build"),
            None => "merge all layers".to_owned(),
        };
        let created = created.and_then(time);
        let merge = Merge { first, created, created_by: String::new(), comment, latest: None };
        self.squash(&merge, snapshots)
    }

    /// Merges the layers from `merge.first` up into one, or into none if together they change nothing. One layer
    /// alone stays as it is, unless it changes nothing.
    pub fn squash(mut self, merge: &Merge, snapshots: Snapshots<'_>) -> Result<Self> {
        let above = self.layers.len().saturating_sub(merge.first);
        if above == 0 {
            return Ok(self);
        }
        let (changes, tree) = difference(snapshots, &self.layers, merge)?;
        if above == 1 && !changes.is_empty() {
            return Ok(self);
        }
        let image_created = self.config.created;
        self.layers.truncate(merge.first);
        let mut seen = 0;
        for entry in &mut self.config.history {
            seen += usize::from(!entry.empty_layer);
            entry.empty_layer |= seen > merge.first;
        }
        if !changes.is_empty() {
            let id = snapshots.commit_packed(&changes, &TreeContents(tree))?;
            let diff_id = snapshots.diff_id(id)?;
            let created = merge.created.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            self.layers.push(ImageLayer { id, diff_id, blob: None, created });
            self.config.history.push(History {
                created: merge.created,
                created_by: merge.created_by.clone(),
                comment: merge.comment.clone(),
                ..History::default()
            });
        }
        let mut image = Self::new(self.config, self.layers, self.epoch);
        image.config.created = image.config.created.or(image_created);
        Ok(image)
    }
}

/// Returns what the layers from `merge.first` up change together, and the whole tree.
fn difference(
    snapshots: Snapshots<'_>,
    layers: &[ImageLayer],
    merge: &Merge,
) -> Result<(Changes, Tree)> {
    let mut tree = Tree::empty();
    let mut base = Tree::empty();
    for (index, layer) in layers.iter().enumerate() {
        if index == merge.first {
            base = tree.clone();
        }
        tree = snapshots.stack(&tree, layer.id)?;
    }
    let mut changes = tree.changes_since(&base);
    if tree.root().meta() != base.root().meta() {
        changes.put(TreePath::root(), Kind::Directory, tree.root().meta().clone());
    }
    let changes = changes.into_iter().map(|(path, change)| (path, as_packed(change, merge.latest)));
    Ok((changes.collect(), tree))
}

/// Returns a change as a layer's tar can hold it.
fn as_packed(change: Change, latest: Option<i64>) -> Change {
    let packed = |mut meta: Metadata| {
        meta.xattrs.retain(|name, _| name == CAPABILITY);
        if latest.is_some_and(|latest| meta.mtime.seconds >= latest) {
            meta.mtime.seconds = latest.unwrap_or_default();
            meta.mtime.nanoseconds = 0;
        }
        meta
    };
    match change {
        Change::Put { kind, meta } => Change::Put { kind, meta: packed(meta) },
        Change::Clear { meta } => Change::Clear { meta: packed(meta) },
        Change::Remove => Change::Remove,
    }
}
