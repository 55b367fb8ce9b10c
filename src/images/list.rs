//! The list of images.

use super::{Library, Result};
use crate::digest::Digest;
use crate::oci::Reference;
use crate::source::image::Image;
use crate::source::names;

/// A name of the local store.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name.
    pub name: Reference,
    /// The manifest or index that it means.
    pub digest: Digest,
    /// The image, of several this machine's.
    pub image: Image,
}

impl Library {
    /// Lists the names of the local store with the images that they mean, sorted; one that is not whole is left out.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let images = self.images(false);
        let listed = |(name, digest)| {
            let image = images.resolve(&self.kept(digest).ok()?).ok()?;
            Some(Listed { name, digest, image })
        };
        Ok(names::tags(&self.store)?.into_iter().filter_map(listed).collect())
    }

    /// Returns the names of a manifest or index, sorted.
    pub fn names_of(&self, digest: Digest) -> Result<Vec<Reference>> {
        let tags = names::tags(&self.store)?;
        Ok(tags.into_iter().filter(|(_, named)| *named == digest).map(|(name, _)| name).collect())
    }
}
