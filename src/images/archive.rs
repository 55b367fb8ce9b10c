//! Images in files: saved, loaded.

use std::io::{self, Read};
use std::path::Path;

use super::{ImagesError, Library, Progress, Result};
use crate::diagnostic::Blame;
use crate::digest::Digest;
use crate::event::Cancel;
use crate::export::archive::{self, Archived, Format, Name, Target};
use crate::export::{Dest, Exporter};
use crate::fs;
use crate::oci::{Descriptor, Document, Platform, Reference};
use crate::source::SourceError;
use crate::source::blobs::StoreBlobs;
use crate::source::closure::{Closure, Selection};
use crate::source::keep::keep;
use crate::source::names;
use crate::source::saved::Saved;

/// What is loaded from.
pub enum Input<'a> {
    /// An archive, or an OCI layout directory.
    Path(&'a Path),
    /// An archive.
    Stream(Box<dyn Read + Send + 'a>),
}

/// An image that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its names.
    pub names: Vec<Reference>,
    /// Names that it has there and that no image can have.
    pub odd_names: Vec<String>,
    /// The image id; that of an index is its digest.
    pub id: Digest,
}

/// How images are saved.
#[derive(Debug, Clone)]
pub struct Save<'a> {
    /// What is written.
    pub format: Format,
    /// Where to.
    pub dest: &'a Dest,
    /// One tar instead of a directory.
    pub tar: bool,
    /// Of several images under one name the one for this platform.
    pub platform: Option<Platform>,
}

impl Library {
    /// Writes images, their layers as the store has them, into one archive.
    pub fn save(&self, images: &[String], save: &Save<'_>, progress: Progress<'_>) -> Result<()> {
        let place = StoreBlobs::new(&self.store);
        let mut archived: Vec<Archived> = Vec::new();
        for name in images {
            let (named, digest) = self.find(name)?;
            let root = match (&save.platform, save.format) {
                (None, Format::Oci) => self.descriptor(digest)?,
                (platform, _) => self.chosen(name, digest, platform.as_ref())?,
            };
            let closure = Closure::of(&place, &root, &Selection::Present)?;
            let names = named.filter(|name| name.digest().is_none()).map(Name::Image);
            match archived.iter_mut().find(|it| it.closure.root.digest == closure.root.digest) {
                Some(known) => known.names.extend(names),
                None => archived.push(Archived {
                    closure,
                    names: names.into_iter().collect(),
                    created: None,
                }),
            }
        }
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        let target = Target { dest: save.dest, tar: save.tar };
        Ok(archive::write(&exporter, &place, &archived, (save.format, target))?)
    }

    /// Returns what is taken of an image of the store: of an index one image that is here, this machine's or the first
    /// if no platform is named.
    pub(super) fn chosen(
        &self,
        name: &str,
        digest: Digest,
        platform: Option<&Platform>,
    ) -> Result<Descriptor> {
        match self.document(digest)? {
            Some(Document::Index(_)) => self.descriptor(self.image_for(name, platform)?.digest),
            _ => self.descriptor(digest),
        }
    }

    /// Takes the images of an archive or layout into the store; names that they have mean them then.
    pub fn load(
        &self,
        input: Input<'_>,
        platform: Option<&Platform>,
        progress: Progress<'_>,
    ) -> Result<Vec<Loaded>> {
        let what = match &input {
            Input::Path(path) => path.display().to_string(),
            Input::Stream(_) => "standard input".to_owned(),
        };
        let of_file = of_file(&what);
        let saved = match input {
            Input::Path(path) if path.is_dir() => Saved::directory(path),
            Input::Path(path) => self.read_archive(fs::open(path)?),
            Input::Stream(stream) => self.read_archive(stream),
        };
        let saved = saved.map_err(&of_file)?;
        let selection = match platform {
            Some(platform) => Selection::Platform(Box::new(platform.clone())),
            None => Selection::Present,
        };
        let mut loaded = Vec::with_capacity(saved.images.len());
        for image in &saved.images {
            let closure = Closure::of(&*saved.blobs, &image.root, &selection).map_err(&of_file)?;
            let kept = keep(&self.store, &*saved.blobs, &closure, progress, &self.cancel);
            kept.map_err(&of_file)?;
            let taken = self.take(&closure, image.references())?;
            loaded.push(Loaded { odd_names: image.odd_names(), ..taken });
        }
        match loaded.is_empty() {
            true => Err(of_file(SourceError::NoImages)),
            false => Ok(loaded),
        }
    }

    /// Reads an archive, and stops if that is asked for.
    pub(super) fn read_archive(
        &self,
        input: impl Read + Send,
    ) -> std::result::Result<Saved, SourceError> {
        let input = Stoppable { input, cancel: &self.cancel };
        Saved::archive(input, &self.store).map_err(|error| match self.cancel.is_canceled() {
            true => SourceError::Canceled,
            false => error,
        })
    }

    /// Gives names to what the store has now.
    pub(super) fn take(&self, closure: &Closure, names: Vec<Reference>) -> Result<Loaded> {
        let root = closure.root.digest;
        let id = match self.name_images(closure)? {
            Some(id) => id,
            None => {
                names::set_id(&self.store, &root, &root)?;
                root
            }
        };
        for name in &names {
            names::set_tag(&self.store, name, &root)?;
        }
        Ok(Loaded { names, odd_names: Vec::new(), id })
    }
}

/// Makes the closure that `map_err` wants, for what is wrong with a file; what already names a path stays.
pub(super) fn of_file(file: &str) -> impl Fn(SourceError) -> ImagesError + '_ {
    move |source| match source.blame() {
        Blame::Input if !matches!(source, SourceError::Path(_) | SourceError::NoLayout(_)) => {
            ImagesError::File { file: file.to_owned(), source }
        }
        _ => source.into(),
    }
}

/// What is read until the user stops it.
pub(super) struct Stoppable<'a, R> {
    pub(super) input: R,
    pub(super) cancel: &'a Cancel,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.cancel.is_canceled() {
            true => Err(io::Error::other("canceled")),
            false => self.input.read(buf),
        }
    }
}
