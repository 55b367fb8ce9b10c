//! The images of the local store: found and listed, brought here and sent away, changed. A file per subject.
//!
//! What the commands about images do, without their words: values in, values out.

mod error;
mod list;
mod size;

use std::path::Path;

pub use error::ImagesError;
pub use list::Listed;

use crate::digest::Digest;
use crate::event::Cancel;
use crate::graph::{ImageLocation, ImageRequest};
use crate::oci::{Platform, Reference};
use crate::registry::{Settings, Web};
use crate::source::SourceError;
use crate::source::find::{Found, find};
use crate::source::image::{Fetched, Image, Images};
use crate::store::Store;

/// A result of this room.
pub type Result<T> = std::result::Result<T, ImagesError>;

/// The local store and the way to registries.
pub struct Library {
    store: Store,
    web: Web,
    cancel: Cancel,
}

impl Library {
    /// Opens the state root; no registry is asked yet.
    pub fn open(state: &Path, registry: &Settings, cancel: &Cancel) -> Result<Self> {
        let web = Web::new(registry, cancel)?;
        Ok(Self { store: Store::open(state)?, web, cancel: cancel.clone() })
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns what finds images; with `pull` registries are asked although the store knows a name.
    pub fn images(&self, pull: bool) -> Images<'_> {
        Images::new(&self.store, self.web.client.clone(), pull, self.cancel.clone())
    }

    /// Finds the image of the local store that a text means: a name, an id, or the beginning of one.
    pub fn find(&self, name: &str) -> Result<(Option<Reference>, Digest)> {
        match find(&self.store, name)? {
            Found::Name(reference, digest) => Ok((Some(reference), digest)),
            Found::Id(digest) => Ok((None, digest)),
            Found::Unknown(_) => Err(ImagesError::NotHere(name.to_owned())),
        }
    }

    /// Returns what asks for an image by what a text means; a name that the store does not know may be pulled.
    pub fn request(&self, name: &str) -> Result<ImageRequest> {
        let location = match find(&self.store, name)? {
            Found::Id(digest) => ImageLocation::Manifest(digest),
            Found::Name(reference, _) | Found::Unknown(reference) => {
                ImageLocation::Reference(reference)
            }
        };
        Ok(ImageRequest { location, platform: Platform::host() })
    }

    /// Returns an image of this machine's platform and its layers, ready to be used; it is pulled if the store does not
    /// have it.
    pub fn ready(&self, name: &str) -> Result<(Image, Fetched)> {
        let (images, request) = (self.images(false), self.request(name)?);
        let image = images.resolve(&request).map_err(unusable(name))?;
        let fetched = images.fetch(&request, &|_, _, _| {}).map_err(unusable(name))?;
        Ok((image, fetched))
    }

    /// Returns an image of the local store, whatever platform it is for; of several this machine's if there is one.
    /// Nothing is pulled.
    pub fn image(&self, name: &str) -> Result<Image> {
        self.image_for(name, None)
    }

    /// Returns an image of the local store and its layers, ready to be read. Nothing is pulled.
    pub fn layers(&self, name: &str) -> Result<(Image, Fetched)> {
        let (_, digest) = self.find(name)?;
        let (images, request) = (self.images(false), kept(digest));
        let image = images.resolve(&request).map_err(unusable(name))?;
        let fetched = images.fetch(&request, &|_, _, _| {}).map_err(unusable(name))?;
        Ok((image, fetched))
    }
}

/// Makes the closure that `map_err` wants, for errors of an image that was named.
fn unusable(name: &str) -> impl Fn(SourceError) -> ImagesError + '_ {
    move |source| ImagesError::Unusable { name: name.to_owned(), source }
}

/// Asks for what the store has, and so for no other place.
fn kept(digest: Digest) -> ImageRequest {
    ImageRequest { location: ImageLocation::Manifest(digest), platform: Platform::host() }
}
