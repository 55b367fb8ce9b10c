//! What one build made, of one platform or of several, and what an output made of it.
//!
//! Several images are under one name by an index (OCI image specification, "Image Index"; a manifest list in the Docker
//! family): it names their manifests in the order in which their platforms were asked for.

use super::image::{self, FinishedImage, Image};
use super::{Exporter, Output, Result};
use crate::oci::{Content, Descriptor, Index, MediaType, Platform, media_type};

/// What one build made.
#[derive(Debug, Clone)]
pub struct Product {
    /// At least one image, each with the platform that was asked for.
    pub images: Vec<(Platform, Image)>,
    /// Whether they are put under an index. Several are; one is if that was asked for.
    pub is_index: bool,
}

/// What an output made of it.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What a name leads to: the index, or the only image's manifest.
    pub root: Descriptor,
    /// The images, in the product's order.
    pub images: Vec<FinishedImage>,
}

impl Product {
    /// SOURCE_DATE_EPOCH, which is that of the build and so the same for all images.
    pub(super) fn epoch(&self) -> Option<i64> {
        self.images.first().and_then(|(_, image)| image.epoch)
    }
}

impl Finished {
    /// Returns the config of the only image; `None` if there is an index.
    pub fn config(&self) -> Option<&Descriptor> {
        match (self.root.content(), self.images.as_slice()) {
            (Content::Manifest, [image]) => Some(&image.config),
            _ => None,
        }
    }
}

/// Makes the blobs and documents of an output, all in the store.
pub(super) fn finish(
    exporter: &Exporter<'_>,
    product: &Product,
    output: &Output,
) -> Result<Finished> {
    let images = product.images.iter().map(|(_, image)| image::finish(exporter, image, output));
    let images = images.collect::<Result<Vec<_>>>()?;
    let root = match images.as_slice() {
        [image] if !product.is_index => image.manifest.clone(),
        images => {
            let platforms = product.images.iter().map(|(platform, _)| platform);
            let manifests = platforms.zip(images).map(|(platform, image)| Descriptor {
                platform: Some(platform.clone()),
                ..image.manifest.clone()
            });
            let family = image::family(output);
            let bytes = Index::new(family, manifests.collect()).to_bytes();
            exporter.store.put_blob(&bytes)?;
            let kind = media_type(Content::Index, family).unwrap_or(MediaType::ImageIndex);
            Descriptor::of(kind, &bytes)
        }
    };
    Ok(Finished { root, images })
}
