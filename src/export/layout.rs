//! An OCI image layout, as a directory or as one tar (OCI image specification, "Image Layout").

use std::io::{BufWriter, Write};
use std::path::Path;

use super::image::FinishedImage;
use super::place::Unfinished;
use super::product::{self, Finished, Product};
use super::{Dest, ExportError, Exporter, Output, Result, blob};
use crate::digest::Digest;
use crate::fs::{self, PathError};
use crate::layer::Bundle;
use crate::oci::{Descriptor, Family, Index, Reference};

/// One file of an image archive.
pub(super) struct Entry {
    /// Its path.
    pub(super) name: String,
    pub(super) content: EntryContent,
}

/// What is in a file of an image archive.
pub(super) enum EntryContent {
    Bytes(Vec<u8>),
    Blob(Digest),
    Directory,
}

pub(super) fn export(
    exporter: &Exporter<'_>,
    product: &Product,
    (output, tar): (&Output, bool),
    names: &[Reference],
) -> Result<Finished> {
    let finished = product::finish(exporter, product, output)?;
    let mut entries = blobs(exporter, product, &finished)?;
    entries.extend(index(&finished, names, created(product)));
    write(exporter, output, tar, &entries)?;
    Ok(finished)
}

/// Returns the directories and blobs of a layout.
pub(super) fn blobs<'a>(
    exporter: &Exporter<'_>,
    product: &Product,
    finished: &'a Finished,
) -> Result<Vec<Entry>> {
    let directory = |name: &str| Entry { name: name.to_owned(), content: EntryContent::Directory };
    let mut entries = vec![directory("blobs"), directory("blobs/sha256")];
    for ((_, image), made) in product.images.iter().zip(&finished.images) {
        for (layer, descriptor) in image.layers.iter().zip(&made.layers) {
            blob::ensure(exporter, layer, descriptor)?;
        }
    }
    let of_image =
        |image: &'a FinishedImage| image.layers.iter().chain([&image.config, &image.manifest]);
    let all = finished.images.iter().flat_map(of_image).chain([&finished.root]);
    let mut seen = std::collections::BTreeSet::new();
    for Descriptor { digest, .. } in all {
        if seen.insert(*digest) {
            let name = format!("blobs/sha256/{}", digest.hex());
            entries.push(Entry { name, content: EntryContent::Blob(*digest) });
        }
    }
    Ok(entries)
}

/// Returns the two files that make the blobs a layout.
pub(super) fn index(
    finished: &Finished,
    names: &[Reference],
    created: Option<String>,
) -> Vec<Entry> {
    let described = |name: Option<&Reference>| {
        let mut descriptor = finished.root.clone();
        let mut note =
            |key: &str, value: String| drop(descriptor.annotations.insert(key.to_owned(), value));
        if let Some(name) = name {
            let name = name.clone().or_latest();
            note("io.containerd.image.name", name.to_string());
            note("org.opencontainers.image.ref.name", name.tag().unwrap_or("latest").to_owned());
        }
        if let Some(created) = &created {
            note("org.opencontainers.image.created", created.clone());
        }
        descriptor
    };
    let manifests = match names {
        [] => vec![described(None)],
        names => names.iter().map(|name| described(Some(name))).collect(),
    };
    let index = Index::new(Family::Oci, manifests).to_bytes();
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec();
    [("index.json", index), ("oci-layout", layout)]
        .into_iter()
        .map(|(name, bytes)| Entry { name: name.to_owned(), content: EntryContent::Bytes(bytes) })
        .collect()
}

/// The time that an archive's index gives what it holds: that of the latest image.
pub(super) fn created(product: &Product) -> Option<String> {
    let times = product.images.iter().filter_map(|(_, image)| image.config.created);
    times.max().map(|time| time.to_string())
}

/// Writes files where an output wants them.
pub(super) fn write(
    exporter: &Exporter<'_>,
    output: &Output,
    tar: bool,
    entries: &[Entry],
) -> Result<()> {
    match (&output.dest, tar) {
        (Some(Dest::Stdout), true) => {
            let stdout = std::io::stdout().lock();
            let bundled = bundle(exporter, entries, BufWriter::with_capacity(1 << 20, stdout));
            bundled.map(drop).map_err(|error| error.or_stdout())
        }
        (Some(Dest::Path(path)), true) => write_tar(exporter, path, entries),
        (Some(Dest::Path(path)), false) => write_directory(exporter, path, entries),
        (Some(Dest::Stdout), false) => {
            Err(ExportError::Format("a directory cannot be written to standard output".into()))
        }
        (None, _) => {
            Err(ExportError::Format("this output needs a destination: `dest=PATH`".into()))
        }
    }
}

/// An error of a bundle: of what is read, or of what is written.
pub(super) enum BundleError {
    Read(ExportError),
    Write(std::io::Error),
}

impl BundleError {
    pub(super) fn or_stdout(self) -> ExportError {
        match self {
            Self::Read(error) => error,
            Self::Write(error) => ExportError::Stdout(error),
        }
    }

    pub(super) fn or_path(self, path: &Path) -> ExportError {
        match self {
            Self::Read(error) => error,
            Self::Write(error) => PathError::of("write", path)(error).into(),
        }
    }
}

fn bundle<W: Write>(
    exporter: &Exporter<'_>,
    entries: &[Entry],
    out: W,
) -> std::result::Result<W, BundleError> {
    let mut bundle = Bundle::new(out);
    for entry in entries {
        if exporter.cancel.is_canceled() {
            return Err(BundleError::Read(ExportError::Canceled));
        }
        let written = match &entry.content {
            EntryContent::Directory => bundle.directory(&entry.name),
            EntryContent::Bytes(bytes) => bundle.file(&entry.name, bytes.len() as u64, &bytes[..]),
            EntryContent::Blob(digest) => {
                let file =
                    exporter.store.open_blob(digest).map_err(|e| BundleError::Read(e.into()))?;
                let size = exporter.store.blob_size(digest).unwrap_or(0);
                bundle.file(&entry.name, size, file)
            }
        };
        written.map_err(BundleError::Write)?;
    }
    bundle.finish().map_err(BundleError::Write)
}

fn write_tar(exporter: &Exporter<'_>, path: &Path, entries: &[Entry]) -> Result<()> {
    let file = Unfinished::at(path)?;
    let writer = BufWriter::with_capacity(1 << 20, file);
    let writer = bundle(exporter, entries, writer).map_err(|error| error.or_path(path))?;
    let file =
        writer.into_inner().map_err(|error| PathError::of("write", path)(error.into_error()))?;
    file.persist()
}

fn write_directory(exporter: &Exporter<'_>, path: &Path, entries: &[Entry]) -> Result<()> {
    fs::create_dir_all(path)?;
    for entry in entries {
        let place = path.join(&entry.name);
        match &entry.content {
            EntryContent::Directory => fs::create_dir_all(&place)?,
            EntryContent::Bytes(bytes) => {
                let mut file = Unfinished::at(&place)?;
                file.write_all(bytes).map_err(PathError::of("write", &place))?;
                file.persist()?;
            }
            EntryContent::Blob(digest) => copy_blob(exporter, digest, &place)?,
        }
    }
    Ok(())
}

fn copy_blob(exporter: &Exporter<'_>, digest: &Digest, place: &Path) -> Result<()> {
    let size = exporter.store.blob_size(digest);
    if size.is_some() && place.metadata().ok().map(|meta| meta.len()) == size {
        return Ok(());
    }
    let mut file = Unfinished::at(place)?;
    let mut source = exporter.store.open_blob(digest)?;
    std::io::copy(&mut source, &mut file).map_err(PathError::of("write", place))?;
    file.persist()
}
