//! An image of the local store with its layers compressed, as registries expect them.
//!
//! Config and history stay byte for byte: a layer's diff id does not depend on its compression. A manifest whose layers
//! are as they are wanted stays as well, with its digest, and so does one whose layers are elsewhere.

use std::collections::BTreeMap;

use super::blob::{self, Wanted};
use super::image::ImageLayer;
use super::{Exporter, Result};
use crate::digest::Digest;
use crate::graph::{ImageLocation, ImageRequest};
use crate::oci::{
    Content, Descriptor, Document, Family, Index, Manifest, MediaType, Platform, media_type,
};
use crate::source::closure::Closure;
use crate::source::image::Images;

/// Makes what a push sends of an image of the store.
pub struct Compressing<'a> {
    /// What exporting needs.
    pub exporter: &'a Exporter<'a>,
    /// Unpacks a layer that is nowhere in plain.
    pub images: &'a Images<'a>,
    /// How layers are wanted.
    pub wanted: Wanted,
}

impl Compressing<'_> {
    /// Returns the same image with compressed layers; its documents and blobs are in the store.
    pub fn run(&self, closure: Closure) -> Result<Closure> {
        let mut replaced = BTreeMap::new();
        let mut documents: Vec<(Descriptor, Vec<u8>)> = Vec::with_capacity(closure.documents.len());
        let mut blobs: Vec<Descriptor> = Vec::new();
        for (descriptor, bytes) in closure.documents {
            let (made, bytes, named) = match Document::parse(&bytes) {
                Ok(Document::Manifest(manifest)) => self.manifest(&descriptor, bytes, manifest)?,
                Ok(Document::Index(index)) => {
                    let (made, bytes) = self.index(&descriptor, bytes, index, &replaced)?;
                    (made, bytes, Vec::new())
                }
                Err(error) => return Err(crate::source::SourceError::from(error).into()),
            };
            for blob in named {
                if !blobs.iter().any(|known| known.digest == blob.digest) {
                    blobs.push(blob);
                }
            }
            replaced.insert(descriptor.digest, made.clone());
            documents.push((made, bytes));
        }
        let root = replaced.remove(&closure.root.digest).unwrap_or(closure.root);
        Ok(Closure { root, documents, blobs })
    }

    /// Returns a manifest's descriptor, bytes and blobs.
    fn manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        mut manifest: Manifest,
    ) -> Result<(Descriptor, Vec<u8>, Vec<Descriptor>)> {
        let is_layer = |it: &Descriptor| matches!(it.content(), Content::Layer(_));
        let layers = match manifest.config.content() {
            Content::Config if manifest.layers.iter().all(is_layer) => {
                self.layers(descriptor, &manifest)?
            }
            _ => manifest.layers.clone(),
        };
        let named =
            |it: &Manifest| [std::slice::from_ref(&it.config), it.layers.as_slice()].concat();
        if layers == manifest.layers {
            let blobs = named(&manifest);
            return Ok((descriptor.clone(), bytes, blobs));
        }
        manifest.layers = layers;
        let family = family(&manifest);
        put_in(&mut manifest, family);
        let bytes = manifest.to_bytes();
        self.exporter.store.put_blob(&bytes)?;
        let media_type = media_type(Content::Manifest, family);
        let made = Descriptor {
            media_type: media_type.unwrap_or_else(|| descriptor.media_type.clone()),
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
            ..descriptor.clone()
        };
        let blobs = named(&manifest);
        Ok((made, bytes, blobs))
    }

    fn layers(&self, descriptor: &Descriptor, manifest: &Manifest) -> Result<Vec<Descriptor>> {
        let content = Content::Layer(blob::of(self.wanted.compression));
        if manifest.layers.iter().all(|layer| self.wanted.existing.takes(layer, content)) {
            return Ok(manifest.layers.clone());
        }
        let request = ImageRequest {
            location: ImageLocation::Manifest(descriptor.digest),
            platform: Platform::host(),
        };
        let image = self.images.resolve(&request)?;
        if !self.images.is_whole(&image)? {
            return Ok(manifest.layers.clone());
        }
        let fetched = self.images.fetch(&request, self.exporter.progress)?;
        let diff_ids = &image.config.rootfs.diff_ids;
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for ((id, diff_id), there) in fetched.layers.iter().zip(diff_ids).zip(&manifest.layers) {
            let layer =
                ImageLayer { id: *id, diff_id: *diff_id, blob: Some(there.clone()), created: None };
            let made = blob::layer(self.exporter, &layer, &self.wanted, None)?.descriptor;
            layers.push(match made.digest == there.digest {
                true => there.clone(),
                false => made,
            });
        }
        Ok(layers)
    }

    /// Returns an index that names what was made in place of what it named.
    fn index(
        &self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        mut index: Index,
        replaced: &BTreeMap<Digest, Descriptor>,
    ) -> Result<(Descriptor, Vec<u8>)> {
        const ABOUT: &str = "vnd.docker.reference.digest";
        let before = index.manifests.clone();
        for child in &mut index.manifests {
            if let Some(made) = replaced.get(&child.digest) {
                (child.digest, child.size) = (made.digest, made.size);
                child.media_type = made.media_type.clone();
            }
            // An attestation names the image that it is about.
            let about = child.annotations.get(ABOUT).and_then(|text| text.parse().ok());
            if let Some(made) = about.and_then(|digest: Digest| replaced.get(&digest)) {
                child.annotations.insert(ABOUT.to_owned(), made.digest.to_string());
            }
        }
        if index.manifests == before {
            return Ok((descriptor.clone(), bytes));
        }
        let oci = media_type(Content::Manifest, Family::Oci);
        if index.manifests.iter().any(|child| Some(&child.media_type) == oci.as_ref()) {
            // Docker's lists name Docker's manifests only.
            index.media_type = media_type(Content::Index, Family::Oci);
        }
        let bytes = index.to_bytes();
        self.exporter.store.put_blob(&bytes)?;
        let media = index.media_type.clone().unwrap_or(MediaType::ImageIndex);
        Ok((Descriptor::of(media, &bytes), bytes))
    }
}

/// Returns the family of a manifest: Docker's only if all its layers have a name there.
pub fn family(manifest: &Manifest) -> Family {
    let mut layers = manifest.layers.iter();
    match manifest.media_type == media_type(Content::Manifest, Family::Docker)
        && layers.all(|layer| layer.in_family(Family::Docker).is_some())
    {
        true => Family::Docker,
        false => Family::Oci,
    }
}

/// Writes a manifest's layers in the names of a family, and the manifest itself if it is in the other one.
fn put_in(manifest: &mut Manifest, family: Family) {
    let to = |it: &mut Descriptor| {
        if let Some(named) = it.in_family(family).filter(|named| named.media_type != it.media_type)
        {
            *it = named;
        }
    };
    manifest.layers.iter_mut().for_each(to);
    if manifest.media_type.is_some() {
        manifest.media_type = media_type(Content::Manifest, family);
        to(&mut manifest.config);
    }
}
