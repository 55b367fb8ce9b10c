//! Images in files that other tools read: an OCI layout (OCI image specification, "Image Layout") as one tar or as a
//! directory, and the same with docker's list beside it.
//!
//! Which files there are is decided here, `layout.rs` writes them, `docker.rs` makes docker's list. Images that lie in
//! a layout directory already stay there, unless they have one of the names.

use std::collections::BTreeSet;
use std::path::Path;

use super::layout::{self, Entry, EntryContent};
use super::product::{self, Finished, Product};
use super::{Dest, Exporter, Output, Result, docker};
use crate::digest::Digest;
use crate::fs;
use crate::oci::{Descriptor, Family, Index, MANIFEST_LIMIT, Reference};
use crate::source::SourceError;
use crate::source::blobs::{Blobs, StoreBlobs};
use crate::source::closure::{Closure, Selection};

/// `containerd`'s name of an image in a layout: the whole name.
const WHOLE_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const CREATED: &str = "org.opencontainers.image.created";

/// An image that is written.
#[derive(Debug, Clone)]
pub struct Archived {
    /// What belongs to it.
    pub closure: Closure,
    /// Its names in the archive.
    pub names: Vec<Name>,
    /// When it was made, RFC 3339.
    pub created: Option<String>,
}

/// A name in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A whole one.
    Image(Reference),
    /// A bare one, as `oci:DIRECTORY:NAME` gives it.
    Bare(String),
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An OCI layout.
    Oci,
    /// An OCI layout that `docker load` of any age reads too: one image a name.
    Docker,
}

/// Where to: a tar, or a directory.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The place.
    pub dest: &'a Dest,
    /// One tar instead of a directory.
    pub tar: bool,
}

/// Writes what a build made.
pub(super) fn export(
    exporter: &Exporter<'_>,
    product: &Product,
    (output, format, target): (&Output, Format, Target<'_>),
    names: &[Reference],
) -> Result<Finished> {
    let finished = product::finish(exporter, product, output)?;
    let place = StoreBlobs::new(exporter.store);
    let times = product.images.iter().filter_map(|(_, image)| image.config.created);
    let archived = Archived {
        closure: Closure::of(&place, &finished.root, &Selection::All)?,
        names: names.iter().cloned().map(Name::Image).collect(),
        created: times.max().map(|time| time.to_string()),
    };
    write(exporter, &place, &[archived], (format, target))?;
    Ok(finished)
}

/// Writes images whose blobs are at `place`.
pub fn write(
    exporter: &Exporter<'_>,
    place: &dyn Blobs,
    images: &[Archived],
    (format, target): (Format, Target<'_>),
) -> Result<()> {
    let mut entries = blobs(images);
    let mut manifests: Vec<Descriptor> = images.iter().flat_map(described).collect();
    if let (Dest::Path(path), false) = (target.dest, target.tar) {
        keep_others(path, &mut manifests)?;
    }
    let index = Index::new(Family::Oci, manifests).to_bytes();
    entries.push(Entry::file("index.json", index));
    entries.push(Entry::file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
    if format == Format::Docker {
        entries.push(Entry::file("manifest.json", docker::list(images)?));
    }
    layout::write(exporter, place, target, &entries)
}

/// Returns the directories and blobs of a layout.
fn blobs(images: &[Archived]) -> Vec<Entry> {
    let mut entries = vec![Entry::directory("blobs"), Entry::directory("blobs/sha256")];
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    for Archived { closure, .. } in images {
        let layers = closure.blobs.iter().map(|it| (it, EntryContent::Blob(it.clone())));
        let documents =
            closure.documents.iter().map(|(it, bytes)| (it, EntryContent::Bytes(bytes.clone())));
        for (descriptor, content) in layers.chain(documents) {
            if seen.insert(descriptor.digest) {
                let name = format!("blobs/sha256/{}", descriptor.digest.hex());
                entries.push(Entry { name, content });
            }
        }
    }
    entries
}

/// Returns what stands for an image in `index.json`: once for each of its names.
fn described(image: &Archived) -> Vec<Descriptor> {
    let described = |name: Option<&Name>| {
        let mut descriptor = image.closure.root.clone();
        let mut note =
            |key: &str, value: String| drop(descriptor.annotations.insert(key.to_owned(), value));
        match name {
            Some(Name::Image(name)) => {
                let name = name.clone().or_latest();
                note(WHOLE_NAME, name.to_string());
                note(REF_NAME, name.tag().unwrap_or("latest").to_owned());
            }
            Some(Name::Bare(name)) => note(REF_NAME, name.clone()),
            None => {}
        }
        if let Some(created) = &image.created {
            note(CREATED, created.clone());
        }
        descriptor
    };
    match image.names.as_slice() {
        [] => vec![described(None)],
        names => names.iter().map(|name| described(Some(name))).collect(),
    }
}

/// Puts the images of a directory that is a layout already before those that are written.
fn keep_others(path: &Path, manifests: &mut Vec<Descriptor>) -> Result<()> {
    let file = path.join("index.json");
    let there = match fs::read_regular(&file, MANIFEST_LIMIT + 1) {
        Err(error) if error.is_not_found() => return Ok(()),
        read => Index::parse(&read?).map_err(SourceError::from)?.manifests,
    };
    let key = |it: &Descriptor| {
        let name = |key: &str| it.annotations.get(key).cloned();
        name(WHOLE_NAME).or_else(|| name(REF_NAME))
    };
    let others = there.into_iter().filter(|old| {
        !manifests
            .iter()
            .any(|new| key(new) == key(old) || (new.digest == old.digest && key(old).is_none()))
    });
    let mut all: Vec<_> = others.collect();
    all.append(manifests);
    *manifests = all;
    Ok(())
}
