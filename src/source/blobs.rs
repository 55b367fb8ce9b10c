//! Where an image's documents and blobs can be read: the local store, a registry, a layout.
//!
//! Whatever the place, what is read has the digest that was asked for: a stream that ends without an error was
//! verified.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::SourceError;
use super::names::known_chain;
use crate::digest::{Digest, HashingReader};
use crate::fs;
use crate::layer::PackOptions;
use crate::oci::{self, Content, Descriptor, Document, ImageConfig, Manifest, Reference};
use crate::registry::Client;
use crate::snapshot::{LayerId, Snapshots};
use crate::store::{Store, StoreError};

/// A place that has images.
pub trait Blobs: Send + Sync {
    /// Reads a manifest, an index or a config.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError>;

    /// Opens a blob. The read that would end it fails if it was not the right one.
    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError>;
}

/// The local store, with the layers that it keeps as something else than a blob.
pub struct StoreBlobs<'a> {
    store: &'a Store,
    /// Layers without a blob, by the digest of their tars; learned from the manifests that are read.
    layers: Mutex<BTreeMap<Digest, LayerId>>,
    /// Whether a manifest is of use only with its config and all its layers.
    whole: bool,
}

impl<'a> StoreBlobs<'a> {
    /// Makes one of a store; nothing is read yet. An image that is not here as a whole is not here.
    pub fn new(store: &'a Store) -> Self {
        Self { store, layers: Mutex::default(), whole: true }
    }

    /// The same, but a manifest that is here can be read wherever its config and its layers are.
    pub(super) fn with_parts(store: &'a Store) -> Self {
        Self { whole: false, ..Self::new(store) }
    }

    /// Returns whether a blob is here; of a layer that is not kept as a blob only once its manifest was read.
    pub(super) fn has(&self, blob: &Digest) -> bool {
        let layers = || self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.blob_size(blob).is_some() || layers().contains_key(blob)
    }

    /// Finds out where a manifest's layers are.
    fn find_layers(&self, manifest: &Manifest) -> Result<(), SourceError> {
        let is_here = |it: &Descriptor| self.store.blob_size(&it.digest).is_some();
        if self.whole && !is_here(&manifest.config) {
            return Err(StoreError::Missing(manifest.config.digest).into());
        }
        let readable = is_here(&manifest.config) && manifest.config.content() == Content::Config;
        if manifest.layers.iter().all(is_here) || !(self.whole || readable) {
            return Ok(());
        }
        let config = ImageConfig::parse(&self.store.read_blob(&manifest.config.digest)?)?;
        let known = known_chain(self.store, &config.rootfs.diff_ids)?;
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        for (index, descriptor) in manifest.layers.iter().enumerate() {
            let tar =
                config.rootfs.diff_ids.get(index).map(|id| Digest::from_bytes(*id.as_bytes()));
            match known.get(index) {
                _ if is_here(descriptor) => {}
                Some(layer) if tar == Some(descriptor.digest) => {
                    layers.insert(descriptor.digest, *layer);
                }
                _ if self.whole => return Err(StoreError::Missing(descriptor.digest).into()),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Blobs for StoreBlobs<'_> {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let bytes = self.store.read_blob(&descriptor.digest)?;
        if descriptor.content() == Content::Manifest
            && let Document::Manifest(manifest) = Document::parse(&bytes)?
        {
            self.find_layers(&manifest)?;
        }
        Ok(bytes)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        let digest = descriptor.digest;
        let layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = layers.get(&digest).copied();
        drop(layers);
        if self.store.blob_size(&digest).is_none()
            && let Some(layer) = layer
        {
            let mut blob = self.store.new_blob()?;
            Snapshots::new(self.store).pack(layer, &PackOptions::default(), &mut blob)?;
            blob.commit_as(&digest)?;
        }
        let wrong = move |actual| StoreError::Mismatch { expected: digest, actual }.into();
        verified(self.store.open_blob(&digest)?, descriptor, wrong)
    }
}

/// One repository of a registry.
pub struct RegistryBlobs {
    client: Client,
    repository: Reference,
}

impl RegistryBlobs {
    /// Makes one of the repository of a name; nothing is asked yet.
    pub fn new(client: Client, name: &Reference) -> Self {
        Self { client, repository: name.repository() }
    }
}

impl Blobs for RegistryBlobs {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        match descriptor.content() {
            Content::Manifest | Content::Index => {
                let name = self.repository.with_digest(descriptor.digest);
                Ok(self.client.resolve(&name)?.bytes)
            }
            Content::Config | Content::Layer(_) | Content::Other => {
                Ok(self.client.blob_bytes(&self.repository, descriptor, oci::CONFIG_LIMIT)?)
            }
        }
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        Ok(Box::new(self.client.blob(&self.repository, descriptor)?))
    }
}

/// A directory with `blobs/sha256/` (OCI image specification, "Image Layout").
pub struct LayoutBlobs {
    root: PathBuf,
}

impl LayoutBlobs {
    /// Makes one of a directory; nothing is read yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, digest: &Digest) -> Result<PathBuf, SourceError> {
        let path = self.root.join("blobs/sha256").join(digest.hex());
        match path.exists() {
            true => Ok(path),
            false => Err(SourceError::NotInArchive(path.display().to_string())),
        }
    }
}

impl Blobs for LayoutBlobs {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let bytes = fs::read_regular(&self.path(&descriptor.digest)?, oci::CONFIG_LIMIT + 1)?;
        check(&bytes, descriptor)?;
        for named in named_by(&bytes, descriptor) {
            self.path(&named)?;
        }
        Ok(bytes)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        verified(
            fs::open_regular(&self.path(&descriptor.digest)?)?,
            descriptor,
            damaged(descriptor.digest),
        )
    }
}

/// Returns the blobs that a manifest names: where one is missing, the image is not there.
pub(super) fn named_by(bytes: &[u8], descriptor: &Descriptor) -> Vec<Digest> {
    match (descriptor.content(), Document::parse(bytes)) {
        (Content::Manifest, Ok(Document::Manifest(manifest))) => {
            let blobs = [&manifest.config].into_iter().chain(&manifest.layers);
            blobs.filter(|blob| blob.urls.is_empty()).map(|blob| blob.digest).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns an error if bytes of a file are not what a descriptor says.
pub(super) fn check(bytes: &[u8], descriptor: &Descriptor) -> Result<(), SourceError> {
    check_digest(bytes, &descriptor.digest)?;
    check_size(descriptor, bytes.len() as u64)
}

/// Returns an error if bytes of a file do not have a digest.
pub(super) fn check_digest(bytes: &[u8], expected: &Digest) -> Result<(), SourceError> {
    let actual = Digest::of(bytes);
    match actual == *expected {
        true => Ok(()),
        false => Err(damaged(*expected)(actual)),
    }
}

/// Says that bytes of a file have another digest.
pub(super) fn damaged(digest: Digest) -> impl Fn(Digest) -> SourceError + Send + use<> {
    move |actual| SourceError::BadBlob {
        digest,
        problem: format!("is damaged: its bytes have the digest `{actual}`"),
    }
}

fn check_size(descriptor: &Descriptor, actual: u64) -> Result<(), SourceError> {
    let (digest, said) = (descriptor.digest, descriptor.size);
    let problem = || format!("has {actual} bytes, not {said} as its descriptor says");
    match actual == said {
        true => Ok(()),
        false => Err(SourceError::BadBlob { digest, problem: problem() }),
    }
}

/// Makes a stream that fails where it would end if it was not the blob that a descriptor names; `wrong` says that its
/// bytes have another digest.
pub(super) fn verified<'a>(
    blob: impl Read + Send + 'a,
    descriptor: &Descriptor,
    wrong: impl Fn(Digest) -> SourceError + Send + 'a,
) -> Result<Box<dyn Read + Send + 'a>, SourceError> {
    let reading = State::Reading(HashingReader::new(blob.take(descriptor.size)));
    Ok(Box::new(Verified {
        state: reading,
        left: descriptor.size,
        descriptor: descriptor.clone(),
        wrong,
    }))
}

enum State<R> {
    Reading(HashingReader<R>),
    /// All of it was read, and had this digest.
    Read(Digest),
}

struct Verified<R, W> {
    state: State<R>,
    left: u64,
    descriptor: Descriptor,
    wrong: W,
}

impl<R, W: Fn(Digest) -> SourceError> Verified<R, W> {
    fn compare(&self, actual: Digest) -> Result<(), SourceError> {
        if actual != self.descriptor.digest {
            return Err((self.wrong)(actual));
        }
        check_size(&self.descriptor, self.descriptor.size - self.left)
    }
}

impl<R: Read, W: Fn(Digest) -> SourceError> Read for Verified<R, W> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let n = match &mut self.state {
            State::Reading(inner) => inner.read(buf)?,
            State::Read(_) => 0,
        };
        self.left -= n as u64;
        let actual = match &self.state {
            State::Reading(_) if n > 0 && self.left > 0 => return Ok(n),
            State::Reading(inner) => inner.digest(),
            State::Read(actual) => *actual,
        };
        self.state = State::Read(actual);
        self.compare(actual).map_err(io::Error::other)?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_blob_stays_wrong() {
        let descriptor = Descriptor::of("application/octet-stream".into(), b"right");
        for wrong in [&b"wrong"[..], b"righ", b""] {
            let mut blob = verified(wrong, &descriptor, damaged(descriptor.digest)).unwrap();
            let mut read = Vec::new();
            let error = blob.read_to_end(&mut read).unwrap_err().to_string();
            assert_eq!(blob.read(&mut [0]).unwrap_err().to_string(), error, "{wrong:?}");
        }
        let mut blob = verified(&b"right"[..], &descriptor, damaged(descriptor.digest)).unwrap();
        let mut read = Vec::new();
        blob.read_to_end(&mut read).unwrap();
        assert_eq!((&read[..], blob.read(&mut [0]).unwrap()), (&b"right"[..], 0));
    }
}
