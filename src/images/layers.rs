//! What each layer of an image adds, and what it holds that the image no longer has.
//!
//! Only regular files have bytes here, and a file with several names has them once. A file of a layer is wasted once
//! the last of its names is replaced or removed by a later layer: every image that has the layer carries those bytes
//! for nothing. Directories waste nothing.
//!
//! Nothing is read but the lists of changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Library, Result};
use crate::digest::DiffId;
use crate::layer::{
    Aspect, Change, Changes, Contents, Difference, Kind, LayerError, Node, NodeKind, Nowhere, Tree,
    TreePath,
};
use crate::oci::{Descriptor, History, ImageConfig};
use crate::snapshot::Snapshots;
use crate::source::image::Image;

/// Files: how many names, and how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Names of anything but directories.
    pub count: u64,
    /// Of regular files, those with several names once.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// An image, layer by layer.
#[derive(Debug, Clone)]
pub struct Layering {
    /// The image.
    pub image: Image,
    /// Lowest first.
    pub layers: Vec<Layer>,
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The layer as it is stored.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// What is known of its making.
    pub history: Option<History>,
    /// What it changes.
    pub content: Content,
}

/// What a layer changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Its regular files, by first name.
    pub files: Vec<LayerFile>,
    /// What it has that was not there.
    pub added: Amount,
    /// What it has in the place of another file, in its own bytes.
    pub replaced: Amount,
    /// What lower layers have and is gone, in their bytes; of a file with several names with the last of them.
    pub removed: Amount,
}

/// A regular file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerFile {
    /// Its first name.
    pub path: TreePath,
    /// Its size.
    pub bytes: u64,
    /// Why the image does not have it, if it has not.
    pub lost: Option<Lost>,
}

/// How a later layer made a file useless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which layer, from 0.
    pub by: usize,
    /// What that layer replaced or removed: the file, or a directory above it.
    pub at: TreePath,
    /// Whether that was a directory.
    pub directory: bool,
    /// What was done.
    pub how: Loss,
}

/// What was done to a file that is wasted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// It was removed.
    Removed,
    /// Something else is in its place.
    Replaced,
    /// The same bytes are in its place, with these differences: `chmod` and the like in a layer of their own.
    Rewritten(Vec<Aspect>),
}

/// A path with its useless bytes in all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// Which.
    pub path: TreePath,
    /// Whether it is a directory that was removed.
    pub directory: bool,
    /// How many useless files, and their bytes.
    pub wasted: Amount,
    /// Which layer (from 0) has useless files, which layer made them so, and how; sorted, each once.
    pub layers: Vec<(usize, usize, Loss)>,
}

impl Content {
    /// Returns the bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Returns those of its files that are wasted.
    pub fn wasted(&self) -> Amount {
        self.wasted_if(|_| true)
    }

    /// Returns those of its files that are wasted although the image still has their bytes.
    pub fn rewritten(&self) -> Amount {
        self.wasted_if(|lost| matches!(lost.how, Loss::Rewritten(_)))
    }

    fn wasted_if(&self, which: impl Fn(&Lost) -> bool) -> Amount {
        let mut amount = Amount::default();
        for file in self.files.iter().filter(|file| file.lost.as_ref().is_some_and(&which)) {
            amount.add(file.bytes);
        }
        amount
    }
}

impl Layering {
    /// Returns the bytes of the files of all layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.content.bytes()).fold(0, u64::saturating_add)
    }

    /// Returns the files that are wasted.
    pub fn wasted(&self) -> Amount {
        self.sum(Content::wasted)
    }

    /// Returns the files that are wasted although the image still has their bytes.
    pub fn rewritten(&self) -> Amount {
        self.sum(Content::rewritten)
    }

    fn sum(&self, of: impl Fn(&Content) -> Amount) -> Amount {
        self.layers.iter().map(|layer| of(&layer.content)).fold(Amount::default(), |sum, more| {
            Amount { count: sum.count + more.count, bytes: sum.bytes.saturating_add(more.bytes) }
        })
    }

    /// Returns how much of the layers' bytes the image still has, at most 1; an image without bytes wastes none.
    pub fn efficiency(&self) -> f64 {
        match self.bytes() {
            0 => 1.0,
            bytes => (bytes - self.wasted().bytes) as f64 / bytes as f64,
        }
    }

    /// Returns the paths that waste bytes, the most first.
    pub fn offenders(&self) -> Vec<Offender> {
        let mut found: HashMap<(&TreePath, bool), Offender> = HashMap::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let files = layer.content.files.iter().filter(|file| file.bytes > 0);
            for (file, lost) in files.filter_map(|file| Some((file, file.lost.as_ref()?))) {
                let offender =
                    found.entry((&lost.at, lost.directory)).or_insert_with(|| Offender {
                        path: lost.at.clone(),
                        directory: lost.directory,
                        wasted: Amount::default(),
                        layers: Vec::new(),
                    });
                offender.wasted.add(file.bytes);
                offender.layers.push((index, lost.by, lost.how.clone()));
            }
        }
        let mut offenders: Vec<Offender> = found.into_values().collect();
        for offender in &mut offenders {
            offender.layers.sort();
            offender.layers.dedup();
        }
        let key = |it: &Offender| (std::cmp::Reverse(it.wasted.bytes), it.path.clone());
        offenders.sort_by_key(key);
        offenders
    }
}

impl Library {
    /// Looks into the layers of an image of the local store.
    pub fn layering(&self, name: &str) -> Result<Layering> {
        let (image, fetched) = self.layers(name)?;
        let snapshots = Snapshots::new(&self.store);
        let mut survey = Survey::default();
        for id in fetched.layers {
            survey.add(&snapshots.changes(id)?)?;
        }
        let histories = histories(&image.config);
        let diff_ids = image.config.rootfs.diff_ids.iter();
        let described = image.manifest.layers.iter().zip(diff_ids).zip(histories);
        let layers = survey.finish().into_iter().zip(described);
        let layers = layers.map(|(content, ((descriptor, diff_id), history))| Layer {
            descriptor: descriptor.clone(),
            diff_id: *diff_id,
            history: history.cloned(),
            content,
        });
        Ok(Layering { layers: layers.collect(), image })
    }
}

/// Returns the entry that made each layer. What the history lacks is taken to be of the lowest layers.
fn histories(config: &ImageConfig) -> Vec<Option<&History>> {
    let made: Vec<_> = config.history.iter().filter(|entry| !entry.empty_layer).collect();
    let layers = config.rootfs.diff_ids.len();
    let missing = layers.saturating_sub(made.len());
    let known = made.into_iter().take(layers).map(Some);
    std::iter::repeat_n(None, missing).chain(known).collect()
}

/// Layers being put on each other.
#[derive(Default)]
pub struct Survey {
    tree: Tree,
    layers: Vec<Content>,
    /// Marks the files of each layer in the tree.
    marks: Vec<Arc<dyn Contents>>,
    /// How many names of a layer's file are left, and which of its files it is.
    left: HashMap<(usize, TreePath), (u64, usize)>,
}

impl Survey {
    /// Puts a layer on those before it. Errors: it does not fit.
    pub fn add(&mut self, changes: &Changes) -> std::result::Result<(), LayerError> {
        let (index, mark) = (self.layers.len(), Nowhere::shared());
        let after = self.tree.apply(changes, &mark)?;
        let before = std::mem::replace(&mut self.tree, after.clone());
        self.marks.push(mark);
        let mut content = Content::default();
        for (path, change) in changes {
            self.count_name(index, path, change, &mut content);
        }
        self.layers.push(content);
        for difference in after.differences(&before, &|_, _| false) {
            self.note(index, &difference, (&before, &after));
        }
        Ok(())
    }

    /// Returns what each layer changes, lowest first.
    pub fn finish(self) -> Vec<Content> {
        self.layers
    }

    fn count_name(&mut self, index: usize, path: &TreePath, change: &Change, into: &mut Content) {
        let Change::Put { kind, .. } = change else { return };
        match kind {
            Kind::File { size, .. } => {
                let entry = self.left.entry((index, path.clone())).or_default();
                *entry = (entry.0 + 1, into.files.len());
                into.files.push(LayerFile { path: path.clone(), bytes: *size, lost: None });
            }
            Kind::Hardlink { to } => self.left.entry((index, to.clone())).or_default().0 += 1,
            _ => {}
        }
    }

    fn note(&mut self, index: usize, it: &Difference<'_>, (before, after): (&Tree, &Tree)) {
        if let (Some(old), Some(new)) = (it.old, it.new) {
            if old.is_directory() && new.is_directory() {
                return;
            }
            if !old.is_directory() && !new.is_directory() {
                let bytes = own_bytes(&it.path, new);
                self.layers[index].replaced.add(bytes);
                self.lose(index, it, old);
                return;
            }
        }
        for node in it.old.iter().flat_map(|_| files(before, &it.path)) {
            let bytes = self.lose(index, it, node.1);
            self.layers[index].removed.add(bytes);
        }
        for (path, node) in it.new.iter().flat_map(|_| files(after, &it.path)) {
            self.layers[index].added.add(own_bytes(&path, node));
        }
    }

    /// Takes away a name of what an older layer has. Returns the bytes that go with it.
    fn lose(&mut self, by: usize, it: &Difference<'_>, old: &Node) -> u64 {
        let NodeKind::File { origin, .. } = old.body() else { return 0 };
        let is_its = |mark: &Arc<dyn Contents>| Arc::ptr_eq(mark, origin.contents());
        let Some(layer) = self.marks.iter().position(is_its) else { return 0 };
        let Some((names, file)) = self.left.get_mut(&(layer, origin.path())) else {
            return 0;
        };
        *names = names.saturating_sub(1);
        if *names > 0 {
            return 0;
        }
        let how = match it.new {
            Some(new) if content_of(new).is_some() && content_of(new) == content_of(old) => {
                Loss::Rewritten(new.aspects_since(old))
            }
            Some(_) => Loss::Replaced,
            None => Loss::Removed,
        };
        let directory = it.old.is_some_and(Node::is_directory);
        let file = &mut self.layers[layer].files[*file];
        file.lost = Some(Lost { by, at: it.path.clone(), directory, how });
        file.bytes
    }
}

/// Returns what is no directory at and beneath a path.
fn files<'a>(
    tree: &'a Tree,
    top: &TreePath,
) -> impl Iterator<Item = (TreePath, &'a Node)> + use<'a> {
    tree.walk(top).filter(|(_, node)| !node.is_directory())
}

/// The bytes of a file that its layer just made, under the first of its names only.
fn own_bytes(path: &TreePath, node: &Node) -> u64 {
    match node.body() {
        NodeKind::File { size, origin, .. } if origin.path() == *path => *size,
        _ => 0,
    }
}

fn content_of(node: &Node) -> Option<Kind> {
    matches!(node.body(), NodeKind::File { .. }).then(|| node.kind())
}
