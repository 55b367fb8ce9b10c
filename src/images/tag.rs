//! Giving names and taking them away.

use std::collections::BTreeSet;

use super::list::shown;
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

/// Reads a name that an image can be given: one without a digest, which only the image itself could have.
pub fn new_name(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text).map_err(SourceError::from)?;
    match reference.digest() {
        Some(_) => Err(ImagesError::DigestName(text.to_owned())),
        None => Ok(reference.or_latest()),
    }
}

impl Library {
    /// Gives an image of the store another name; one that meant something else means this then.
    pub fn tag(&self, image: &str, name: &Reference) -> Result<()> {
        let (_, digest) = self.find(image)?;
        Ok(names::set_tag(&self.store, name, &digest)?)
    }

    /// Takes a name away, or by its id an image with all its names: several only with `force`.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<Removed>> {
        let (named, digest) = self.find(name)?;
        let going = match named {
            Some(reference) if reference.digest().is_none() => vec![(reference, digest)],
            _ => self.names_that_show(digest)?,
        };
        if going.len() > 1 && !force {
            let names = going.iter().map(|(reference, _)| reference.familiar()).collect();
            return Err(ImagesError::SeveralNames { image: name.to_owned(), names });
        }
        let mut nameless = self.with_members(digest)?;
        for (reference, digest) in &going {
            names::remove_tag(&self.store, reference)?;
            nameless.extend(self.with_members(*digest)?);
        }
        let mut removed: Vec<_> = going.into_iter().map(|it| Removed::Untagged(it.0)).collect();
        removed.extend(self.forget(nameless)?.into_iter().map(Removed::Deleted));
        Ok(removed)
    }

    /// Returns the names under which `kiln images` shows a manifest or index: its own, and those of an index of whose
    /// images it is the one for this machine.
    fn names_that_show(&self, digest: Digest) -> Result<Vec<(Reference, Digest)>> {
        let mut found = Vec::new();
        for (name, root) in names::tags(&self.store)? {
            let shows = || {
                let members = self.members(root)?;
                Ok::<_, ImagesError>(shown(&members).is_some_and(|image| image.digest == digest))
            };
            if root == digest || shows()? {
                found.push((name, root));
            }
        }
        Ok(found)
    }

    /// Takes the ids of manifests and indexes away to which no name leads, and returns them.
    fn forget(&self, mut nameless: BTreeSet<Digest>) -> Result<Vec<Digest>> {
        for (_, root) in names::tags(&self.store)? {
            for digest in self.with_members(root)? {
                nameless.remove(&digest);
            }
        }
        let mut ids = Vec::new();
        for digest in nameless {
            ids.extend(names::ids_of(&self.store, &digest)?);
        }
        for id in &ids {
            names::remove_id(&self.store, id)?;
        }
        Ok(ids)
    }

    fn with_members(&self, digest: Digest) -> Result<BTreeSet<Digest>> {
        let members = self.members(digest)?.into_iter().map(|image| image.digest);
        Ok(members.chain([digest]).collect())
    }
}
