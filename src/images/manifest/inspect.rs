//! Looking at a list, or at whatever else a name leads to.

use super::super::{Library, Result, unusable};
use super::entries::Origin;
use crate::oci::{Descriptor, Document, Reference};
use crate::source::SourceError;
use crate::source::blobs::Blobs;
use crate::source::nearest::NearestBlobs;

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its media type, digest and size.
    pub descriptor: Descriptor,
    /// The document as it is stored.
    pub bytes: Vec<u8>,
    /// Its name in the registry, or one that it has in the local store.
    name: Option<Reference>,
}

impl Library {
    /// Returns the manifest or index that a name or an id means in the local store or else in a registry.
    pub fn inspect_list(&self, name: &str) -> Result<Inspected> {
        match self.origin(name)? {
            Origin::Store(descriptor, places) => {
                let bytes = self.store.read_blob(&descriptor.digest)?;
                Ok(Inspected { descriptor, bytes, name: places.into_iter().next() })
            }
            Origin::Registry(name, found) => {
                let (descriptor, bytes) = (found.descriptor, found.bytes);
                Ok(Inspected { descriptor, bytes, name: Some(name) })
            }
        }
    }

    /// Returns what an index names, each with its document, or of a manifest that alone, with what it is made for.
    pub fn inspect_entries(&self, inspected: &Inspected) -> Result<Vec<(Descriptor, Vec<u8>)>> {
        let place = inspected.name.as_ref();
        let blobs = NearestBlobs::new(&self.store, self.web.client.clone(), place);
        let name = inspected.descriptor.digest.to_string();
        match Document::parse(&inspected.bytes).map_err(SourceError::from)? {
            Document::Index(index) => {
                let documents = index.manifests.into_iter().map(|entry| {
                    let bytes = blobs.document(&entry)?;
                    Ok((entry, bytes))
                });
                documents.collect::<std::result::Result<_, _>>().map_err(unusable(&name))
            }
            Document::Manifest(manifest) => {
                let mut entry = inspected.descriptor.clone();
                entry.platform = self.platform(&manifest).map_err(unusable(&name))?;
                Ok(vec![(entry, inspected.bytes.clone())])
            }
        }
    }
}

impl Inspected {
    /// Returns what it is called, or with its digest what one of its entries is.
    pub fn name_of(&self, entry: &Descriptor) -> String {
        match &self.name {
            Some(name) if entry.digest == self.descriptor.digest => name.to_string(),
            Some(name) => name.with_digest(entry.digest).to_string(),
            None => entry.digest.to_string(),
        }
    }

    /// Returns whether it names others.
    pub fn is_index(&self) -> bool {
        matches!(Document::parse(&self.bytes), Ok(Document::Index(_)))
    }
}
