//! Giving names and taking them away.

use std::fmt;

use super::{ImagesError, Library, Result};
use crate::digest::Digest;
use crate::oci::Reference;
use crate::source::{SourceError, names};

/// What taking a name away did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name is gone.
    Untagged(Reference),
    /// The image has no name any more; what it alone used is garbage.
    Deleted(Digest),
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged(name) => writeln!(f, "Untagged: {}", name.familiar()),
            Self::Deleted(id) => writeln!(f, "Deleted: {id}"),
        }
    }
}

impl Library {
    /// Gives an image of the store another name; one that meant something else means this then.
    pub fn tag(&self, image: &str, name: &str) -> Result<Reference> {
        let (_, digest) = self.find(image)?;
        let reference = Reference::parse(name).map_err(SourceError::from)?;
        if reference.digest().is_some() {
            return Err(ImagesError::DigestName(name.to_owned()));
        }
        let reference = reference.or_latest();
        names::set_tag(&self.store, &reference, &digest)?;
        Ok(reference)
    }

    /// Takes a name away, or by its id an image with all its names: several only with `force`.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<Removed>> {
        let (named, digest) = self.find(name)?;
        let all = self.names_of(digest)?;
        let going = match named {
            Some(reference) if reference.digest().is_none() => vec![reference],
            _ if all.len() > 1 && !force => {
                let names = all.iter().map(Reference::familiar).collect();
                return Err(ImagesError::SeveralNames { image: name.to_owned(), names });
            }
            _ => all.clone(),
        };
        for reference in &going {
            names::remove_tag(&self.store, reference)?;
        }
        let is_last = going.len() == all.len();
        let mut removed: Vec<_> = going.into_iter().map(Removed::Untagged).collect();
        if is_last {
            for id in names::ids_of(&self.store, &digest)? {
                names::remove_id(&self.store, &id)?;
                removed.push(Removed::Deleted(id));
            }
        }
        Ok(removed)
    }
}
