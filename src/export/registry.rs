//! Pushing an image to a registry.
//!
//! Nothing is sent that the registry has: a name that means the same already ends the push, a blob is asked for
//! before it is sent, and one that the registry has in another repository is mounted. Blobs go several at once; the
//! documents follow, what is named before what names it, the name last, so that nobody pulls half an image.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
        let content = Located { place: self.place, blob, left: Mutex::default() };
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
    /// What a request has left of a stream, and from where on: the next chunk is read from it, for a place that is a
    /// registry would have to send everything before once more.
    left: Mutex<Option<(u64, Box<dyn Read + Send + 'a>)>>,
}

impl<'a> Located<'a> {
    fn left(&self) -> MutexGuard<'_, Option<(u64, Box<dyn Read + Send + 'a>)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl registry::Payload for Located<'_> {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let left = self.left().take().filter(|(at, _)| *at <= from);
        let (at, mut stream) = match left {
            Some(left) => left,
            None => (0, self.place.open(self.blob).map_err(io::Error::other)?),
        };
        let skipped = io::copy(&mut (&mut stream).take(from - at), &mut io::sink())?;
        match skipped == from - at {
            true => Ok(Box::new(Reading { of: self, at: from, stream: Some(stream) })),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What one request reads; it leaves the rest to the next.
struct Reading<'a, 'b> {
    of: &'a Located<'b>,
    at: u64,
    /// `None` once it failed.
    stream: Option<Box<dyn Read + Send + 'b>>,
}

impl Read for Reading<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::UnexpectedEof)?;
        let read = stream.read(buf);
        match &read {
            Ok(count) => self.at += *count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.stream = None,
        }
        read
    }
}

impl Drop for Reading<'_, '_> {
    fn drop(&mut self) {
        *self.of.left() = self.stream.take().map(|stream| (self.at, stream));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Payload;

    /// Bytes that count how often they are opened.
    struct Counted(&'static [u8], AtomicUsize);

    impl Blobs for Counted {
        fn document(&self, _: &Descriptor) -> std::result::Result<Vec<u8>, SourceError> {
            Ok(self.0.to_vec())
        }

        fn open(
            &self,
            _: &Descriptor,
        ) -> std::result::Result<Box<dyn Read + Send + '_>, SourceError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(self.0))
        }
    }

    #[test]
    fn chunks_in_a_row_are_read_from_one_stream() {
        let place = Counted(b"0123456789", AtomicUsize::new(0));
        let blob = Descriptor::of(MediaType::ImageLayer, place.0);
        let located = Located { place: &place, blob: &blob, left: Mutex::default() };
        let read = |from, count| {
            let mut text = String::new();
            located.open(from).unwrap().take(count).read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!([read(0, 3), read(3, 3), read(7, 2)], ["012", "345", "78"]);
        assert_eq!(place.1.load(Ordering::Relaxed), 1);
        // What was sent already is only there in a new one.
        assert_eq!([read(2, 4), read(6, 9)], ["2345", "6789"]);
        assert_eq!(place.1.load(Ordering::Relaxed), 2);
        assert_eq!(located.open(11).err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    }
}
