//! An image with everything that it names: what is copied when an image is copied.
//!
//! The documents are read, and verified, while it is found out; the blobs stay where they are. How much one name may
//! lead to is bounded.

use std::collections::BTreeSet;

use super::SourceError;
use super::blobs::Blobs;
use crate::digest::Digest;
use crate::oci::{Descriptor, Document, Index, Platform};

/// How many indexes may stand above a manifest.
const DEEPEST: usize = 4;

/// How many documents one name may lead to.
const MOST_DOCUMENTS: usize = 1000;

/// How many bytes of documents one name may lead to.
const MOST_BYTES: usize = 64 << 20;

/// An image, an index with its images, or an artifact, with everything below it.
#[derive(Debug, Clone)]
pub struct Closure {
    /// What was asked for.
    pub root: Descriptor,
    /// Manifests and indexes with their bytes, what is named before what names it; the last is the root.
    pub documents: Vec<(Descriptor, Vec<u8>)>,
    /// Configs and layers, each once, in the order in which they are named.
    pub blobs: Vec<Descriptor>,
}

/// Which images of an index are taken.
#[derive(Debug, Clone)]
pub enum Selection {
    /// All of them.
    All,
    /// The one that suits a platform best; the index itself is left behind.
    Platform(Box<Platform>),
    /// Those that the place has. If that is one only it is taken in place of the index, of several a new index is made.
    Present,
}

impl Closure {
    /// Finds out what belongs to `root`.
    pub fn of(
        place: &dyn Blobs,
        root: &Descriptor,
        selection: &Selection,
    ) -> Result<Self, SourceError> {
        let mut finder = Finder { place, selection, seen: BTreeSet::new(), bytes: 0 };
        let mut found = Self { root: root.clone(), documents: Vec::new(), blobs: Vec::new() };
        found.root = finder.take(root, 0, &mut found)?;
        Ok(found)
    }

    /// Returns the bytes of all blobs and documents together.
    pub fn size(&self) -> u64 {
        let documents: u64 = self.documents.iter().map(|(it, _)| it.size).sum();
        documents + self.blobs.iter().map(|it| it.size).sum::<u64>()
    }

    /// Returns the manifests with what they say.
    pub fn manifests(&self) -> impl Iterator<Item = (&Descriptor, crate::oci::Manifest)> {
        self.documents.iter().filter_map(|(descriptor, bytes)| match Document::parse(bytes) {
            Ok(Document::Manifest(manifest)) => Some((descriptor, manifest)),
            _ => None,
        })
    }
}

struct Finder<'a> {
    place: &'a dyn Blobs,
    selection: &'a Selection,
    seen: BTreeSet<Digest>,
    bytes: usize,
}

impl Finder<'_> {
    /// Takes a document with what is below it and returns what stands in its place.
    fn take(
        &mut self,
        descriptor: &Descriptor,
        depth: usize,
        found: &mut Closure,
    ) -> Result<Descriptor, SourceError> {
        if found.documents.iter().any(|(known, _)| known.digest == descriptor.digest) {
            return Ok(descriptor.clone());
        }
        let bytes = self.place.document(descriptor)?;
        self.bytes += bytes.len();
        if depth > DEEPEST || found.documents.len() >= MOST_DOCUMENTS || self.bytes > MOST_BYTES {
            return Err(SourceError::ImageNotFound {
                reference: descriptor.digest.to_string(),
                hint: Some("its indexes are nested too deeply or name too much".into()),
            });
        }
        match Document::parse(&bytes)? {
            Document::Manifest(manifest) => {
                for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
                    if self.seen.insert(blob.digest) {
                        found.blobs.push(blob.clone());
                    }
                }
                found.documents.push((descriptor.clone(), bytes));
                Ok(descriptor.clone())
            }
            Document::Index(index) => self.take_index(descriptor, (index, bytes), depth, found),
        }
    }

    fn take_index(
        &mut self,
        descriptor: &Descriptor,
        (index, bytes): (Index, Vec<u8>),
        depth: usize,
        found: &mut Closure,
    ) -> Result<Descriptor, SourceError> {
        if let Selection::Platform(wanted) = self.selection {
            let chosen = index.select(wanted)?.clone();
            return self.take(&chosen, depth + 1, found);
        }
        let mut taken = Vec::new();
        for child in &index.manifests {
            match self.take(child, depth + 1, found) {
                Ok(child) => taken.push(child),
                Err(error) if error.is_missing() && self.leaves_out() => {}
                Err(error) => return Err(error),
            }
        }
        if taken.len() == index.manifests.len() && taken == index.manifests {
            found.documents.push((descriptor.clone(), bytes));
            return Ok(descriptor.clone());
        }
        let images = |it: &&Descriptor| it.platform.as_ref().is_none_or(|p| p.os != "unknown");
        match taken.iter().filter(images).collect::<Vec<_>>().as_slice() {
            [] => Err(SourceError::ImageNotFound {
                reference: descriptor.digest.to_string(),
                hint: Some("none of the images that this index names is here".into()),
            }),
            [only] => {
                let mut only = (*only).clone();
                only.platform = None;
                found.documents.retain(|(document, _)| document.digest == only.digest);
                found.retain_blobs();
                Ok(only)
            }
            _ => {
                let mut index = index;
                index.manifests = taken;
                let bytes = index.to_bytes();
                let made = Descriptor::of(descriptor.media_type.clone(), &bytes);
                found.documents.push((made.clone(), bytes));
                Ok(made)
            }
        }
    }

    fn leaves_out(&self) -> bool {
        matches!(self.selection, Selection::Present)
    }
}

impl Closure {
    /// Drops blobs that no document names any more.
    fn retain_blobs(&mut self) {
        let mut named = BTreeSet::new();
        for (_, manifest) in self.manifests() {
            named.insert(manifest.config.digest);
            named.extend(manifest.layers.iter().map(|layer| layer.digest));
        }
        self.blobs.retain(|blob| named.contains(&blob.digest));
    }
}
