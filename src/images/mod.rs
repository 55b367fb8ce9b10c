//! The images of the local store: found and listed, brought here and sent away, changed. A file per subject.
//!
//! What the commands about images do, without their words: values in, values out.

mod archive;
mod copy;
mod diff;
mod error;
mod layers;
mod list;
mod manifest;
mod place;
mod pull;
mod push;
mod rootfs;
mod size;
mod squash;
mod tag;

use std::path::Path;

pub use archive::{Input, Loaded, Save};
pub use copy::Copy;
pub use diff::{Comparison, ConfigChange, Facts, FileChange, What};
pub use error::ImagesError;
pub use layers::{Amount, Content, Layer, LayerFile, Layering, Loss, Lost, Offender, Survey};
pub use list::Listed;
pub use manifest::{EntryChange, Inspected, ListName};
pub use place::{FileKind, Place};
pub use pull::Pulled;
pub use push::Pushed;
pub use rootfs::Import;
pub use squash::{Layers, Squash, Squashed};
pub use tag::{Removed, new_name};

use crate::digest::Digest;
use crate::event::Cancel;
use crate::gc;
use crate::graph::{ImageLocation, ImageRequest};
use crate::oci::{Platform, Reference};
use crate::registry::{Settings, Web};
use crate::source::SourceError;
use crate::source::find::{Found, find};
use crate::source::image::{Fetched, Image, Images};
use crate::store::Store;
use crate::verify;

/// A result of this room.
pub type Result<T> = std::result::Result<T, ImagesError>;

/// Hears of bytes: what, so far, in all.
pub type Progress<'a> = &'a (dyn Fn(&str, u64, u64) + Sync);

/// The local store and the way to registries.
pub struct Library {
    store: Store,
    web: Web,
    cancel: Cancel,
    cap: Option<u64>,
}

impl Drop for Library {
    fn drop(&mut self) {
        if let Some(cap) = self.cap.filter(|_| !std::thread::panicking()) {
            // What could not be removed now will be later, or `kiln prune` says why not.
            let _ = gc::hold_cap(&self.store, cap);
        }
    }
}

impl Library {
    /// Opens the state root; no registry is asked yet.
    pub fn open(state: &Path, registry: &Settings, cancel: &Cancel) -> Result<Self> {
        let web = Web::new(registry, cancel)?;
        let store = Store::open(state)?;
        verify::recover(&store, cancel)?;
        Ok(Self { store, web, cancel: cancel.clone(), cap: None })
    }

    /// The same, in which looking at an image does not count as using it.
    #[must_use]
    pub fn unmarked(self) -> Self {
        self.store.leave_no_marks();
        self
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The same, which brings the store below a limit in bytes when it is dropped, if there is one: for whoever may have
    /// brought something here.
    #[must_use]
    pub fn capped(mut self, cap: Option<u64>) -> Self {
        self.cap = cap;
        self
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
            Found::Name(reference, _) => ImageLocation::Reference(reference),
            Found::Unknown(_) => ImageLocation::named(name).map_err(SourceError::from)?,
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
        let image = self.image(name)?;
        let (images, request) = (self.images(false), kept(image.digest));
        let fetched = images.fetch(&request, &|_, _, _| {}).map_err(unusable(name))?;
        Ok((image, fetched))
    }
}

/// Asks for a manifest of the store, and so for no other place.
fn kept(digest: Digest) -> ImageRequest {
    ImageRequest { location: ImageLocation::Manifest(digest), platform: Platform::host() }
}

/// Makes the closure that `map_err` wants, for errors of an image that was named.
fn unusable(name: &str) -> impl Fn(SourceError) -> ImagesError + '_ {
    move |source| ImagesError::Unusable { name: name.to_owned(), source }
}
