//! What a text means in the local store: a name, an image id, or the beginning of one.
//!
//! As in docker: a whole id comes first, then a name, then the beginning of an id. Nothing is asked but the store.

use super::SourceError;
use super::names::{by_id, tag};
use crate::digest::Digest;
use crate::oci::{Document, Reference};
use crate::store::Store;

/// What a text means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is a name, of this manifest or index.
    Name(Reference, Digest),
    /// It is the id of an image or the digest of its manifest or index.
    Id(Digest),
    /// The store does not know it, but it could be a name elsewhere.
    Unknown(Reference),
}

impl Found {
    /// Returns the manifest or index, if the store knows it.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Name(_, digest) | Self::Id(digest) => Some(*digest),
            Self::Unknown(_) => None,
        }
    }
}

/// Finds out what a text means. Errors: it is no name and no id of the store, or the beginning of several ids.
pub fn find(store: &Store, text: &str) -> Result<Found, SourceError> {
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    let is_whole = bare.len() == 64;
    let ids = by_id(store, text)?;
    if let (true, [id]) = (is_whole, ids.as_slice()) {
        return Ok(Found::Id(*id));
    }
    if is_whole
        && let Ok(digest) = format!("sha256:{bare}").parse()
        && is_image(store, &digest)
    {
        return Ok(Found::Id(digest));
    }
    if is_whole && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // It has the form of a name, but nobody means one.
        let hint = Some("`kiln images` lists the ids of those that are there".to_owned());
        return Err(SourceError::ImageNotFound { reference: text.to_owned(), hint });
    }
    let reference = Reference::parse(text).map(Reference::or_latest);
    if let Ok(reference) = &reference
        && let Some(digest) = named(store, reference)?
    {
        return Ok(Found::Name(reference.clone(), digest));
    }
    match ids.as_slice() {
        [] => Ok(Found::Unknown(reference?)),
        [id] => Ok(Found::Id(*id)),
        [_, _, ..] => Err(SourceError::Ambiguous(text.to_owned())),
    }
}

/// Returns what a name means; one with a digest means that digest, if the store has it.
fn named(store: &Store, reference: &Reference) -> Result<Option<Digest>, SourceError> {
    match reference.digest() {
        Some(digest) => Ok(Some(digest).filter(|digest| is_image(store, digest))),
        None => tag(store, reference),
    }
}

/// Returns whether the store has a manifest or an index of that digest.
fn is_image(store: &Store, digest: &Digest) -> bool {
    store.blob_size(digest).is_some()
        && store.read_blob(digest).is_ok_and(|bytes| Document::parse(&bytes).is_ok())
}
