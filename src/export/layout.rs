//! The files of an image archive, written as one tar or as a directory.

use std::io::{BufWriter, Read, Write};
use std::path::Path;

use super::archive::Target;
use super::place::Unfinished;
use super::{Dest, ExportError, Exporter, Result};
use crate::digest::HashingReader;
use crate::fs::{self, PathError};
use crate::layer::{Bundle, behind};
use crate::oci::Descriptor;
use crate::registry::RegistryError;
use crate::source::blobs::Blobs;
use crate::source::{Counted, SourceError};

/// One file of an image archive.
pub(super) struct Entry {
    /// Its path.
    pub(super) name: String,
    pub(super) content: EntryContent,
}

/// What is in a file of an image archive.
#[expect(clippy::large_enum_variant, reason = "an archive has a few dozen files")]
pub(super) enum EntryContent {
    Bytes(Vec<u8>),
    Blob(Descriptor),
    Directory,
}

impl Entry {
    pub(super) fn directory(name: &str) -> Self {
        Self { name: name.to_owned(), content: EntryContent::Directory }
    }

    pub(super) fn file(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content: EntryContent::Bytes(bytes) }
    }
}

/// Writes files where they are wanted; blobs come from `place`.
pub(super) fn write(
    exporter: &Exporter<'_>,
    place: &dyn Blobs,
    target: Target<'_>,
    entries: &[Entry],
) -> Result<()> {
    let writer = Writer { exporter, place, entries };
    match (target.dest, target.tar) {
        (Dest::Stdout, true) => {
            let (written, bundled) = writer.bundle(std::io::stdout());
            written.map_err(ExportError::Stdout)?;
            bundled.map_err(|error| error.or_stdout())
        }
        (Dest::Path(path), true) => writer.tar(path),
        (Dest::Path(path), false) => writer.directory(path),
        (Dest::Stdout, false) => {
            Err(ExportError::Format("a directory cannot be written to standard output".into()))
        }
    }
}

/// An error of a bundle: of what is read, or of what is written.
pub(super) enum BundleError {
    Read(ExportError),
    Write(std::io::Error),
}

impl BundleError {
    /// What a place says while it is read comes wrapped.
    fn of(error: std::io::Error) -> Self {
        let error = match error.downcast::<SourceError>() {
            Ok(error) => return Self::Read(error.into()),
            Err(error) => error,
        };
        match error.downcast::<RegistryError>() {
            Ok(error) => Self::Read(SourceError::from(error).into()),
            Err(error) => Self::Write(error),
        }
    }

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

struct Writer<'a> {
    exporter: &'a Exporter<'a>,
    place: &'a dyn Blobs,
    entries: &'a [Entry],
}

impl Writer<'_> {
    /// Reads and verifies all, and has it written as one tar by a thread behind; of two errors the one of writing is the
    /// cause.
    fn bundle<W: Write + Send>(
        &self,
        out: W,
    ) -> (std::io::Result<W>, std::result::Result<(), BundleError>) {
        behind(out, |out| self.fill(Bundle::new(BufWriter::with_capacity(1 << 20, out))))
    }

    fn fill(&self, mut bundle: Bundle<impl Write>) -> std::result::Result<(), BundleError> {
        for entry in self.entries {
            if self.exporter.cancel.is_canceled() {
                return Err(BundleError::Read(ExportError::Canceled));
            }
            let written = match &entry.content {
                EntryContent::Directory => bundle.directory(&entry.name),
                EntryContent::Bytes(bytes) => {
                    bundle.file(&entry.name, bytes.len() as u64, &bytes[..])
                }
                EntryContent::Blob(blob) => {
                    let from =
                        self.place.open(blob).map_err(|error| BundleError::Read(error.into()))?;
                    self.watched(blob, from, |from| bundle.file(&entry.name, blob.size, from))
                }
            };
            written.map_err(|error| self.failed(error))?;
        }
        bundle.finish().map(drop).map_err(BundleError::Write)
    }

    fn tar(&self, path: &Path) -> Result<()> {
        let (file, bundled) = self.bundle(Unfinished::at(path)?);
        let file = file.map_err(PathError::of("write", path))?;
        bundled.map_err(|error| error.or_path(path))?;
        file.persist()
    }

    fn directory(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path)?;
        for entry in self.entries {
            let place = path.join(&entry.name);
            match &entry.content {
                EntryContent::Directory => fs::create_dir_all(&place)?,
                EntryContent::Bytes(bytes) => {
                    let mut file = Unfinished::at(&place)?;
                    file.write_all(bytes).map_err(PathError::of("write", &place))?;
                    file.persist()?;
                }
                EntryContent::Blob(blob) => self.copy_blob(blob, &place)?,
            }
        }
        Ok(())
    }

    /// Copies a blob unless the directory has it.
    fn copy_blob(&self, blob: &Descriptor, place: &Path) -> Result<()> {
        if self.exporter.cancel.is_canceled() {
            return Err(ExportError::Canceled);
        }
        if is_there(blob, place) {
            return Ok(());
        }
        let mut file = Unfinished::at(place)?;
        let from = self.place.open(blob)?;
        let copied = self.watched(blob, from, |from| std::io::copy(from, &mut file));
        copied.map_err(|error| self.failed(error).or_path(place))?;
        file.persist()
    }

    /// Copies a blob; its progress is shown, and it ends when the user asks to stop.
    fn watched<T>(
        &self,
        blob: &Descriptor,
        from: Box<dyn Read + Send + '_>,
        copy: impl FnOnce(&mut Counted<'_>) -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        let Exporter { progress, cancel, .. } = self.exporter;
        let what = &blob.digest.hex()[..12];
        let report = |done| progress(what, done, blob.size);
        copy(&mut Counted { inner: from, count: 0, report: &report, cancel })
    }

    fn failed(&self, error: std::io::Error) -> BundleError {
        match self.exporter.cancel.is_canceled() {
            true => BundleError::Read(ExportError::Canceled),
            false => BundleError::of(error),
        }
    }
}

fn is_there(blob: &Descriptor, place: &Path) -> bool {
    let Ok(file) = fs::open(place) else { return false };
    let mut reader = HashingReader::new(file);
    let read = std::io::copy(&mut reader, &mut std::io::sink());
    read.is_ok() && reader.into_parts().1.digest() == blob.digest
}
