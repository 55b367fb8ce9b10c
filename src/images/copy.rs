//! Copying an image from one place to another, through as little as possible.

use super::archive::of_file;
use super::place::{FileKind, Place};
use super::{ImagesError, Library, Progress, Result, new_name};
use crate::export::archive::{self, Archived, Format, Name, Target};
use crate::export::blob::Wanted;
use crate::export::compressed::Compressing;
use crate::export::registry::Push;
use crate::export::{Dest, Exporter};
use crate::fs;
use crate::oci::{Descriptor, Reference};
use crate::source::SourceError;
use crate::source::blobs::{Blobs, RegistryBlobs, StoreBlobs};
use crate::source::closure::{Closure, Selection};
use crate::source::keep::keep;
use crate::source::nearest::NearestBlobs;
use crate::source::saved::Saved;

/// How an image is copied.
#[derive(Debug, Clone)]
pub struct Copy {
    /// From where.
    pub from: Place,
    /// To where.
    pub to: Place,
    /// Which images of an index.
    pub selection: Selection,
    /// How layers are compressed that go to a registry.
    pub wanted: Wanted,
}

/// An image at its place.
struct Located<'a> {
    blobs: Box<dyn Blobs + 'a>,
    root: Descriptor,
}

impl Library {
    /// Copies an image and returns what is at the new place: for a registry, compressed.
    pub fn copy(&self, copy: &Copy, progress: Progress<'_>) -> Result<Descriptor> {
        let from = self.locate(&copy.from, &copy.selection)?;
        let file = copy.from.file().map(|path| path.display().to_string());
        let failed = |error: SourceError| match &file {
            Some(file) => of_file(file)(error),
            None => error.into(),
        };
        let closure = Closure::of(&*from.blobs, &from.root, &copy.selection).map_err(failed)?;
        match &copy.to {
            Place::Store(name) => {
                let name = new_name(name)?;
                let kept = keep(&self.store, &*from.blobs, &closure, progress, &self.cancel);
                kept.map_err(failed)?;
                self.take(&closure, vec![name])?;
                Ok(closure.root)
            }
            Place::Registry(target) => {
                self.copy_to_registry((&*from.blobs, closure), target, copy.wanted, progress)
            }
            Place::File { kind, path, name } => {
                let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
                let root = closure.root.clone();
                let archived = Archived { closure, names: file_name(*kind, name), created: None };
                let (format, tar) = match kind {
                    FileKind::Layout => (Format::Oci, false),
                    FileKind::OciArchive => (Format::Oci, true),
                    FileKind::DockerArchive => (Format::Docker, true),
                };
                let target = Target { dest: &Dest::Path(path.clone()), tar };
                archive::write(&exporter, &*from.blobs, &[archived], (format, target))?;
                Ok(root)
            }
        }
    }

    /// Finds an image at a place.
    fn locate(&self, place: &Place, selection: &Selection) -> Result<Located<'_>> {
        match place {
            Place::Store(name) => {
                let (_, digest) = self.find(name)?;
                let root = match selection {
                    Selection::Platform(wanted) => self.chosen(name, digest, Some(wanted))?,
                    Selection::All | Selection::Present => self.descriptor(digest)?,
                };
                // What is not here may be where it was pulled from, or be named by a list that was made here.
                let blobs = NearestBlobs::new(&self.store, self.web.client.clone(), None);
                Ok(Located { blobs: Box::new(blobs), root })
            }
            Place::Registry(name) => {
                let root = self.web.client.resolve(name).map_err(SourceError::from)?.descriptor;
                let blobs = RegistryBlobs::new(self.web.client.clone(), name);
                Ok(Located { blobs: Box::new(blobs), root })
            }
            Place::File { kind, path, name } => {
                let file = path.display().to_string();
                let saved = match kind {
                    FileKind::Layout => Saved::directory(path),
                    FileKind::OciArchive | FileKind::DockerArchive => {
                        self.read_archive(fs::open(path)?)
                    }
                };
                let saved = saved.map_err(of_file(&file))?;
                let root = choose(&saved, &file, name.as_deref())?;
                Ok(Located { blobs: saved.blobs, root })
            }
        }
    }

    fn copy_to_registry(
        &self,
        (blobs, closure): (&dyn Blobs, Closure),
        target: &Reference,
        wanted: Wanted,
        progress: Progress<'_>,
    ) -> Result<Descriptor> {
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        let client = &self.web.client;
        if !wanted.changes(closure.blobs.iter()) {
            let push = Push { exporter: &exporter, client, target, place: blobs };
            push.run(&closure)?;
            return Ok(closure.root);
        }
        // Layers are compressed in the store; what the registry then lacks is sent from there.
        keep(&self.store, blobs, &closure, progress, &self.cancel)?;
        let images = self.images(false);
        let closure = Compressing { exporter: &exporter, images: &images, wanted }.run(closure)?;
        let place = StoreBlobs::new(&self.store);
        Push { exporter: &exporter, client, target, place: &place }.run(&closure)?;
        Ok(closure.root)
    }
}

/// Returns the image of that name, or the only one.
fn choose(saved: &Saved, file: &str, name: Option<&str>) -> Result<Descriptor> {
    let is_named = |names: &[String], wanted: &str| {
        let whole = Reference::parse(wanted).ok().map(Reference::or_latest);
        let same = |name: &String| {
            name == wanted
                || (name.contains(['/', ':'])
                    && Reference::parse(name).ok().map(Reference::or_latest) == whole)
        };
        names.iter().any(same)
    };
    let found = match (name, saved.images.as_slice()) {
        (None, []) => return Err(of_file(file)(SourceError::NoImages)),
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(name), images) => images
            .iter()
            .find(|image| is_named(&image.names, name) || image.root.digest.to_string() == name),
    };
    found.map(|image| image.root.clone()).ok_or_else(|| ImagesError::NotInFile {
        file: file.to_owned(),
        name: name.map(str::to_owned),
        names: saved.images.iter().flat_map(|image| image.names.clone()).collect(),
    })
}

fn file_name(kind: FileKind, name: &Option<String>) -> Vec<Name> {
    let Some(name) = name else { return Vec::new() };
    let whole = kind == FileKind::DockerArchive || name.contains('/');
    match Reference::parse(name) {
        Ok(reference) if whole => vec![Name::Image(reference.or_latest())],
        _ => vec![Name::Bare(name.clone())],
    }
}
