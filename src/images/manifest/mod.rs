//! Lists of images: an index of the local store that is put together, changed, looked at and sent away by name.
//!
//! What a list names may be elsewhere: of an image that a registry has only the manifest and the config are brought
//! here (`entries.rs`), and where the rest is stays noted. A list of Docker manifests alone is a Docker manifest list,
//! any other an OCI index, whichever it was before: only this one can have annotations.

mod entries;
mod inspect;
mod push;

use std::collections::{BTreeMap, BTreeSet};

pub use inspect::Inspected;

use super::{ImagesError, Library, Removed, Result};
use crate::digest::Digest;
use crate::oci::{Content, Descriptor, Document, Family, Index, Platform, Reference, media_type};
use crate::source::{SourceError, names};

/// What an attestation says which image it is about.
const ABOUT: &str = "vnd.docker.reference.digest";

/// Whether a list that is to be made may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListName {
    /// The name must be free.
    Free,
    /// A list of that name is added to.
    Amended,
}

/// What is to be said of an image in a list; what is `None` or empty stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryChange {
    /// The operating system.
    pub os: Option<String>,
    /// The CPU.
    pub architecture: Option<String>,
    /// The CPU's variant.
    pub variant: Option<String>,
    /// The operating system's version.
    pub os_version: Option<String>,
    /// Further things that the operating system must have.
    pub os_features: Vec<String>,
    /// Further annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Library {
    /// Makes a list of images under a name and returns its digest.
    pub fn create_list(
        &self,
        (name, existing): (&str, ListName),
        images: &[String],
        annotations: &BTreeMap<String, String>,
    ) -> Result<Digest> {
        let reference = list_name(name)?;
        let mut index = match (names::tag(&self.store, &reference)?, existing) {
            (None, _) => Index::new(Family::Oci, Vec::new()),
            (Some(_), ListName::Amended) => self.list_of(name)?.1,
            (Some(_), ListName::Free) => return Err(ImagesError::Exists(name.to_owned())),
        };
        self.add_entries(&mut index, images)?;
        index.annotations.extend(annotations.clone());
        self.keep_list(&reference, index)
    }

    /// Adds images to a list and returns its new digest. One that is in it already stays as it is.
    pub fn add_to_list(&self, name: &str, images: &[String]) -> Result<Digest> {
        let (reference, mut index) = self.list_of(name)?;
        self.add_entries(&mut index, images)?;
        self.keep_list(&reference, index)
    }

    fn add_entries(&self, index: &mut Index, images: &[String]) -> Result<()> {
        for image in images {
            for entry in self.entries(image)? {
                if !index.manifests.iter().any(|known| known.digest == entry.digest) {
                    index.manifests.push(entry);
                }
            }
        }
        Ok(())
    }

    /// Takes images out of a list, with the attestations about them, and returns its new digest.
    pub fn remove_from_list(&self, name: &str, images: &[String]) -> Result<Digest> {
        let (reference, mut index) = self.list_of(name)?;
        let mut going = BTreeSet::new();
        for image in images {
            going.extend(self.meant(name, &index, image)?);
        }
        index.manifests.retain(|entry| {
            let about = entry.annotations.get(ABOUT).and_then(|about| about.parse().ok());
            !going.contains(&entry.digest) && !about.is_some_and(|about| going.contains(&about))
        });
        self.keep_list(&reference, index)
    }

    /// Changes what a list says of one of its images, or without one of itself, and returns its new digest.
    pub fn annotate_list(
        &self,
        name: &str,
        image: Option<&str>,
        change: &EntryChange,
    ) -> Result<Digest> {
        let (reference, mut index) = self.list_of(name)?;
        let Some(image) = image else {
            index.annotations.extend(change.annotations.clone());
            return self.keep_list(&reference, index);
        };
        let mut meant = self.meant(name, &index, image)?;
        if meant.len() > 1 {
            // Its attestations are not what somebody means by an image.
            let attests = |digest: &Digest| {
                index.manifests.iter().any(|it| it.digest == *digest && attests(it))
            };
            meant.retain(|digest| !attests(digest));
        }
        let [digest] = meant.as_slice() else {
            return Err(entry_error(name, &index, image, meant.len()));
        };
        for entry in index.manifests.iter_mut().filter(|entry| entry.digest == *digest) {
            change.apply(entry);
        }
        self.keep_list(&reference, index)
    }

    /// Returns whether the local store has a list of that name.
    pub fn has_list(&self, name: &str) -> Result<bool> {
        match self.found_list(name) {
            Ok(_) => Ok(true),
            Err(ImagesError::NotHere(_) | ImagesError::NotAList(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a list's name away. Its images stay if they have names of their own.
    pub fn remove_list(&self, name: &str) -> Result<Vec<Removed>> {
        self.found_list(name)?;
        self.remove(name, false)
    }

    /// Finds a list of the local store, by a name or by its digest.
    fn found_list(&self, name: &str) -> Result<(Option<Reference>, Digest, Index)> {
        let (reference, digest) = self.find(name)?;
        let bytes = self.store.read_blob(&digest)?;
        match Document::parse(&bytes).map_err(SourceError::from)? {
            Document::Index(index) => Ok((reference, digest, index)),
            Document::Manifest(_) => Err(ImagesError::NotAList(name.to_owned())),
        }
    }

    /// Finds a list that can be changed: by its name.
    fn list_of(&self, name: &str) -> Result<(Reference, Index)> {
        let reference = list_name(name)?;
        match self.found_list(name)? {
            (Some(_), _, index) => Ok((reference, index)),
            (None, ..) => Err(ImagesError::NotHere(name.to_owned())),
        }
    }

    /// Puts a list into the store and gives it its name.
    fn keep_list(&self, name: &Reference, mut index: Index) -> Result<Digest> {
        index.media_type = media_type(Content::Index, family(&index));
        let digest = self.store.put_blob(&index.to_bytes())?;
        names::set_tag(&self.store, name, &digest)?;
        Ok(digest)
    }
}

impl EntryChange {
    fn apply(&self, entry: &mut Descriptor) {
        let before = entry.platform.take();
        let mut platform = before.clone().unwrap_or_default();
        let texts = [
            (&mut platform.os, &self.os),
            (&mut platform.architecture, &self.architecture),
            (&mut platform.variant, &self.variant),
            (&mut platform.os_version, &self.os_version),
        ];
        for (there, given) in texts {
            if let Some(given) = given {
                there.clone_from(given);
            }
        }
        for feature in &self.os_features {
            if !platform.os_features.contains(feature) {
                platform.os_features.push(feature.clone());
            }
        }
        if before.is_some() || platform != Platform::default() {
            entry.platform = Some(platform);
        }
        entry.annotations.extend(self.annotations.clone());
    }
}

/// Reads the name of a list: one with a digest could not be changed.
fn list_name(name: &str) -> Result<Reference> {
    let reference = Reference::parse(name).map_err(SourceError::from)?;
    match reference.digest() {
        Some(_) => Err(ImagesError::DigestName(name.to_owned())),
        None => Ok(reference.or_latest()),
    }
}

/// Returns what kind of document a list is, by what it has.
fn family(index: &Index) -> Family {
    let is_docker = |it: &Descriptor| {
        media_type(it.content(), Family::Docker).as_ref() == Some(&it.media_type)
            && it.annotations.is_empty()
            && it.artifact_type.is_none()
    };
    let has_more = !index.annotations.is_empty()
        || index.artifact_type.is_some()
        || index.subject.is_some()
        || index.manifests.is_empty();
    match !has_more && index.manifests.iter().all(is_docker) {
        true => Family::Docker,
        false => Family::Oci,
    }
}

/// Returns whether an entry is no image but says something about one.
fn attests(entry: &Descriptor) -> bool {
    entry.annotations.contains_key(ABOUT)
}

/// Returns how people are told of an entry: `sha256:… (linux/amd64)`.
fn shown(entry: &Descriptor) -> String {
    match &entry.platform {
        Some(platform) => format!("{} ({})", entry.digest, platform.format_all()),
        None => entry.digest.to_string(),
    }
}

fn entry_error(list: &str, index: &Index, entry: &str, count: usize) -> ImagesError {
    let entries = index.manifests.iter().map(shown).collect();
    ImagesError::Entry { list: list.to_owned(), entry: entry.to_owned(), count, entries }
}
