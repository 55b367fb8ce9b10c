//! Where an image's blobs can be had that the local store does not have all of: the store first, then the repositories
//! that are known to have them.

use std::io::Read;

use super::SourceError;
use super::blobs::{Blobs, RegistryBlobs, StoreBlobs};
use super::names::places;
use crate::digest::Digest;
use crate::oci::{Content, Descriptor, Document, Reference};
use crate::registry::{Client, RegistryError};
use crate::store::{Store, StoreError};

/// The local store and, for what it lacks, the registries that it remembers to have it.
pub struct NearestBlobs<'a> {
    store: &'a Store,
    here: StoreBlobs<'a>,
    client: Client,
    further: Option<Reference>,
    /// Whether a manifest is of use only if it is known where everything is that it names.
    whole: bool,
}

impl<'a> NearestBlobs<'a> {
    /// Makes one; nothing is asked yet. `further` is a repository that may have what is remembered of no other.
    pub fn new(store: &'a Store, client: Client, further: Option<&Reference>) -> Self {
        let further = further.map(Reference::repository);
        Self { store, here: StoreBlobs::with_parts(store), client, further, whole: false }
    }

    /// The same, but an image of which it is not known where a part is is not there at all.
    pub fn of_whole_images(store: &'a Store, client: Client) -> Self {
        Self { whole: true, ..Self::new(store, client, None) }
    }

    fn check(&self, descriptor: &Descriptor, document: &[u8]) -> Result<(), SourceError> {
        if descriptor.content() != Content::Manifest {
            return Ok(());
        }
        let Document::Manifest(manifest) = Document::parse(document)? else { return Ok(()) };
        for blob in [&manifest.config].into_iter().chain(&manifest.layers) {
            if blob.urls.is_empty() && !self.knows(&blob.digest)? {
                return Err(StoreError::Missing(blob.digest).into());
            }
        }
        Ok(())
    }

    /// Returns whether it is known where a blob is. Of layers it is known once their manifest was read.
    pub fn knows(&self, blob: &Digest) -> Result<bool, SourceError> {
        Ok(self.here.has(blob) || !places(self.store, *blob)?.is_empty())
    }

    /// Asks one repository after the other. If none has it, the error is that of the last.
    fn ask<T>(
        &self,
        digest: &Digest,
        ask: impl Fn(&Reference) -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        let mut failure = StoreError::Missing(*digest).into();
        for place in places(self.store, *digest)?.iter().chain(&self.further) {
            match ask(place) {
                Err(SourceError::Registry(RegistryError::Canceled)) => {
                    return Err(SourceError::Canceled);
                }
                Err(error) => failure = error,
                found => return found,
            }
        }
        Err(failure)
    }
}

impl Blobs for NearestBlobs<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        if self.here.has(&descriptor.digest) {
            let bytes = self.here.document(descriptor)?;
            if self.whole {
                self.check(descriptor, &bytes)?;
            }
            return Ok(bytes);
        }
        self.ask(&descriptor.digest, |place| {
            RegistryBlobs::new(self.client.clone(), place).document(descriptor)
        })
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        if self.here.has(&descriptor.digest) {
            return self.here.open(descriptor);
        }
        self.ask(&descriptor.digest, |place| {
            let blob: Box<dyn Read + Send> = Box::new(self.client.blob(place, descriptor)?);
            Ok(blob)
        })
    }
}
