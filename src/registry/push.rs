//! Writing to a registry: is it there, mount it, upload it, name it.
//!
//! Blobs go in one request each (POST for the place, PUT with the bytes). An upload that breaks starts over with
//! a new place; the registry takes nothing whose digest is wrong. Chunks and the order of an image's parts are not
//! decided here.

use std::io::{self, Read};

use super::RegistryError;
use super::agent::{Method, RequestBody, Response};
use super::client::{Access, Call, Client};
use super::url::{encode, join, shown, with_query};
use crate::digest::Digest;
use crate::oci::{Descriptor, MediaType, Reference};

/// Opens a blob for reading from its beginning; called once for every attempt to upload it.
pub type OpenBlob<'a> = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

impl Client {
    /// Returns whether the repository has a blob.
    pub fn has_blob(&self, repository: &Reference, digest: Digest) -> Result<bool, RegistryError> {
        let path = format!("blobs/{digest}");
        let call =
            Call { method: Method::HEAD, access: Access::Push, ..Call::get(repository, &path) };
        self.retrying(|| match self.expect(&call, &[200]) {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// Asks the registry to take a blob from another of its repositories; `false`: it must be uploaded.
    pub fn mount_blob(
        &self,
        repository: &Reference,
        from: &Reference,
        digest: Digest,
    ) -> Result<bool, RegistryError> {
        let from = self.written_to(from)?;
        if from.domain() != self.written_to(repository)?.domain() {
            return Ok(false);
        }
        let path = format!(
            "blobs/uploads/?mount={}&from={}",
            encode(&digest.to_string()),
            encode(from.path())
        );
        let call = Call { also: Some(from.path()), ..post(repository, &path) };
        // A registry that refuses says 202 and waits for an upload, which it forgets by itself.
        let response = self.retrying(|| self.expect(&call, &[201, 202]))?;
        Ok(response.status == 201)
    }

    /// Uploads a blob.
    pub fn upload_blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        open: &OpenBlob<'_>,
    ) -> Result<(), RegistryError> {
        self.retrying(|| {
            let started = self.expect(&post(repository, "blobs/uploads/"), &[202])?;
            let digest = descriptor.digest.to_string();
            let place = with_query(&location(&started)?, &[("digest", &digest)]);
            self.put_blob(repository, descriptor, &place, open)
        })
    }

    fn put_blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        place: &str,
        open: &OpenBlob<'_>,
    ) -> Result<(), RegistryError> {
        let headers = &[("content-type", "application/octet-stream")];
        let call = Call {
            method: Method::PUT,
            headers,
            access: Access::Push,
            ..Call::get(repository, place)
        };
        let failed = |source| RegistryError::Upload { digest: descriptor.digest, source };
        let body = || {
            let blob = open().map_err(failed)?.take(descriptor.size);
            Ok(RequestBody::Stream(Box::new(blob), descriptor.size))
        };
        self.expect_with(&call, body, &[201, 202, 204]).map(drop)
    }

    /// Stores a manifest or an index under the reference's tag, else under its digest, and returns the digest.
    pub fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &MediaType,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let target = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let path = format!("manifests/{target}");
        let headers = &[("content-type", media_type.as_ref())];
        let call = Call {
            method: Method::PUT,
            headers,
            access: Access::Push,
            ..Call::get(reference, &path)
        };
        self.retrying(|| {
            let response =
                self.expect_with(&call, || Ok(RequestBody::Bytes(bytes)), &[200, 201, 202])?;
            let stored = response.header("docker-content-digest").and_then(|it| it.parse().ok());
            match stored {
                Some(actual) if actual != digest => Err(RegistryError::Digest {
                    what: reference.familiar(),
                    expected: digest,
                    actual,
                }),
                Some(_) | None => Ok(digest),
            }
        })
    }
}

fn post<'a>(repository: &'a Reference, path: &'a str) -> Call<'a> {
    let (method, access) = (Method::POST, Access::Push);
    Call { method, access, headers: &[("content-length", "0")], ..Call::get(repository, path) }
}

/// Returns the absolute URL at which the registry waits for the bytes.
fn location(response: &Response) -> Result<String, RegistryError> {
    let place = response.header("location").and_then(|to| join(&response.url, to));
    let problem = "an upload to no usable address";
    let url = shown(&response.url);
    place.ok_or_else(|| super::agent::AgentError::Redirect { url, problem }.into())
}
