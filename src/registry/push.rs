//! Writing to a registry: is it there, mount it, upload it, name it.
//!
//! A blob is asked for before anything else is done, then taken from another repository of the same registry where
//! the caller knows one, then uploaded (`upload.rs`). Mounting is never a reason to fail: a registry that will not, or a
//! token server that refuses a token for both repositories, gets an upload instead, at the place that it offered if it
//! offered one.
//!
//! A manifest is stored again if the registry says that it stored other bytes, because then a tag would lead to
//! something that nobody made: with more patience than anything else, and if that is in vain the error says so. The
//! order of an image's parts is not decided here.

use std::io::{self, Read};

use super::RegistryError;
use super::agent::{Method, RequestBody, Response};
use super::client::{Access, Call, Client};
use super::upload::{Place, Upload};
use super::url::encode;
use crate::digest::Digest;
use crate::oci::{Descriptor, Document, MediaType, Reference};

/// How often the attempts begin again while a tag is known to lead to wrong bytes.
const ROUNDS: u32 = 4;

/// The bytes of a blob that is sent.
pub trait Payload: Sync {
    /// Opens it for reading from an offset in bytes on; called once for every request that sends some of it.
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send + '_>>;
}

impl Payload for Vec<u8> {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.len());
        Ok(Box::new(&self[from..]))
    }
}

/// A blob that a repository is to have.
pub struct BlobSource<'a> {
    /// Digest and size.
    pub descriptor: &'a Descriptor,
    /// Where its bytes are.
    pub content: &'a dyn Payload,
    /// A repository that may have it already; one of another registry is of no use and does no harm.
    pub from: Option<&'a Reference>,
    /// Hears how many of its bytes are sent; less than before after a transfer broke.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// How a blob came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It was there.
    Present,
    /// The registry took it from another repository.
    Mounted,
    /// It was sent.
    Uploaded,
}

/// What a registry says to a mount.
enum Mount {
    Done,
    /// It waits for the bytes here.
    Upload(Place),
    Refused,
}

impl Client {
    /// Returns whether the repository has a blob.
    pub fn has_blob(&self, repository: &Reference, digest: Digest) -> Result<bool, RegistryError> {
        let path = format!("blobs/{digest}");
        let call =
            Call { method: Method::HEAD, access: Access::Push, ..Call::get(repository, &path) };
        self.retrying(|| match self.expect(&call, &[200]) {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound(_) | RegistryError::Status { status: 405, .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        })
    }

    /// Makes sure that a repository has a blob, with as few bytes sent as can be.
    pub fn push_blob(
        &self,
        repository: &Reference,
        blob: &BlobSource<'_>,
    ) -> Result<Placed, RegistryError> {
        if self.has_blob(repository, blob.descriptor.digest)? {
            return Ok(Placed::Present);
        }
        let mount = match blob.from {
            Some(from) => self.mount(repository, from, blob.descriptor.digest)?,
            None => Mount::Refused,
        };
        let place = match mount {
            Mount::Done => return Ok(Placed::Mounted),
            Mount::Upload(place) => Some(place),
            Mount::Refused => None,
        };
        Upload::new(self, repository, blob).run(place)?;
        Ok(Placed::Uploaded)
    }

    /// Asks the registry to take a blob from another of its repositories.
    fn mount(
        &self,
        repository: &Reference,
        from: &Reference,
        digest: Digest,
    ) -> Result<Mount, RegistryError> {
        let (from, to) = (self.written_to(from)?, self.written_to(repository)?);
        if from.domain() != to.domain() || from.path() == to.path() {
            return Ok(Mount::Refused);
        }
        let path = format!(
            "blobs/uploads/?mount={}&from={}",
            encode(&digest.to_string()),
            encode(from.path())
        );
        let call = Call { also: Some(from.path()), ..post(repository, &path) };
        match self.retrying(|| self.expect(&call, &[201, 202])) {
            Ok(response) if response.status == 201 => Ok(Mount::Done),
            Ok(response) => Ok(Place::of(&response).map_or(Mount::Refused, Mount::Upload)),
            Err(RegistryError::Canceled) => Err(RegistryError::Canceled),
            // Whatever is really wrong, the upload will run into it and say so.
            Err(_) => Ok(Mount::Refused),
        }
    }

    /// Stores a manifest or an index under the reference's tag, else under its digest, and returns the digest. One that
    /// is about another (`subject`) is found there afterwards, also in registries that do not look for that themselves.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let knows_subjects = self.store_manifest(reference, media_type, bytes)?;
        if !knows_subjects && let Ok(document) = Document::parse(bytes) {
            let descriptor = Descriptor::of(media_type.clone(), bytes);
            self.add_referrer(reference, &document, descriptor)?;
        }
        Ok(digest)
    }

    /// Stores a document until the registry has the right bytes; returns whether it has seen what they are about.
    pub(super) fn store_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let digest = Digest::of(bytes);
        let target = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let path = format!("manifests/{target}");
        let headers = &[("content-type", media_type.as_ref())];
        let method = Method::PUT;
        let call = Call { method, headers, access: Access::Push, ..Call::get(reference, &path) };
        let mismatch = |actual| {
            let what = reference.familiar();
            RegistryError::Digest { what, expected: digest, actual }
        };
        let (mut failures, mut rounds, mut wrong) = (0, 0, None);
        loop {
            let stored = self.retrying(|| {
                let body = || Ok(RequestBody::Bytes(bytes));
                let response = self.expect_with(&call, body, &[200, 201, 202])?;
                Ok((stored(&response), response.header("oci-subject").is_some()))
            });
            match stored {
                Ok((Some(actual), _)) if actual != digest => wrong = Some(actual),
                Ok((_, subject)) => return Ok(subject),
                Err(error @ (RegistryError::Canceled | RegistryError::Denied { .. })) => {
                    return Err(error);
                }
                Err(_) if wrong.is_some() && rounds < ROUNDS => {
                    rounds += 1;
                    failures = 0;
                }
                // It may have got other bytes than were sent, naming blobs that nobody has.
                Err(RegistryError::Status { status: 400, .. } | RegistryError::NotFound(_))
                    if failures == 0 => {}
                // All that was lost may be the answer.
                Err(error) if error.is_transient() && self.means(reference, digest) => {
                    return Ok(false);
                }
                Err(error) => return Err(wrong.map_or(error, mismatch)),
            }
            failures += 1;
            let options = self.options();
            match (options.retry.pause_after(failures, None), wrong) {
                (Some(pause), _) => super::retry::sleep(pause, &options.cancel)?,
                (None, Some(actual)) => return Err(mismatch(actual)),
                (None, None) => {}
            }
        }
    }

    /// Returns whether a name is known to lead to a document.
    fn means(&self, reference: &Reference, digest: Digest) -> bool {
        matches!(self.head(reference), Ok(Some(found)) if found.digest == digest)
    }

    /// Waits before something is tried again, or gives its error back if that was enough.
    pub(super) fn pause(&self, failures: u32, error: RegistryError) -> Result<(), RegistryError> {
        let options = self.options();
        if options.cancel.is_canceled() {
            return Err(RegistryError::Canceled);
        }
        match options.retry.pause_after(failures, error.retry_after()) {
            Some(pause) => super::retry::sleep(pause, &options.cancel),
            None => Err(error),
        }
    }
}

/// Returns the digest under which the registry says that it stored a document.
fn stored(response: &Response) -> Option<Digest> {
    response.header("docker-content-digest")?.trim().parse().ok()
}

/// Makes the call that begins an upload.
pub(super) fn post<'a>(repository: &'a Reference, path: &'a str) -> Call<'a> {
    let (method, access) = (Method::POST, Access::Push);
    Call { method, access, headers: &[("content-length", "0")], ..Call::get(repository, path) }
}
