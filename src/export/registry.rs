//! Pushing an image to a registry.
//!
//! Nothing is sent that the registry has: a name that means the same already ends the push, a blob is asked for
//! before it is sent, and one that the registry has in another repository is mounted. Blobs go several at once; the
//! documents follow, what is named before what names it, the name last, so that nobody pulls half an image.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ExportError, Exporter, Result};
use crate::oci::{Content, Descriptor, MediaType, Reference};
use crate::parallel;
use crate::registry::{self, BlobSource, Client, Placed, RegistryError};
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

impl Push<'_> {
    /// Sends an image, or an index with its images.
    pub fn run(&self, closure: &Closure) -> Result<Sent> {
        if self.target.digest().is_some_and(|digest| digest != closure.root.digest) {
            let (name, root) = (self.target.familiar(), closure.root.digest);
            return Err(ExportError::Format(format!("`{name}` cannot be `{root}`")));
        }
        if self.is_there(closure)? {
            return Ok(Sent { was_there: true, ..Sent::default() });
        }
        let (uploaded, mounted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        parallel::map(PARALLEL, &closure.blobs, |blob| {
            match self.blob(blob)? {
                Placed::Present => 0,
                Placed::Mounted => mounted.fetch_add(1, Ordering::Relaxed),
                Placed::Uploaded => uploaded.fetch_add(1, Ordering::Relaxed),
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
        match self.client.head_of_push(self.target) {
            Ok(Some(there)) => Ok(there.digest == closure.root.digest),
            Ok(None) => Ok(false),
            Err(error) if error.is_refusal() => Ok(false),
            Err(error) => self.failed(Err(error)),
        }
    }

    /// Makes sure that the registry has a blob.
    pub fn blob(&self, blob: &Descriptor) -> Result<Placed> {
        // A foreign layer stays where its publisher wants it to be.
        if !blob.urls.is_empty() && is_foreign(blob) {
            return Ok(Placed::Present);
        }
        let what = &blob.digest.hex()[..12];
        let known = names::places(self.exporter.store, blob.digest)?;
        let from = known.iter().find(|other| {
            other.domain() == self.target.domain() && other.path() != self.target.path()
        });
        let content = Located { place: self.place, blob };
        let source = BlobSource {
            descriptor: blob,
            content: &content,
            from,
            progress: &|done| (self.exporter.progress)(what, done, blob.size),
        };
        let placed = self.failed(self.client.push_blob(self.target, &source))?;
        names::remember_place(self.exporter.store, blob.digest, self.target)?;
        Ok(placed)
    }

    fn failed<T>(&self, result: std::result::Result<T, RegistryError>) -> Result<T> {
        result.map_err(|error| match error {
            RegistryError::Canceled => ExportError::Canceled,
            error => SourceError::Registry(error).into(),
        })
    }
}

/// A blob where it is.
struct Located<'a> {
    place: &'a dyn Blobs,
    blob: &'a Descriptor,
}

impl registry::Payload for Located<'_> {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let mut opened = self.place.open(self.blob).map_err(io::Error::other)?;
        let skipped = io::copy(&mut (&mut opened).take(from), &mut io::sink())?;
        match skipped == from {
            true => Ok(opened),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
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
