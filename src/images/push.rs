//! Sending images of the local store to registries.

use super::{ImagesError, Library, Progress, Result, new_name};
use crate::digest::Digest;
use crate::export::Exporter;
use crate::export::blob::Wanted;
use crate::export::compressed::Compressing;
use crate::export::registry::{Push, Sent};
use crate::oci::{Descriptor, Platform, Reference};
use crate::source::closure::{Closure, Selection};
use crate::source::nearest::NearestBlobs;

/// What was pushed.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// Under which name.
    pub name: Reference,
    /// The digest of what the name means now.
    pub digest: Digest,
    /// The size of that document in bytes.
    pub size: u64,
    /// What had to be done.
    pub sent: Sent,
}

impl Library {
    /// Pushes an image, or an index with the images of it that are here; `platform` chooses one of them. `target` is
    /// the name to push to, if it is not the image's own.
    pub fn push(
        &self,
        name: &str,
        target: Option<&str>,
        (platform, wanted): (Option<&Platform>, Wanted),
        progress: Progress<'_>,
    ) -> Result<Pushed> {
        let (found, digest) = self.find(name)?;
        let target = match target {
            Some(text) => new_name(text)?,
            None => found
                .filter(|name| name.digest().is_none())
                .ok_or_else(|| ImagesError::NoName(name.to_owned()))?,
        };
        // Of a list that was made here some layers may be in other registries.
        let place = NearestBlobs::of_whole_images(&self.store, self.web.client.clone());
        let root = match platform {
            Some(_) => self.chosen(name, digest, platform)?,
            None => self.descriptor(digest)?,
        };
        let closure = self.compressed(&place, &root, wanted, progress)?;
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        let push =
            Push { exporter: &exporter, client: &self.web.client, target: &target, place: &place };
        let sent = push.run(&closure)?;
        let (digest, size) = (closure.root.digest, closure.root.size);
        Ok(Pushed { name: target, digest, size, sent })
    }

    /// Returns an image of the store with its layers compressed as wanted.
    fn compressed(
        &self,
        place: &NearestBlobs<'_>,
        root: &Descriptor,
        wanted: Wanted,
        progress: Progress<'_>,
    ) -> Result<Closure> {
        let closure = Closure::of(place, root, &Selection::Present)?;
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        let images = self.images(false);
        Ok(Compressing { exporter: &exporter, images: &images, wanted }.run(closure)?)
    }
}
