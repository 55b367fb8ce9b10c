//! Pushing an image to a registry.
//!
//! Nothing is sent that the registry has: a name that means the same already ends the push, a blob is asked for
//! before it is sent, and one that the registry has in another repository is mounted. Blobs go several at once; the
//! documents follow, what is named before what names it, the name last, so that nobody pulls half an image.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ExportError, Exporter, Result};
use crate::oci::{Content, Descriptor, MediaType, Reference};
use crate::parallel;
use crate::registry::{Client, RegistryError};
use crate::source::SourceError;
use crate::source::blobs::Blobs;
use crate::source::closure::Closure;
use crate::source::names;

/// How many blobs are sent at once.
const PARALLEL: usize = 4;

/// A push to one name.
pub struct Push<'a> {
    /// What exporting needs.
    pub exporter: &'a Exporter<'a>,
    /// Registries.
    pub client: &'a Client,
    /// The name; with a digest and no tag the image gets no name.
    pub target: &'a Reference,
    /// Where the blobs are.
    pub place: &'a dyn Blobs,
}

/// What a push did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Blobs that were uploaded.
    pub uploaded: usize,
    /// Blobs that were mounted from another repository.
    pub mounted: usize,
    /// Whether the name meant this image already.
    pub was_there: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    There,
    Mounted,
    Uploaded,
}

impl Push<'_> {
    /// Sends an image, or an index with its images.
    pub fn run(&self, closure: &Closure) -> Result<Sent> {
        if self.is_there(closure)? {
            return Ok(Sent { was_there: true, ..Sent::default() });
        }
        let (uploaded, mounted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        parallel::map(PARALLEL, &closure.blobs, |blob| {
            match self.blob(blob)? {
                How::There => 0,
                How::Mounted => mounted.fetch_add(1, Ordering::Relaxed),
                How::Uploaded => uploaded.fetch_add(1, Ordering::Relaxed),
            };
            Ok::<_, ExportError>(())
        })?;
        for (descriptor, bytes) in &closure.documents {
            let by_digest = self.target.repository().with_digest(descriptor.digest);
            let name = match descriptor.digest == closure.root.digest {
                true if self.target.tag().is_some() => self.target,
                _ => &by_digest,
            };
            self.failed(self.client.put_manifest(name, &descriptor.media_type, bytes))?;
        }
        Ok(Sent {
            uploaded: uploaded.into_inner(),
            mounted: mounted.into_inner(),
            was_there: false,
        })
    }

    /// Returns whether the name means this image already: a registry takes a document only when it has what it names.
    fn is_there(&self, closure: &Closure) -> Result<bool> {
        match self.client.head(self.target) {
            Ok(Some(there)) => Ok(there.digest == closure.root.digest),
            Ok(None) | Err(RegistryError::NotFound(_) | RegistryError::Denied { .. }) => Ok(false),
            Err(error) => self.failed(Err(error)),
        }
    }

    /// Makes sure that the registry has a blob.
    fn blob(&self, blob: &Descriptor) -> Result<How> {
        // A foreign layer stays where its publisher wants it to be.
        if !blob.urls.is_empty() && is_foreign(blob) {
            return Ok(How::There);
        }
        let digest = blob.digest;
        let how = if self.failed(self.client.has_blob(self.target, digest))? {
            How::There
        } else if self.mount(blob)? {
            How::Mounted
        } else {
            self.upload(blob)?;
            How::Uploaded
        };
        names::remember_place(self.exporter.store, digest, self.target)?;
        Ok(how)
    }

    /// Asks the registry to take the blob from a repository that is known to have had it.
    fn mount(&self, blob: &Descriptor) -> Result<bool> {
        for other in names::places(self.exporter.store, blob.digest)? {
            if other.domain() == self.target.domain()
                && other.path() != self.target.path()
                && self.client.mount_blob(self.target, &other, blob.digest).unwrap_or(false)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn upload(&self, blob: &Descriptor) -> Result<()> {
        let open = || self.place.open(blob).map_err(std::io::Error::other);
        self.failed(self.client.upload_blob(self.target, blob, &open))
    }

    fn failed<T>(&self, result: std::result::Result<T, RegistryError>) -> Result<T> {
        result.map_err(|error| match error {
            RegistryError::Canceled => ExportError::Canceled,
            error => SourceError::Registry(error).into(),
        })
    }
}

fn is_foreign(blob: &Descriptor) -> bool {
    matches!(blob.content(), Content::Layer(_))
        && (matches!(
            blob.media_type,
            MediaType::ImageLayerNonDistributable
                | MediaType::ImageLayerNonDistributableGzip
                | MediaType::ImageLayerNonDistributableZstd
        ) || blob.media_type.as_ref().contains("foreign"))
}
