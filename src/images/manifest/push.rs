//! Sending a list with all its images: what is not here goes from the registry that has it to the one that wants it.

use super::super::push::Pushed;
use super::super::{ImagesError, Library, Progress, Result, unusable};
use super::shown;
use crate::export::Exporter;
use crate::export::blob::Wanted;
use crate::export::compressed::Compressing;
use crate::export::registry::Push;
use crate::oci::{Descriptor, Document, Reference};
use crate::source::SourceError;
use crate::source::blobs::Blobs;
use crate::source::closure::Closure;
use crate::source::nearest::NearestBlobs;

impl Library {
    /// Pushes a list with all its images, to `target` or under its own name. Layers that are compressed nowhere are
    /// compressed as wanted; those that are elsewhere stay as they are.
    pub fn push_list(
        &self,
        name: &str,
        target: Option<&Reference>,
        wanted: Wanted,
        progress: Progress<'_>,
    ) -> Result<Pushed> {
        let (found, digest, _) = self.found_list(name)?;
        let target = match target {
            Some(target) => target.clone().or_latest(),
            None => found.ok_or_else(|| ImagesError::NoName(name.to_owned()))?,
        };
        let closure = self.bring(&self.descriptor(digest)?, &self.names_of(digest)?);
        let closure = closure.map_err(unusable(name))?;
        let exporter = Exporter { store: &self.store, progress, cancel: &self.cancel };
        let images = self.images(false);
        let closure = Compressing { exporter: &exporter, images: &images, wanted }.run(closure)?;
        let client = &self.web.client;
        let place = NearestBlobs::new(&self.store, client.clone(), None);
        self.look_for_blobs(name, &place, (&closure, &target))?;
        let push = Push { exporter: &exporter, client, target: &target, place: &place };
        let sent = push.run(&closure)?;
        let (digest, size) = (closure.root.digest, closure.root.size);
        Ok(Pushed { name: target, digest, size, sent })
    }

    /// Makes sure that everything can be had before anything is sent.
    fn look_for_blobs(
        &self,
        list: &str,
        place: &NearestBlobs<'_>,
        (closure, target): (&Closure, &Reference),
    ) -> Result<()> {
        for (descriptor, manifest) in closure.manifests() {
            // Says of layers that are kept as files where they are.
            place.document(descriptor)?;
            let named = [("config", &manifest.config)].into_iter();
            for (kind, blob) in named.chain(manifest.layers.iter().map(|layer| ("layer", layer))) {
                if place.knows(&blob.digest)? || !blob.urls.is_empty() {
                    continue;
                }
                let has = self.web.client.has_blob(target, blob.digest);
                if !has.map_err(SourceError::from)? {
                    let image = shown(&entry(closure, descriptor));
                    let what = format!("the {kind} `{}` of {image} in `{list}`", blob.digest);
                    return Err(ImagesError::Nowhere { what });
                }
            }
        }
        Ok(())
    }
}

/// Returns what the list says of a manifest.
fn entry(closure: &Closure, descriptor: &Descriptor) -> Descriptor {
    let indexes = closure.documents.iter().filter_map(|(_, bytes)| match Document::parse(bytes) {
        Ok(Document::Index(index)) => Some(index),
        Ok(Document::Manifest(_)) | Err(_) => None,
    });
    let mut entries = indexes.flat_map(|index| index.manifests);
    entries.find(|entry| entry.digest == descriptor.digest).unwrap_or_else(|| descriptor.clone())
}
