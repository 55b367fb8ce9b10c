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
}

impl<'a> StoreBlobs<'a> {
    /// Makes one of a store; nothing is read yet.
    pub fn new(store: &'a Store) -> Self {
        Self { store, layers: Mutex::default() }
    }

    /// Finds out where a manifest's layers are. One that is nowhere is an error: the image is not here.
    fn find_layers(&self, manifest: &Manifest) -> Result<(), SourceError> {
        let is_here = |it: &Descriptor| self.store.blob_size(&it.digest).is_some();
        if !is_here(&manifest.config) {
            return Err(StoreError::Missing(manifest.config.digest).into());
        }
        if manifest.layers.iter().all(is_here) {
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
                _ => return Err(StoreError::Missing(descriptor.digest).into()),
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
        verified(self.store.open_blob(&digest)?, descriptor)
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

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }
}

impl Blobs for LayoutBlobs {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let bytes = fs::read_start(&self.path(&descriptor.digest), oci::CONFIG_LIMIT + 1)?;
        check(&bytes, &descriptor.digest)?;
        Ok(bytes)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        verified(fs::open(&self.path(&descriptor.digest))?, descriptor)
    }
}

/// Returns an error if bytes do not have a digest.
pub(super) fn check(bytes: &[u8], expected: &Digest) -> Result<(), StoreError> {
    let actual = Digest::of(bytes);
    match actual == *expected {
        true => Ok(()),
        false => Err(StoreError::Mismatch { expected: *expected, actual }),
    }
}

/// Makes a stream that fails where it would end if it was not the blob that a descriptor names.
pub(super) fn verified<'a>(
    blob: impl Read + Send + 'a,
    descriptor: &Descriptor,
) -> Result<Box<dyn Read + Send + 'a>, SourceError> {
    let inner = HashingReader::new(blob.take(descriptor.size));
    Ok(Box::new(Verified {
        inner: Some(inner),
        size: descriptor.size,
        left: descriptor.size,
        expected: descriptor.digest,
    }))
}

struct Verified<R> {
    /// `None` once its digest was compared.
    inner: Option<HashingReader<R>>,
    size: u64,
    left: u64,
    expected: Digest,
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(inner) = self.inner.as_mut().filter(|_| !buf.is_empty()) else { return Ok(0) };
        let n = inner.read(buf)?;
        self.left -= n as u64;
        if (n == 0 || self.left == 0)
            && let Some(inner) = self.inner.take()
        {
            let (expected, actual) = (self.expected, inner.into_parts().1.digest());
            if actual != expected {
                return Err(io::Error::other(StoreError::Mismatch { expected, actual }));
            }
            if self.left > 0 {
                let (size, missing) = (self.size, self.left);
                return Err(io::Error::other(StoreError::Short {
                    digest: expected,
                    size,
                    missing,
                }));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::MediaType;

    #[test]
    fn what_is_read_is_what_was_asked_for() {
        let blob = Descriptor::of(MediaType::ImageLayer, b"content");
        let read = |bytes: &'static [u8]| {
            let mut read = Vec::new();
            verified(bytes, &blob).unwrap().read_to_end(&mut read).map(|_| read)
        };
        assert_eq!(read(b"content").unwrap(), b"content");
        assert_eq!(read(b"content and more").unwrap(), b"content");
        for wrong in [&b"conten"[..], b"", b"contenT"] {
            assert!(read(wrong).unwrap_err().downcast::<StoreError>().is_ok());
        }
        let larger = Descriptor { size: 9, ..blob };
        let error = verified(&b"content"[..], &larger).unwrap().read_to_end(&mut Vec::new());
        let expected = format!("`{}` has 7 bytes, not the 9 that it should have", larger.digest);
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}
