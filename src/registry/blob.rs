//! Reading a blob: a stream that resumes where it broke off and ends only with the right digest.
//!
//! The last bytes are handed out when size and digest of the whole are right; until then a reader may use what it
//! got for nothing that it could not undo. The reader cannot start over, since its user has the bytes already: a
//! wrong digest is an error, a broken connection is not.

use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::agent::AgentError;
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
    failures: u32,
    resumes: u32,
    verified: bool,
}

impl Client {
    /// Opens a blob. The first request is made here, so that what is missing is known at once.
    pub fn blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<BlobReader, RegistryError> {
        let mut reader = BlobReader {
            client: self.clone(),
            repository: repository.repository(),
            descriptor: descriptor.clone(),
            body: None,
            hasher: Sha256Hasher::new(),
            offset: 0,
            failures: 0,
            resumes: 0,
            verified: false,
        };
        reader.body = match embedded(descriptor) {
            Some(bytes) => Some(Box::new(io::Cursor::new(bytes))),
            None => Some(self.retrying(|| reader.open())?),
        };
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
        let mut bytes = Vec::new();
        let read = self.blob(repository, descriptor)?.read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|error| match error.downcast::<RegistryError>() {
            Ok(error) => error,
            Err(source) => AgentError::Body { url: repository.familiar_name(), source }.into(),
        })
    }
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

    /// Asks for what is still missing.
    fn open(&self) -> Result<Box<dyn Read + Send>, RegistryError> {
        let path = format!("blobs/{}", self.descriptor.digest);
        let range = format!("bytes={}-", self.offset);
        let headers = [("range", range.as_str())];
        let headers = if self.offset == 0 { &[][..] } else { &headers[..] };
        let call = Call { headers, ..Call::get(&self.repository, &path) };
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
        let skipped = io::copy(&mut (&mut reader).take(skip), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == skip => Ok(Box::new(reader)),
            Ok(_) => {
                Err(AgentError::Body { url, source: io::ErrorKind::UnexpectedEof.into() }.into())
            }
            Err(source) => Err(AgentError::Body { url, source }.into()),
        }
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
            _ => {
                let source = io::Error::other("the server sent another range than was asked for");
                Err(AgentError::Body { url: self.name(), source }.into())
            }
        }
    }

    /// Reads once; `Ok(None)`: the connection broke and the next read resumes.
    fn read_once(&mut self, buf: &mut [u8]) -> Result<Option<usize>, RegistryError> {
        if self.client.options().cancel.is_canceled() {
            return Err(RegistryError::Canceled);
        }
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.client.retrying(|| self.open())?,
        };
        let missing = usize::try_from(self.descriptor.size - self.offset).unwrap_or(usize::MAX);
        let wanted = buf.len().min(missing);
        match body.read(&mut buf[..wanted]) {
            Ok(0) => self.broken(io::ErrorKind::UnexpectedEof.into()).map(|()| None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.body = Some(body);
                Ok(None)
            }
            Err(error) => self.broken(error).map(|()| None),
            Ok(read) => {
                self.hasher.update(&buf[..read]);
                self.offset += read as u64;
                self.failures = 0;
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
        self.failures += 1;
        self.resumes += 1;
        let options = self.client.options();
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
