//! Images in files: saved, loaded.

use std::io::Read;
use std::path::Path;

use super::{ImagesError, Library, Progress, Result};
use crate::digest::Digest;
use crate::export::archive::{self, Archived, Format, Name, Target};
use crate::export::{Dest, Exporter};
use crate::fs;
use crate::oci::{Platform, Reference};
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
            let closure = Closure::of(&place, &self.descriptor(digest)?, &self.selection(save))?;
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

    fn selection(&self, save: &Save<'_>) -> Selection {
        match (&save.platform, save.format) {
            (Some(platform), _) => Selection::Platform(Box::new(platform.clone())),
            (None, Format::Docker) => Selection::Platform(Box::new(Platform::host())),
            (None, Format::Oci) => Selection::Present,
        }
    }

    /// Takes the images of an archive or layout into the store; names that they have mean them then.
    pub fn load(
        &self,
        input: Input<'_>,
        platform: Option<&Platform>,
        progress: Progress<'_>,
    ) -> Result<Vec<Loaded>> {
        let saved = match input {
            Input::Path(path) if path.is_dir() => Saved::directory(path)?,
            Input::Path(path) => Saved::archive(fs::open(path)?, &self.store)?,
            Input::Stream(stream) => Saved::archive(stream, &self.store)?,
        };
        let selection = match platform {
            Some(platform) => Selection::Platform(Box::new(platform.clone())),
            None => Selection::Present,
        };
        let mut loaded = Vec::with_capacity(saved.images.len());
        for image in &saved.images {
            let closure = Closure::of(&*saved.blobs, &image.root, &selection)?;
            keep(&self.store, &*saved.blobs, &closure, progress, &self.cancel)?;
            loaded.push(self.take(&closure, image.references())?);
        }
        match loaded.is_empty() {
            true => Err(ImagesError::Source(crate::source::SourceError::NoImages)),
            false => Ok(loaded),
        }
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
        Ok(Loaded { names, id })
    }
}
