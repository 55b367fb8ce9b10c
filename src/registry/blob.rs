//! Reading a blob: a stream that resumes where it broke off and ends only with the right digest.
//!
//! The last bytes are handed out when size and digest of the whole are right; until then a reader may use what it
//! got for nothing that it could not undo. The reader cannot start over, since its user has the bytes already: a
//! wrong digest is an error, a broken connection is not. Whoever can start over asks with [`Client::blob_again`], which
//! tells caches on the way to stay out of it.
//!
//! A server without ranges, or with wrong ones, is read again from the beginning, and what is there already is
//! skipped. A connection that brought [`LEAST`] bytes before it broke is no failure in a row; whatever happens, a blob is
//! resumed a hundred times at most.

use std::io::{self, Read};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::agent::{AgentError, LEAST, Pace};
use super::client::{Call, Client};
use super::retry::sleep;
use super::url::shown;
use super::{RegistryError, agent::Response};
use crate::digest::Sha256Hasher;
use crate::oci::{Descriptor, Reference};

/// How often one blob may be resumed in all, however much arrived in between.
const MAX_RESUMES: u32 = 100;

/// A blob on its way; io errors of a `read` hold a [`RegistryError`].
pub struct BlobReader {
    client: Client,
    repository: Reference,
    descriptor: Descriptor,
    body: Option<Box<dyn Read + Send>>,
    hasher: Sha256Hasher,
    offset: u64,
    /// Where the present connection began.
    begun: u64,
    pace: Pace,
    failures: u32,
    resumes: u32,
    /// Whether the server can be asked for a part.
    ranges: bool,
    /// Whether caches may answer.
    cached: bool,
    verified: bool,
}

impl Client {
    /// Opens a blob. The first request is made here, so that what is missing is known at once.
    pub fn blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobReader, RegistryError> {
        self.open_blob(repository, descriptor, true)
    }

    /// Opens a blob that came with wrong bytes the last time.
    pub fn blob_again(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobReader, RegistryError> {
        self.open_blob(repository, descriptor, false)
    }

    fn open_blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        cached: bool,
    ) -> Result<BlobReader, RegistryError> {
        let mut reader = BlobReader {
            client: self.clone(),
            repository: repository.repository(),
            descriptor: descriptor.clone(),
            body: None,
            hasher: Sha256Hasher::new(),
            offset: 0,
            begun: 0,
            pace: self.pace(),
            failures: 0,
            resumes: 0,
            ranges: true,
            cached,
            verified: false,
        };
        match embedded(descriptor) {
            Some(bytes) => reader.body = Some(Box::new(io::Cursor::new(bytes))),
            None => reader.connect()?,
        }
        Ok(reader)
    }

    /// Reads a small blob, such as a config, as a whole; `limit` bounds what its descriptor may claim.
    pub fn blob_bytes(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > limit {
            let url = format!("{}@{}", repository.familiar_name(), descriptor.digest);
            return Err(AgentError::TooLarge { url, limit }.into());
        }
        self.doubting(|cached| {
            let mut bytes = Vec::new();
            let read = self.open_blob(repository, descriptor, cached)?.read_to_end(&mut bytes);
            read.map(|_| bytes).map_err(|error| match error.downcast::<RegistryError>() {
                Ok(error) => error,
                Err(source) => AgentError::Body { url: repository.familiar_name(), source }.into(),
            })
        })
    }
}

/// Returns whether the server could not be asked for a part.
fn is_about_ranges(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Range(_) | RegistryError::Status { status: 416, .. })
}

/// Returns the bytes that a descriptor carries itself.
fn embedded(descriptor: &Descriptor) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(descriptor.data.as_ref()?).ok()?;
    (bytes.len() as u64 == descriptor.size).then_some(bytes)
}

impl BlobReader {
    fn name(&self) -> String {
        format!("{}@{}", self.repository.familiar_name(), self.descriptor.digest)
    }

    fn wrong_size(&self, actual: u64) -> RegistryError {
        RegistryError::Size { what: self.name(), expected: self.descriptor.size, actual }
    }

    /// Connects for what is still missing.
    fn connect(&mut self) -> Result<(), RegistryError> {
        let client = self.client.clone();
        let opened = client.retrying(|| self.open());
        let opened = match opened {
            Err(error) if self.ranges && self.offset > 0 && is_about_ranges(&error) => {
                self.ranges = false;
                client.retrying(|| self.open())
            }
            opened => opened,
        };
        self.body = Some(opened?);
        self.begun = self.offset;
        self.pace = client.pace();
        Ok(())
    }

    fn open(&self) -> Result<Box<dyn Read + Send>, RegistryError> {
        let path = format!("blobs/{}", self.descriptor.digest);
        let range = format!("bytes={}-", self.offset);
        let mut headers = Vec::new();
        if self.offset > 0 && self.ranges {
            headers.push(("range", range.as_str()));
        }
        if !self.cached {
            headers.push(("cache-control", "no-cache"));
        }
        let call = Call { headers: &headers, ..Call::get(&self.repository, &path) };
        let response = self.client.expect(&call, &[200, 206])?;
        let skip = self.begins_at(&response)?;
        if let Some(length) = response.content_length() {
            let actual = (self.offset - skip).saturating_add(length);
            if actual != self.descriptor.size {
                return Err(self.wrong_size(actual));
            }
        }
        let url = shown(&response.url);
        let mut reader = response.into_reader();
        self.skip(&mut reader, skip).map_err(|source| AgentError::Body { url, source })?;
        Ok(Box::new(reader))
    }

    /// Reads what is there already.
    fn skip(&self, reader: &mut dyn Read, mut left: u64) -> io::Result<()> {
        let (mut buffer, mut pace) = ([0; 16 << 10], self.client.pace());
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let start = Instant::now();
            let read = reader.read(&mut buffer[..wanted])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if self.client.options().cancel.is_canceled() {
                return Err(io::Error::other("canceled"));
            }
            pace.step(read as u64, start.elapsed())?;
            left -= read as u64;
        }
        Ok(())
    }

    /// Returns how many bytes of the response are there already: none if the server does ranges, else all.
    fn begins_at(&self, response: &Response) -> Result<u64, RegistryError> {
        if response.status == 200 {
            return Ok(self.offset);
        }
        let range = response.header("content-range").unwrap_or_default();
        let start = range.strip_prefix("bytes ").and_then(|it| it.split('-').next());
        match start.and_then(|start| start.trim().parse::<u64>().ok()) {
            Some(start) if start == self.offset => Ok(0),
            _ => Err(RegistryError::Range(self.name())),
        }
    }

    /// Reads once; `Ok(None)`: the connection broke and the next read resumes.
    fn read_once(&mut self, buf: &mut [u8]) -> Result<Option<usize>, RegistryError> {
        if self.client.options().cancel.is_canceled() {
            return Err(RegistryError::Canceled);
        }
        if self.body.is_none() {
            self.connect()?;
        }
        let mut body = self.body.take().expect("it is connected");
        let missing = usize::try_from(self.descriptor.size - self.offset).unwrap_or(usize::MAX);
        let wanted = buf.len().min(missing);
        let start = Instant::now();
        let read = body.read(&mut buf[..wanted]).and_then(|read| {
            self.pace.step(read as u64, start.elapsed())?;
            Ok(read)
        });
        match read {
            Ok(0) => self.broken(io::ErrorKind::UnexpectedEof.into()).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.body = Some(body);
                Ok(None)
            }
            Err(error) => self.broken(error).map(|()| None),
            Ok(read) => {
                self.hasher.update(&buf[..read]);
                self.offset += read as u64;
                self.body = Some(body);
                if self.offset == self.descriptor.size {
                    self.verify()?;
                }
                Ok(Some(read))
            }
        }
    }

    /// Waits before the blob is resumed, or gives up.
    fn broken(&mut self, source: io::Error) -> Result<(), RegistryError> {
        let error = RegistryError::from(AgentError::Body { url: self.name(), source });
        let options = self.client.options();
        if options.cancel.is_canceled() {
            return Err(RegistryError::Canceled);
        }
        self.failures = if self.offset - self.begun >= LEAST { 1 } else { self.failures + 1 };
        self.resumes += 1;
        let pause = options.retry.pause_after(self.failures, None);
        match pause.filter(|_| error.is_transient() && self.resumes <= MAX_RESUMES) {
            Some(pause) => sleep(pause, &options.cancel),
            None => Err(error),
        }
    }

    fn verify(&mut self) -> Result<(), RegistryError> {
        let (actual, expected) = (self.hasher.clone().digest(), self.descriptor.digest);
        if actual != expected {
            return Err(RegistryError::Digest { what: self.name(), expected, actual });
        }
        self.body = None;
        self.verified = true;
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if !self.verified && self.offset == self.descriptor.size {
            self.verify().map_err(io::Error::other)?;
        }
        while !self.verified {
            if let Some(read) = self.read_once(buf).map_err(io::Error::other)? {
                return Ok(read);
            }
        }
        Ok(0)
    }
}
