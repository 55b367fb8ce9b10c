//! Which image is wanted: where it is and for which platform. Nothing is looked up here.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::oci::{Platform, Reference, ReferenceError};

/// An image and which of its variants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRequest {
    /// Where it is.
    pub location: ImageLocation,
    /// For which platform.
    pub platform: Platform,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageLocation {
    /// In the local store or a registry.
    Reference(Reference),
    /// The same, but it was written without a registry: where it is not in the local store, the user's configuration
    /// may say that another name is meant than docker's, which is this one.
    Short(Reference),
    /// In the local store, by its manifest.
    Manifest(Digest),
    /// In an OCI layout on this machine: the directory, and the tag or digest if one was named.
    Layout(PathBuf, Option<String>),
}

impl ImageLocation {
    /// Reads a name as it was written; without tag and digest it means the tag `latest`.
    pub fn named(text: &str) -> Result<Self, ReferenceError> {
        let reference = Reference::parse(text)?.or_latest();
        Ok(if Reference::is_short(text) {
            Self::Short(reference)
        } else {
            Self::Reference(reference)
        })
    }

    /// Returns the name, as docker completes it, of what has one.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Reference(reference) | Self::Short(reference) => Some(reference),
            Self::Manifest(_) | Self::Layout(..) => None,
        }
    }

    /// Returns what people call it.
    pub fn familiar(&self) -> String {
        match self {
            Self::Reference(reference) | Self::Short(reference) => reference.familiar(),
            Self::Manifest(digest) => digest.to_string(),
            Self::Layout(path, None) => format!("oci-layout://{}", path.display()),
            Self::Layout(path, Some(selector)) => {
                format!("oci-layout://{}:{selector}", path.display())
            }
        }
    }
}
