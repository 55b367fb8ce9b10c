//! Bringing images here from registries.

use super::{ImagesError, Library, Progress, Result, unusable};
use crate::digest::Digest;
use crate::graph::{ImageLocation, ImageRequest};
use crate::oci::{Content, Descriptor, Document, Platform, Reference};
use crate::registry::RegistryError;
use crate::source::blobs::RegistryBlobs;
use crate::source::closure::{Closure, Selection};
use crate::source::image::first_found;
use crate::source::keep::{keep, keep_blobs};
use crate::source::names::known_chain;
use crate::source::{SourceError, names};

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The name that was pulled.
    pub name: Reference,
    /// The manifest or index that it means.
    pub digest: Digest,
    /// The image id: the digest of the config. `None` for several images or an artifact.
    pub id: Option<Digest>,
    /// Whether the store had it already.
    pub was_here: bool,
}

impl Library {
    /// Pulls the image of a name for one platform and unpacks it, so that it is ready to be used; of an artifact all
    /// that it names. `None`: the images of all platforms, which are kept as they are.
    pub fn pull(
        &self,
        name: &str,
        platform: Option<&Platform>,
        progress: Progress<'_>,
    ) -> Result<Pulled> {
        let location = ImageLocation::named(name).map_err(SourceError::from)?;
        let reference = Reference::parse(name).map_err(SourceError::from)?.or_latest();
        let Some(platform) = platform else {
            return self.pull_whole(name, progress);
        };
        let before = names::tags(&self.store)?;
        let request = ImageRequest { location, platform: platform.clone() };
        let images = self.images(true).as_named();
        let image = match images.resolve(&request) {
            Err(SourceError::Artifact { .. }) => return self.pull_whole(name, progress),
            found => found.map_err(unusable(name))?,
        };
        let was_whole = images.is_whole(&image)?;
        if let Some(repository) = image.repository() {
            // A layer that is here by its content alone is needed as it is named to push or save the image; before the
            // image gets its name.
            let known = known_chain(&self.store, &image.config.rootfs.diff_ids)?.len();
            let known = &image.manifest.layers[..known.min(image.manifest.layers.len())];
            let place = RegistryBlobs::new(self.web.client.clone(), repository);
            let kept = keep_blobs(&self.store, (&place, known), progress, &self.cancel);
            kept.map_err(unusable(name))?;
        }
        images.fetch(&request, progress).map_err(unusable(name))?;
        // A short name may be an alias of another.
        let name = match image.repository() {
            Some(repository) => reference.in_repository(repository),
            None => reference,
        };
        let digest = names::tag(&self.store, &name)?.unwrap_or(image.digest);
        let was_here = was_whole && before.contains(&(name.clone(), digest));
        Ok(Pulled { name, digest, id: Some(image.manifest.config.digest), was_here })
    }

    /// Asks registries for what a text names; a short name may mean several places.
    fn asked<T>(
        &self,
        name: &str,
        ask: impl Fn(&Reference) -> std::result::Result<T, RegistryError>,
    ) -> Result<(Reference, T)> {
        let reference = Reference::parse(name).map_err(SourceError::from)?;
        let candidates = match Reference::is_short(name) {
            true => self.web.client.candidates(&reference).map_err(SourceError::from)?,
            false => vec![reference.clone()],
        };
        Ok(first_found(&reference, &candidates, |it| Ok((it.clone(), ask(it)?)))?)
    }

    fn pull_whole(&self, name: &str, progress: Progress<'_>) -> Result<Pulled> {
        let resolve = |name: &Reference| self.web.client.resolve(&name.clone().or_latest());
        let (reference, fetched) = self.asked(name, resolve)?;
        let reference = &reference.or_latest();
        let before = names::tag(&self.store, reference)?;
        let place = RegistryBlobs::new(self.web.client.clone(), reference);
        let closure = Closure::of(&place, &fetched.descriptor, &Selection::All)?;
        let was_here = before == Some(fetched.descriptor.digest)
            && closure.blobs.iter().all(|blob| self.store.blob_size(&blob.digest).is_some());
        keep(&self.store, &place, &closure, progress, &self.cancel)?;
        for blob in &closure.blobs {
            names::remember_place(&self.store, blob.digest, reference)?;
        }
        let id = self.name_images(&closure)?;
        names::set_tag(&self.store, reference, &closure.root.digest)?;
        Ok(Pulled { name: reference.clone(), digest: closure.root.digest, id, was_here })
    }

    /// Notes the ids of the images of a closure that the store has; returns that of the root if it is one image.
    pub(super) fn name_images(&self, closure: &Closure) -> Result<Option<Digest>> {
        let mut root = None;
        for (descriptor, manifest) in closure.manifests() {
            if manifest.config.content() != Content::Config {
                continue;
            }
            names::set_id(&self.store, &manifest.config.digest, &descriptor.digest)?;
            if descriptor.digest == closure.root.digest {
                root = Some(manifest.config.digest);
            }
        }
        Ok(root)
    }

    /// Returns the descriptor of a manifest or index of the store.
    pub(super) fn descriptor(&self, digest: Digest) -> Result<Descriptor> {
        let bytes = self.store.read_blob(&digest)?;
        let document = Document::parse(&bytes).map_err(SourceError::from)?;
        Ok(Descriptor::of(document.media_type(), &bytes))
    }
}

impl Library {
    /// Returns a name for each tag of a repository, in the registry's order, `limit` at most; the text may not name a tag
    /// itself.
    pub fn remote_tags(&self, repository: &str, limit: usize) -> Result<Vec<Reference>> {
        let reference = Reference::parse(repository).map_err(SourceError::from)?;
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(ImagesError::MoreThanRepository {
                name: repository.to_owned(),
                repository: reference.familiar_name(),
            });
        }
        let (reference, tags) =
            self.asked(repository, |reference| self.web.client.tags(reference, limit))?;
        let named = tags.iter().map(|tag| reference.with_tag(tag));
        named
            .collect::<std::result::Result<_, _>>()
            .map_err(|error| SourceError::from(error).into())
    }

    /// Returns what a registry has about the image of a name: signatures, attestations, bills of materials. `kind` is an
    /// artifact type (OCI distribution specification 1.1, "Listing Referrers").
    pub fn referrers(&self, name: &str, kind: Option<&str>) -> Result<(Digest, Vec<Descriptor>)> {
        let client = &self.web.client;
        let ask = |reference: &Reference| {
            let digest = match reference.digest() {
                Some(digest) => digest,
                None => client.resolve(&reference.clone().or_latest())?.descriptor.digest,
            };
            Ok((digest, client.referrers(reference, digest, kind)?))
        };
        Ok(self.asked(name, ask)?.1)
    }
}
