//! Fewer layers for an image of the store: `kiln squash`.
//!
//! The merging is that of `build --squash`; here is decided what is merged. What is kept keeps its blobs, so that a
//! registry or a machine that has them need not get them again.

use super::{ImagesError, Library, Result};
use crate::digest::{ChainId, DiffId, Digest};
use crate::export::compressed::family;
use crate::export::image::{Image as Assembled, ImageLayer};
use crate::export::product::Product;
use crate::export::squash::Merge;
use crate::export::{Exporter, Output, OutputKind};
use crate::oci::{Family, Reference};
use crate::snapshot::{LayerId, Snapshots};
use crate::source::image::{Fetched, Image};
use crate::source::names;

/// How many digits of a diff id are taken for one.
const SHORT_ID: usize = 12;

/// What is to be squashed.
#[derive(Debug, Clone, Copy)]
pub struct Squash<'a> {
    /// Which image.
    pub image: &'a str,
    /// The uppermost layer that stays: its number from 1, the beginning of its diff id (`sha256:` or 12 digits at
    /// least), or an image whose layers are the lowest of this one's. `None`: no layer stays.
    pub from: Option<&'a str>,
    /// What the result is called.
    pub names: &'a [Reference],
    /// SOURCE_DATE_EPOCH, in seconds: the time of the merged layer and of the result. `None`: the image's own time.
    pub epoch: Option<i64>,
    /// Whether no file of the merged layer is to be younger than that.
    pub rewrite_timestamp: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Squashed {
    /// The id of the new image: the digest of its config.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Digest,
    /// How many layers the image has.
    pub before: Layers,
    /// How many layers the new image has.
    pub after: Layers,
    /// How many of them are the image's own.
    pub kept: usize,
}

/// Some layers and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// How many.
    pub count: usize,
    /// The bytes of their tars, which no compression hides.
    pub bytes: u64,
}

impl Library {
    /// Merges layers of an image and keeps the result in the local store. The same image, `from` and `epoch` give the
    /// same result.
    pub fn squash(&self, squash: &Squash<'_>) -> Result<Squashed> {
        let (image, fetched) = self.layers(squash.image)?;
        let kept = match squash.from {
            Some(from) => self.kept_layers(&image, squash.image, from)?,
            None => 0,
        };
        let snapshots = Snapshots::new(&self.store);
        let before = assembled(&image, &fetched);
        let size = |layers: &[ImageLayer]| self.size(layers.iter().map(|layer| layer.id));
        let sizes = size(&before.layers)?;
        let epoch = squash.epoch.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        let merge = Merge {
            first: kept,
            created: epoch.or(image.config.created),
            created_by: format!("kiln squash: layers {} to {}", kept + 1, before.layers.len()),
            comment: format!("squashed from {}", image.manifest.config.digest),
            latest: squash.epoch.filter(|_| squash.rewrite_timestamp),
        };
        let mut after = before.clone().squash(&merge, snapshots)?;
        let (id, manifest) = if after.config.rootfs == before.config.rootfs {
            self.name(squash.names, &image)?
        } else {
            after.config.created = merge.created;
            self.keep(squash.names, &image, &after)?
        };
        Ok(Squashed { id, manifest, before: sizes, after: size(&after.layers)?, kept })
    }

    /// Gives the names to the image itself.
    fn name(&self, names: &[Reference], image: &Image) -> Result<(Digest, Digest)> {
        for name in names {
            names::set_tag(&self.store, name, &image.digest)?;
        }
        Ok((image.manifest.config.digest, image.digest))
    }

    /// Keeps the new image under its names.
    fn keep(&self, names: &[Reference], old: &Image, new: &Assembled) -> Result<(Digest, Digest)> {
        let chains = ChainId::of_each(&new.config.rootfs.diff_ids);
        for (chain, layer) in chains.zip(&new.layers) {
            names::remember_chain(&self.store, chain, layer.id)?;
        }
        let exporter =
            Exporter { store: &self.store, progress: &|_, _, _| {}, cancel: &self.cancel };
        let mut output = Output::new(OutputKind::Image, None);
        output.oci_media_types = (family(&old.manifest) == Family::Docker).then_some(false);
        let product =
            Product { images: vec![(new.config.platform(), new.clone())], is_index: false };
        let finished = exporter.export(&product, &output, names)?;
        let root = finished.root.digest;
        Ok((finished.config().map_or(root, |config| config.digest), root))
    }

    fn size(&self, layers: impl Iterator<Item = LayerId>) -> Result<Layers> {
        let snapshots = Snapshots::new(&self.store);
        let mut sum = Layers { count: 0, bytes: 0 };
        for id in layers {
            sum = Layers { count: sum.count + 1, bytes: sum.bytes + snapshots.tar_size(id)? };
        }
        Ok(sum)
    }

    /// Returns how many layers stay.
    fn kept_layers(&self, image: &Image, name: &str, from: &str) -> Result<usize> {
        let layers = &image.config.rootfs.diff_ids;
        if from.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = from.parse().ok().filter(|number| *number <= layers.len());
            let (image, layer, count) = (name.to_owned(), from.to_owned(), layers.len());
            return number.ok_or(ImagesError::NoLayer { image, layer, count });
        }
        // Otherwise a short name of an image could be taken for the beginning of a diff id.
        let beginning = from.strip_prefix("sha256:");
        let beginning = beginning.or(Some(from).filter(|from| from.len() >= SHORT_ID));
        let is_it = |layer: &DiffId| beginning.is_some_and(|it| layer.hex().starts_with(it));
        let found: Vec<usize> = (1..).zip(layers).filter(|it| is_it(it.1)).map(|it| it.0).collect();
        match found.as_slice() {
            [only] => return Ok(*only),
            [] => {}
            [..] => return Err(ImagesError::SeveralLayers(from.to_owned())),
        }
        let base = self.image(from)?;
        let base = &base.config.rootfs.diff_ids;
        if !layers.starts_with(base) {
            return Err(ImagesError::NotABase { base: from.to_owned(), image: name.to_owned() });
        }
        Ok(base.len())
    }
}

/// Returns an image of the store as one that is being put together.
pub(super) fn assembled(image: &Image, fetched: &Fetched) -> Assembled {
    let described = fetched.layers.iter().zip(&image.config.rootfs.diff_ids);
    let layers = described.zip(&image.manifest.layers).map(|((id, diff_id), blob)| ImageLayer {
        id: *id,
        diff_id: *diff_id,
        blob: Some(blob.clone()),
        created: None,
    });
    let mut assembled = Assembled::new(image.config.clone(), layers.collect(), None);
    assembled.config.created = image.config.created;
    assembled
}
