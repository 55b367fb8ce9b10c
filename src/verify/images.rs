//! Whether everything that belongs to an image is here, or where it can be had is known.

use std::collections::{HashMap, HashSet};

use crate::digest::{ChainId, Digest};
use crate::fs::read_unmarked;
use crate::oci::{Content, Descriptor, Document, ImageConfig, Index, Manifest};
use crate::store::{SMALL_BLOB_LIMIT, Store};

/// How many indexes may stand above a manifest.
const DEEPEST: usize = 4;

/// What is here and of use.
pub(super) struct Known<'a> {
    pub(super) store: &'a Store,
    pub(super) blobs: HashSet<Digest>,
    /// By name.
    pub(super) layers: HashSet<String>,
    pub(super) chains: HashMap<ChainId, String>,
    /// What some repository is known to have.
    pub(super) elsewhere: HashSet<Digest>,
}

impl Known<'_> {
    /// Returns what an image lacks, if it lacks anything. An index has to have one of its images.
    pub(super) fn lack(&self, image: &Digest) -> Option<String> {
        self.lack_below(image, 0)
    }

    fn lack_below(&self, image: &Digest, depth: usize) -> Option<String> {
        if !self.blobs.contains(image) {
            return (!self.elsewhere.contains(image)).then(|| format!("its manifest {image}"));
        }
        let bytes = read_unmarked(&self.store.blob_path(image), SMALL_BLOB_LIMIT).ok().flatten();
        match Document::parse(&bytes.unwrap_or_default()) {
            Ok(Document::Manifest(manifest)) => self.lack_of_manifest(&manifest),
            Ok(Document::Index(index)) => self.lack_of_index(&index, depth),
            // It came like this.
            Err(_) => None,
        }
    }

    fn lack_of_index(&self, index: &Index, depth: usize) -> Option<String> {
        if depth >= DEEPEST {
            return None;
        }
        let attests = |it: &&Descriptor| it.platform.as_ref().is_some_and(|p| p.os == "unknown");
        let images = index.manifests.iter().filter(|it| !attests(it));
        let mut lacks = images.map(|image| self.lack_below(&image.digest, depth + 1));
        let first = lacks.next()??;
        if lacks.any(|lack| lack.is_none()) { None } else { Some(first) }
    }

    fn lack_of_manifest(&self, manifest: &Manifest) -> Option<String> {
        let has = |it: &Descriptor| {
            self.blobs.contains(&it.digest)
                || self.elsewhere.contains(&it.digest)
                || !it.urls.is_empty()
        };
        if !has(&manifest.config) {
            return Some(format!("its config {}", manifest.config.digest));
        }
        let unpacked = self.unpacked(manifest);
        let is_here = |it: &Descriptor| has(it) || unpacked.contains(&it.digest);
        let lost = manifest.layers.iter().find(|layer| !is_here(layer))?;
        Some(format!("its layer {}", lost.digest))
    }

    /// Returns the digests of the layers' tars that can be packed from what is here.
    fn unpacked(&self, manifest: &Manifest) -> HashSet<Digest> {
        let config = &manifest.config;
        if config.content() != Content::Config || !self.blobs.contains(&config.digest) {
            return HashSet::new();
        }
        let path = self.store.blob_path(&config.digest);
        let bytes = read_unmarked(&path, SMALL_BLOB_LIMIT).ok().flatten().unwrap_or_default();
        let Ok(config) = ImageConfig::parse(&bytes) else { return HashSet::new() };
        let diff_ids = config.rootfs.diff_ids;
        let has = |chain: &ChainId| {
            self.chains.get(chain).is_some_and(|layer| self.layers.contains(layer))
        };
        let known = ChainId::of_each(&diff_ids).take_while(has).count();
        diff_ids.iter().take(known).map(|id| Digest::from_bytes(*id.as_bytes())).collect()
    }
}
