//! What an image adds to a list, and which of a list's entries somebody means.

use super::super::{Library, Result, unusable};
use super::entry_error;
use crate::digest::Digest;
use crate::oci::{
    self, Content, Descriptor, Document, ImageConfig, Index, Manifest, Platform, Reference,
};
use crate::parallel;
use crate::registry::{Fetched, RegistryError};
use crate::source::blobs::Blobs;
use crate::source::closure::{Closure, Selection};
use crate::source::find::{Found, find};
use crate::source::nearest::NearestBlobs;
use crate::source::{SourceError, names};
use crate::store::StoreError;

/// How many configs are fetched at once.
const PARALLEL: usize = 4;

/// What stands before a name that is not to be looked for in the local store.
const REGISTRY: &str = "docker://";

/// Where an image is.
pub(super) enum Origin {
    /// In the local store, as far as it is here; the rest may be in these repositories.
    Store(Descriptor, Vec<Reference>),
    /// In a registry, under this name.
    Registry(Reference, Box<Fetched>),
}

impl Library {
    /// Returns the entries that stand for an image: itself, or all that its index names.
    pub(super) fn entries(&self, image: &str) -> Result<Vec<Descriptor>> {
        let closure = match self.origin(image)? {
            Origin::Store(root, places) => self.bring(&root, &places),
            Origin::Registry(place, found) => self.bring_from(&found.descriptor, Some(&place)),
        };
        let closure = closure.map_err(unusable(image))?;
        let root = closure.documents.last().map(|(_, bytes)| Document::parse(bytes));
        let entries = match root.transpose().map_err(SourceError::from)? {
            Some(Document::Index(index)) => index.manifests,
            Some(Document::Manifest(_)) | None => vec![closure.root.clone()],
        };
        let described = entries.into_iter().map(|entry| self.described(entry, &closure));
        described.collect::<std::result::Result<_, _>>().map_err(unusable(image))
    }

    /// Finds an image in the local store or else, and with `docker://` at once, in a registry.
    pub(super) fn origin(&self, image: &str) -> Result<Origin> {
        if let Some(name) = image.strip_prefix(REGISTRY) {
            let name = Reference::parse(name).map_err(SourceError::from)?.or_latest();
            return self.in_registry(&[name]).map_err(unusable(image));
        }
        let (name, digest) = match find(&self.store, image)? {
            Found::Name(name, digest) => (Some(name), digest),
            Found::Id(digest) => (None, digest),
            Found::Unknown(name) => {
                let candidates = match Reference::is_short(image) {
                    true => self.web.client.candidates(&name).map_err(SourceError::from)?,
                    false => vec![name],
                };
                return self.in_registry(&candidates).map_err(unusable(image));
            }
        };
        let places = name.into_iter().chain(self.names_of(digest)?).collect();
        Ok(Origin::Store(self.descriptor(digest)?, places))
    }

    fn in_registry(&self, candidates: &[Reference]) -> std::result::Result<Origin, SourceError> {
        let mut failures = Vec::new();
        for name in candidates {
            match self.web.client.resolve(name) {
                Ok(found) => return Ok(Origin::Registry(name.clone(), Box::new(found))),
                Err(RegistryError::Canceled) => return Err(SourceError::Canceled),
                Err(error) => failures.push((name.familiar_name(), error)),
            }
        }
        let name = candidates.first().map(Reference::familiar_name).unwrap_or_default();
        Err(match failures.len() {
            1 => failures.remove(0).1.into(),
            _ => RegistryError::Everywhere { name, failures }.into(),
        })
    }

    /// Brings the manifests and configs of an image here that are not: from wherever they are known to be, or else from
    /// the first of some repositories that has them all.
    pub(super) fn bring(
        &self,
        root: &Descriptor,
        places: &[Reference],
    ) -> std::result::Result<Closure, SourceError> {
        let mut brought = self.bring_from(root, None);
        for place in places {
            match &brought {
                Err(error) if error.is_missing() => brought = self.bring_from(root, Some(place)),
                _ => break,
            }
        }
        brought
    }

    fn bring_from(
        &self,
        root: &Descriptor,
        place: Option<&Reference>,
    ) -> std::result::Result<Closure, SourceError> {
        let blobs = NearestBlobs::new(&self.store, self.web.client.clone(), place);
        let closure = Closure::of(&blobs, root, &Selection::All)?;
        let configs: Vec<_> = closure.manifests().map(|(_, manifest)| manifest.config).collect();
        parallel::map(PARALLEL, &configs, |config| self.bring_config(&blobs, config))?;
        for (_, bytes) in &closure.documents {
            self.store.put_blob(bytes)?;
        }
        // A repository that has a document has what it names.
        for (blob, place) in closure.blobs.iter().flat_map(|blob| place.map(|it| (blob, it))) {
            names::remember_place(&self.store, blob.digest, place)?;
        }
        Ok(closure)
    }

    fn bring_config(
        &self,
        blobs: &NearestBlobs<'_>,
        config: &Descriptor,
    ) -> std::result::Result<(), SourceError> {
        let is_here = self.store.blob_size(&config.digest).is_some();
        if !is_here && config.content() == Content::Config {
            self.store.put_blob(&blobs.document(config)?)?;
        }
        Ok(())
    }

    /// Returns an entry with what a list says of an image: what it is made for, or what kind of artifact it is.
    fn described(
        &self,
        mut entry: Descriptor,
        closure: &Closure,
    ) -> std::result::Result<Descriptor, SourceError> {
        let manifest = closure.manifests().find(|(known, _)| known.digest == entry.digest);
        let Some((_, manifest)) = manifest else { return Ok(entry) };
        if entry.artifact_type.is_none() {
            entry.artifact_type = artifact_type(&manifest);
        }
        if entry.platform.is_none() {
            entry.platform = self.platform(&manifest)?;
        }
        Ok(entry)
    }

    /// Returns what an image is made for, as its config says.
    pub(super) fn platform(
        &self,
        manifest: &Manifest,
    ) -> std::result::Result<Option<Platform>, SourceError> {
        if manifest.config.content() != Content::Config {
            return Ok(None);
        }
        let config = match self.store.read_blob(&manifest.config.digest) {
            Err(StoreError::Missing(_)) => return Ok(None),
            config => ImageConfig::parse(&config?)?,
        };
        Ok(Some(config.platform()).filter(|_| !config.architecture.is_empty()))
    }

    /// Returns the entries of a list that somebody means: by a digest, or by an image that they are.
    pub(super) fn meant(&self, list: &str, index: &Index, image: &str) -> Result<Vec<Digest>> {
        let has = |digest: &Digest| index.manifests.iter().any(|entry| entry.digest == *digest);
        if let Some(digest) = image.parse().ok().filter(has) {
            return Ok(vec![digest]);
        }
        let (digest, document) = match self.origin(image) {
            Ok(Origin::Store(root, _)) => {
                let bytes = self.store.read_blob(&root.digest)?;
                (root.digest, Document::parse(&bytes).map_err(SourceError::from)?)
            }
            Ok(Origin::Registry(_, found)) => (found.descriptor.digest, found.document),
            Err(_) if image.parse::<Digest>().is_ok() => {
                return Err(entry_error(list, index, image, 0));
            }
            Err(error) => return Err(error),
        };
        let members = match document {
            Document::Index(index) if !has(&digest) => index.manifests,
            Document::Index(_) | Document::Manifest(_) => Vec::new(),
        };
        let all = members.iter().map(|member| member.digest).chain([digest]);
        let found: Vec<_> = all.filter(has).collect();
        match found.is_empty() {
            true => Err(entry_error(list, index, image, 0)),
            false => Ok(found),
        }
    }
}

/// Returns what kind of artifact a manifest is; `None`: an image.
fn artifact_type(manifest: &Manifest) -> Option<String> {
    let config = &manifest.config;
    let by_config = || Some(config.media_type.to_string());
    match config.content() {
        oci::Content::Config => manifest.artifact_type.clone(),
        _ => manifest.artifact_type.clone().or_else(by_config),
    }
}
