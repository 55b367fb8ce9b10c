//! Giving names and taking them away.
//!
//! To people an image is its config: manifests that differ in how layers are compressed have the same image id, and an
//! index shows the id of one of its images. So what has an id is found through what the names mean.

use std::collections::BTreeSet;
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

/// What a name of the store means.
struct Named {
    name: Reference,
    digest: Digest,
    /// The image ids that it leads to, each with its manifest.
    images: Vec<(Digest, Digest)>,
}

/// Reads a name that an image can be given: one without a digest, which only the image itself could have.
pub fn new_name(text: &str) -> Result<Reference> {
    let reference = Reference::parse(text).map_err(SourceError::from)?;
    match reference.can_be_given() {
        true => Ok(reference.or_latest()),
        false => Err(ImagesError::DigestName(text.to_owned())),
    }
}

impl Library {
    /// Gives an image of the store another name; one that meant something else means this then.
    pub fn tag(&self, image: &str, name: &Reference) -> Result<()> {
        let (_, digest) = self.find(image)?;
        Ok(names::set_tag(&self.store, name, &digest)?)
    }

    /// Takes a name away, or by its id an image with all its names: several only with `force`. An image without a name
    /// has no id either.
    pub fn remove(&self, name: &str, force: bool) -> Result<Vec<Removed>> {
        let (reference, digest) = self.find(name)?;
        let by_name = reference.filter(|reference| reference.digest().is_none());
        let ids = self.image_ids(digest)?;
        let goes = |named: &Named| match &by_name {
            Some(reference) => named.name == *reference,
            None => {
                named.digest == digest || named.images.iter().any(|image| ids.contains(&image.0))
            }
        };
        let (going, staying): (Vec<_>, Vec<_>) = self.named()?.into_iter().partition(goes);
        if going.len() > 1 && !force {
            let names = going.iter().map(|named| named.name.familiar()).collect();
            return Err(ImagesError::SeveralNames { image: name.to_owned(), names });
        }
        let mut roots = BTreeSet::from([digest]);
        for named in &going {
            names::remove_tag(&self.store, &named.name)?;
            roots.insert(named.digest);
        }
        let mut removed: Vec<_> =
            going.into_iter().map(|named| Removed::Untagged(named.name)).collect();
        for id in self.forgotten(&roots, &staying)? {
            removed.push(Removed::Deleted(id));
        }
        Ok(removed)
    }

    /// Returns what the names of the store mean.
    fn named(&self) -> Result<Vec<Named>> {
        let tags = names::tags(&self.store)?;
        let named = |(name, digest)| Ok(Named { name, digest, images: self.images_in(digest)? });
        tags.into_iter().map(named).collect()
    }

    /// Returns the image ids that a manifest or index leads to, each with its manifest.
    fn images_in(&self, digest: Digest) -> Result<Vec<(Digest, Digest)>> {
        let members = self.members(digest)?;
        Ok(members.iter().map(|image| (image.manifest.config.digest, image.digest)).collect())
    }

    /// Returns the ids by which a manifest or index itself is known.
    fn image_ids(&self, digest: Digest) -> Result<BTreeSet<Digest>> {
        let own = self.images_in(digest)?.into_iter().filter(|(_, manifest)| *manifest == digest);
        let mut ids: BTreeSet<_> = own.map(|(id, _)| id).collect();
        ids.extend(names::ids_of(&self.store, &digest)?);
        Ok(ids)
    }

    /// Takes away the ids that only led to these manifests and indexes, and returns them; one that a name still leads to
    /// means that manifest from now on.
    fn forgotten(&self, roots: &BTreeSet<Digest>, staying: &[Named]) -> Result<Vec<Digest>> {
        let mut forgotten = Vec::new();
        for root in roots {
            let mut ids = self.image_ids(*root)?;
            ids.extend(self.images_in(*root)?.into_iter().map(|(id, _)| id));
            for id in ids {
                let known = names::by_id(&self.store, &id.hex())?;
                let mut others = staying.iter().flat_map(|named| &named.images);
                match others.find(|(other, _)| *other == id) {
                    Some((_, manifest)) => names::set_id(&self.store, &id, manifest)?,
                    None if staying.iter().any(|named| named.digest == id) => {}
                    None if known.is_empty() => {}
                    None => {
                        names::remove_id(&self.store, &id)?;
                        forgotten.push(id);
                    }
                }
            }
        }
        Ok(forgotten)
    }
}
