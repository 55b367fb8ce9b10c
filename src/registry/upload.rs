//! Uploading one blob.
//!
//! What others do: containerd (so BuildKit, and docker with its image store) sends POST and one PUT with all bytes;
//! docker's older store and skopeo send POST, one PATCH with all bytes, and an empty PUT. None of them continues an
//! upload that broke. kiln does:
//!
//! - A blob of one chunk (64 MiB) or less goes as containerd sends it: two requests, which every registry takes. What
//!   breaks is sent again; there is little to lose.
//! - A larger one goes in chunks (PATCH with `Content-Range`), so that what the registry has confirmed is not sent again.
//!   After a break the registry is asked by GET how far it got, and the upload continues there; where it has forgotten
//!   the upload (as docker-registry does when a chunk breaks in the middle) it begins anew, and the second time in one
//!   piece.
//! - A registry that refuses a chunk (GHCR takes 4 MiB a request, some know no PATCH), or that answers it with a `Range`
//!   that cannot be right (ECR's stays at the first chunk's), gets this and all further blobs in one PUT each.
//!
//! Before anything is sent again the registry is asked whether it has the blob: the answer may be all that was lost. The
//! bytes are hashed on their way, once, and the last of them are not sent if the blob is not what it should be. So a
//! digest that the registry does not like was spoilt on the way, and is worth one more attempt.

use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::RegistryError;
use super::agent::{AgentError, Method, Pace, RequestBody, Response};
use super::client::{Access, Call, Client};
use super::push::{BlobSource, post};
use super::url::{join, shown, with_query};
use crate::digest::Sha256Hasher;
use crate::oci::Reference;

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

/// How often an upload begins anew because the registry does not know it any more, or has other bytes.
const ANEW: u32 = 2;

/// How often a registry may forget an upload in chunks before it gets that blob in one piece.
const FORGOTTEN: u32 = 2;

/// How often one blob is tried in all, however far it got in between.
const ATTEMPTS: u32 = 100;

/// How many chunks more than need be are sent to a registry that takes parts of them.
const SPARE: u64 = 16;

/// Where a registry waits for the rest of a blob.
#[derive(Debug, Clone)]
pub(super) struct Place {
    url: String,
    /// How much it has.
    offset: u64,
    /// How many bytes it wants at once, at least.
    least: u64,
}

impl Place {
    /// Reads the answer to the beginning of an upload.
    pub(super) fn of(response: &Response) -> Result<Self, RegistryError> {
        let least = response.header("oci-chunk-min-length").and_then(|it| it.trim().parse().ok());
        let place = response.header("location").and_then(|to| join(&response.url, to));
        let problem = "an upload to no usable address";
        let refused = || AgentError::Redirect { url: shown(&response.url), problem };
        Ok(Self { url: place.ok_or_else(refused)?, offset: 0, least: least.unwrap_or(0) })
    }

    /// Returns the same upload after an answer that says where it is now and how much of it is there.
    fn after(&self, response: &Response, offset: u64) -> Self {
        let moved = response.header("location").and_then(|to| join(&response.url, to));
        Self { url: moved.unwrap_or_else(|| self.url.clone()), offset, least: self.least }
    }
}

/// Reads how many bytes a `Range` counts: `0-99` is a hundred, and `0-0` none, as every registry means it.
fn received(response: &Response) -> Option<u64> {
    let range = response.header("range")?.trim();
    let range = range.trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    let last: u64 = range.strip_prefix("0-")?.split('/').next()?.parse().ok()?;
    Some(if last == 0 { 0 } else { last.checked_add(1)? })
}

/// What to do about an error.
enum Verdict {
    /// It stays.
    Final(RegistryError),
    /// Later, from where the registry is.
    Later(RegistryError),
    /// Later, from the beginning.
    Anew(RegistryError),
    /// At once, in one request.
    Whole,
}

/// One blob on its way to one repository.
pub(super) struct Upload<'a> {
    client: &'a Client,
    repository: &'a Reference,
    blob: &'a BlobSource<'a>,
    sent: Mutex<Sent>,
}

/// What is known of the bytes that were read so far.
struct Sent {
    hasher: Sha256Hasher,
    hashed: u64,
    /// Why they cannot be sent.
    failed: Option<io::Error>,
}

impl<'a> Upload<'a> {
    pub(super) fn new(
        client: &'a Client,
        repository: &'a Reference,
        blob: &'a BlobSource<'a>,
    ) -> Self {
        let sent = Sent { hasher: Sha256Hasher::new(), hashed: 0, failed: None };
        Self { client, repository, blob, sent: Mutex::new(sent) }
    }

    fn size(&self) -> u64 {
        self.blob.descriptor.size
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads it, to a place that the registry has already named if there is one.
    pub(super) fn run(&self, mut place: Option<Place>) -> Result<(), RegistryError> {
        let (mut failures, mut anew, mut forgotten, mut farthest) = (0, 0, 0, 0);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let error = match self.attempt(&mut place, forgotten < FORGOTTEN) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures += 1;
            let reached = place.as_ref().map_or(0, |place| place.offset);
            if reached > farthest && attempts < ATTEMPTS {
                (farthest, failures) = (reached, 1);
            }
            let error = match self.judge(error, &mut anew) {
                Verdict::Final(error) => return Err(error),
                Verdict::Later(error) => error,
                Verdict::Anew(error) => {
                    place = None;
                    error
                }
                Verdict::Whole => {
                    self.client.no_chunks(self.repository.domain());
                    place = None;
                    continue;
                }
            };
            self.client.pause(failures, error)?;
            if self.client.has_blob(self.repository, self.blob.descriptor.digest)? {
                return Ok(());
            }
            if let Some(there) = place {
                place = self.locate(&there);
                forgotten += u32::from(place.is_none());
            }
        }
    }

    /// Goes as far as it gets; `place` is where the registry was last known to be.
    fn attempt(&self, place: &mut Option<Place>, in_chunks: bool) -> Result<(), Failed> {
        let mut here = match place.take() {
            Some(place) => place,
            None => self.begin().map_err(Failed::Begin)?,
        };
        let chunk = self.client.options().chunk.max(here.least).max(1);
        let in_chunks = in_chunks && self.client.takes_chunks(self.repository.domain());
        if self.size() <= chunk || !in_chunks {
            // Part of it is there only if it was sent in chunks.
            let here = if here.offset == 0 { here } else { self.begin().map_err(Failed::Begin)? };
            return self.whole(&here).map_err(Failed::End);
        }
        let mut left = self.size() / chunk * 2 + SPARE;
        while here.offset < self.size() {
            left = left.checked_sub(1).ok_or(Failed::Count)?;
            *place = Some(here.clone());
            let end = here.offset.saturating_add(chunk).min(self.size());
            here = self.chunk(&here, end)?;
        }
        *place = Some(here.clone());
        self.close(&here).map_err(Failed::End)
    }

    fn begin(&self) -> Result<Place, RegistryError> {
        self.client.retrying(|| {
            let call = post(self.repository, "blobs/uploads/");
            Place::of(&self.client.expect(&call, &[202])?)
        })
    }

    /// Sends all bytes in one request.
    fn whole(&self, place: &Place) -> Result<(), RegistryError> {
        let url = self.named(place);
        let call = self.call(Method::PUT, &url, &[OCTETS]);
        let body = || self.body(0, self.size());
        self.client.expect_with(&call, body, &[200, 201, 202, 204]).map(drop)
    }

    /// Sends the bytes up to `end`; returns where the registry is afterwards.
    fn chunk(&self, place: &Place, end: u64) -> Result<Place, Failed> {
        let range = format!("{}-{}", place.offset, end - 1);
        let headers = [OCTETS, ("content-range", range.as_str())];
        let call = self.call(Method::PATCH, &place.url, &headers);
        let body = || self.body(place.offset, end);
        let sent = self.client.expect_with(&call, body, &[200, 201, 202, 204]);
        let response = sent.map_err(|error| Failed::Chunk(error, place.offset))?;
        match received(&response) {
            None => Ok(place.after(&response, end)),
            // It may take a part only.
            Some(offset) if place.offset < offset && offset <= end => {
                Ok(place.after(&response, offset))
            }
            Some(_) => Err(Failed::Count),
        }
    }

    /// Says that this was all.
    fn close(&self, place: &Place) -> Result<(), RegistryError> {
        let url = self.named(place);
        let call = self.call(Method::PUT, &url, &[("content-length", "0")]);
        let body = || Ok(RequestBody::End(self.size()));
        self.client.expect_with(&call, body, &[200, 201, 202, 204]).map(drop)
    }

    /// Asks how far an upload got; `None`: it is lost.
    fn locate(&self, place: &Place) -> Option<Place> {
        let call = self.call(Method::GET, &place.url, &[]);
        let response = self.client.retrying(|| self.client.expect(&call, &[200, 202, 204])).ok()?;
        // No registry can have what was never sent.
        let offset = received(&response).filter(|offset| *offset <= self.sent().hashed)?;
        Some(place.after(&response, offset))
    }

    fn judge(&self, failed: Failed, anew: &mut u32) -> Verdict {
        if let Some(source) = self.sent().failed.take() {
            let digest = self.blob.descriptor.digest;
            return Verdict::Final(RegistryError::Upload { digest, source });
        }
        if self.client.options().cancel.is_canceled() {
            return Verdict::Final(RegistryError::Canceled);
        }
        match failed {
            Failed::Begin(error) => Verdict::Final(error),
            Failed::Count => Verdict::Whole,
            Failed::Chunk(error, _) | Failed::End(error) if error.is_transient() => {
                Verdict::Later(error)
            }
            Failed::Chunk(error, offset) => match error {
                RegistryError::Status { status: 409 | 416, .. } | RegistryError::NotFound(_)
                    if offset > 0 && *anew < ANEW =>
                {
                    *anew += 1;
                    Verdict::Anew(error)
                }
                RegistryError::Status { .. } | RegistryError::NotFound(_) => Verdict::Whole,
                error => Verdict::Final(error),
            },
            Failed::End(error) => match error {
                // Forgotten, or not the bytes that were sent.
                RegistryError::Status { status: 400 | 409 | 416, .. }
                | RegistryError::NotFound(_)
                    if *anew < ANEW =>
                {
                    *anew += 1;
                    Verdict::Anew(error)
                }
                error => Verdict::Final(error),
            },
        }
    }

    fn named(&self, place: &Place) -> String {
        with_query(&place.url, &[("digest", &self.blob.descriptor.digest.to_string())])
    }

    fn call<'c>(
        &'c self,
        method: Method,
        path: &'c str,
        headers: &'c [(&'c str, &'c str)],
    ) -> Call<'c> {
        Call { method, headers, access: Access::Push, ..Call::get(self.repository, path) }
    }

    fn body(&self, from: u64, to: u64) -> Result<RequestBody<'_>, RegistryError> {
        let digest = self.blob.descriptor.digest;
        let opened = self.blob.content.open(from);
        let file = opened.map_err(|source| RegistryError::Upload { digest, source })?;
        let (pace, left_at) = (self.client.pace(), Instant::now());
        let body = Body { upload: self, file, at: from, to, pace, left_at };
        Ok(RequestBody::Stream(Box::new(body), to - from))
    }
}

/// Which part of an attempt failed.
enum Failed {
    Begin(RegistryError),
    /// Which began here.
    Chunk(RegistryError, u64),
    /// The registry took a chunk and says that it has something else.
    Count,
    End(RegistryError),
}

/// The bytes of one request.
struct Body<'a> {
    upload: &'a Upload<'a>,
    file: Box<dyn Read + Send + 'a>,
    at: u64,
    to: u64,
    pace: Pace,
    /// When the last bytes were handed out: since then the network had them.
    left_at: Instant,
}

impl Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.upload.client.options().cancel.is_canceled() {
            return Err(io::Error::other("canceled"));
        }
        self.pace.step(0, self.left_at.elapsed())?;
        let missing = usize::try_from(self.to - self.at).unwrap_or(usize::MAX);
        let wanted = buf.len().min(missing);
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buf[..wanted]).and_then(|read| match read {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than it was")),
            read => self.check(&buf[..read]).map(|()| read),
        });
        let read = read.inspect_err(|error| {
            let error = io::Error::new(error.kind(), error.to_string());
            self.upload.sent().failed = Some(error);
        })?;
        self.at += read as u64;
        (self.upload.blob.progress)(self.at);
        self.pace.step(read as u64, std::time::Duration::ZERO)?;
        self.left_at = Instant::now();
        Ok(read)
    }
}

impl Body<'_> {
    /// Hashes what was not hashed before; the last byte passes only if the whole is right.
    fn check(&self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = self.upload.sent();
        let known = sent.hashed.saturating_sub(self.at);
        let Some(fresh) = usize::try_from(known).ok().and_then(|known| bytes.get(known..)) else {
            return Ok(());
        };
        sent.hasher.update(fresh);
        sent.hashed += fresh.len() as u64;
        if fresh.is_empty() || sent.hashed < self.upload.size() {
            return Ok(());
        }
        match sent.hasher.clone().digest() {
            actual if actual == self.upload.blob.descriptor.digest => Ok(()),
            actual => {
                let text = format!("it has the digest `{actual}`");
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }
}
