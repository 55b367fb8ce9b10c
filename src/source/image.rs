//! Base images: from the local store, a registry, or an OCI layout; resolved first, fetched only when needed.
//!
//! Resolving reads documents: manifest and config. Fetching streams the layers, several at once: each is verified,
//! kept as a blob, decompressed and unpacked in one pass. Layers that the store has under the same chain are not
//! fetched. Nothing of a layer is used before its digest and its diff id have been compared.

mod layer;
mod layout;
mod short_name;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

pub use short_name::first_found;

use super::SourceError;
use super::names::{known_chain, places, remember_chain, remember_place, set_id, set_tag, tag};
use super::unpacking::{Unpacked, explain, unpack_verified};
use crate::digest::{ChainId, Digest};
use crate::event::Cancel;
use crate::graph::{Base, ImageLocation, ImageRequest};
use crate::layer::{Contents, DirectoryContents, Tree};
use crate::oci::{self, Content, Descriptor, Document, ImageConfig, Manifest, Platform, Reference};
use crate::parallel;
use crate::registry::{Client, RegistryError};
use crate::snapshot::{LayerId, Snapshots};
use crate::store::{Store, StoreError};

/// How many layers are fetched at once.
const PARALLEL: usize = 4;

/// Finds and fetches images.
pub struct Images<'a> {
    store: &'a Store,
    client: Client,
    /// Whether a name is looked up again although the store knows it.
    pull: bool,
    cancel: Cancel,
    /// Whether an image gets its name only with every layer as its manifest has it.
    as_named: bool,
    resolved: Mutex<BTreeMap<ImageRequest, Image>>,
}

/// An image whose documents are known.
#[derive(Debug, Clone)]
pub struct Image {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The config.
    pub config: ImageConfig,
    origin: Origin,
    /// The name that it was looked up by in a registry, and the manifest or index that this means there.
    pulled: Option<(Reference, Digest)>,
}

impl Image {
    /// Returns the repository that it comes from, if it was looked up in a registry.
    pub fn repository(&self) -> Option<&Reference> {
        match &self.origin {
            Origin::Registry(repository) => Some(repository),
            Origin::Store | Origin::Layout(_) => None,
        }
    }
}

/// Where an image's blobs are, if the store does not have them.
#[derive(Debug, Clone)]
enum Origin {
    Store,
    Registry(Reference),
    Layout(PathBuf),
}

/// Layers that are ready to be used.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Lowest first.
    pub layers: Vec<LayerId>,
    /// What they make together.
    pub tree: Tree,
}

impl<'a> Images<'a> {
    /// Makes a finder.
    pub fn new(store: &'a Store, client: Client, pull: bool, cancel: Cancel) -> Self {
        Self { store, client, pull, cancel, as_named: false, resolved: Mutex::default() }
    }

    /// The same for whoever brings every layer here as the manifest has it, though the store may know its content: an
    /// image is not named before it is fetched.
    #[must_use]
    pub fn as_named(mut self) -> Self {
        self.as_named = true;
        self
    }

    /// Returns the documents of an image.
    pub fn resolve(&self, request: &ImageRequest) -> Result<Image, SourceError> {
        if let Some(known) = self.known(request) {
            return Ok(known);
        }
        let image = match &request.location {
            ImageLocation::Reference(reference) => {
                self.by_reference(reference, &request.platform)?
            }
            ImageLocation::Short(reference) => self.by_short_name(reference, &request.platform)?,
            ImageLocation::Manifest(digest) => {
                let read = |digest: &Digest| Ok(self.store.read_blob(digest)?);
                self.image_of(*digest, &request.platform, Origin::Store, &read)?
            }
            location @ ImageLocation::Layout(path, selector) => {
                let selected = (path.as_path(), selector.as_deref());
                self.by_layout(selected, &request.platform, location)?
            }
        };
        let mut resolved = self.resolved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        resolved.insert(request.clone(), image.clone());
        Ok(image)
    }

    fn known(&self, request: &ImageRequest) -> Option<Image> {
        let resolved = self.resolved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        resolved.get(request).cloned()
    }

    fn by_reference(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Image, SourceError> {
        let reference = reference.clone().or_latest();
        if !self.pull
            && let Some(image) = self.in_store(&reference, platform)?
        {
            return Ok(image);
        }
        match self.in_registry(&reference, platform) {
            // A name that only this machine has cannot be pulled. Any other failure must not pass for an answer.
            Err(SourceError::Registry(error)) if error.is_refusal() => {
                match if self.pull { self.in_store(&reference, platform)? } else { None } {
                    Some(image) => Ok(image),
                    None => Err(self.only_for_others(&reference, platform).unwrap_or(error.into())),
                }
            }
            found => found,
        }
    }

    /// Says for which platforms the store has a name that no registry has, if it is not for this one.
    fn only_for_others(&self, reference: &Reference, platform: &Platform) -> Option<SourceError> {
        let digest = tag(self.store, reference).ok()??;
        let available = match Document::parse(&self.store.read_blob(&digest).ok()?).ok()? {
            Document::Index(index) => return index.select(platform).err().map(SourceError::from),
            Document::Manifest(manifest) => {
                let config = self.store.read_blob(&manifest.config.digest).ok()?;
                vec![
                    ImageConfig::parse(&config)
                        .ok()
                        .filter(|it| !matches(it, platform))?
                        .platform(),
                ]
            }
        };
        Some(oci::Error::NoPlatform { wanted: Box::new(platform.clone()), available }.into())
    }

    fn in_store(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, SourceError> {
        let found = match reference.digest() {
            Some(digest) if self.store.blob_size(&digest).is_some() => Some(digest),
            Some(_) => None,
            None => tag(self.store, reference)?,
        };
        let Some(digest) = found else { return Ok(None) };
        let read = |digest: &Digest| Ok(self.store.read_blob(digest)?);
        match self.image_of(digest, platform, Origin::Store, &read) {
            Ok(image) if matches(&image.config, platform) => self.within_reach(image),
            Ok(_) => Ok(None),
            Err(SourceError::Store(StoreError::Missing(_))) => Ok(None),
            Err(SourceError::Document(oci::Error::NoPlatform { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns an image of the store if its layers are here, or if one repository is known to have those that are not:
    /// as those of a list's images may be.
    fn within_reach(&self, image: Image) -> Result<Option<Image>, SourceError> {
        let known = known_chain(self.store, &image.config.rootfs.diff_ids)?.len();
        let layers = image.manifest.layers.iter().skip(known).map(|layer| layer.digest);
        let mut missing = layers.filter(|layer| self.store.blob_size(layer).is_none());
        let Some(first) = missing.next() else { return Ok(Some(image)) };
        let mut common = places(self.store, first)?;
        for layer in missing {
            let places = places(self.store, layer)?;
            common.retain(|place| places.contains(place));
        }
        let origin = common.into_iter().next().map(Origin::Registry);
        Ok(origin.map(|origin| Image { origin, ..image }))
    }

    /// Returns whether all layers are here.
    pub fn is_whole(&self, image: &Image) -> Result<bool, SourceError> {
        let known = known_chain(self.store, &image.config.rootfs.diff_ids)?.len();
        let mut unknown = image.manifest.layers.iter().skip(known);
        Ok(unknown.all(|layer| self.store.blob_size(&layer.digest).is_some()))
    }

    fn in_registry(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Image, SourceError> {
        let digest = match self.unchanged(reference)? {
            Some(digest) => digest,
            None => self.store.put_blob(&self.client.resolve(reference)?.bytes)?,
        };
        let repository = reference.repository();
        let origin = Origin::Registry(repository.clone());
        let read = |digest: &Digest| self.registry_document(&repository, digest);
        let mut image = self.image_of(digest, platform, origin, &read)?;
        image.pulled = Some((reference.clone(), digest));
        let is_here = |layer: &Descriptor| self.store.blob_size(&layer.digest).is_some();
        if self.is_whole(&image)? && (!self.as_named || image.manifest.layers.iter().all(is_here)) {
            self.name(&image)?;
        }
        Ok(image)
    }

    /// Gives an image that was pulled its name, and its id, once it is whole: who is killed before leaves the name with
    /// what it meant.
    fn name(&self, image: &Image) -> Result<(), SourceError> {
        let Some((name, digest)) = &image.pulled else { return Ok(()) };
        set_tag(self.store, name, digest)?;
        set_id(self.store, &image.manifest.config.digest, &image.digest)
    }

    /// Returns what a name means if the store has that already, and the registry says that it still means that: a HEAD,
    /// which registries do not count as a pull.
    fn unchanged(&self, reference: &Reference) -> Result<Option<Digest>, SourceError> {
        let Some(known) = tag(self.store, reference)? else { return Ok(None) };
        if reference.digest().is_some() || self.store.blob_size(&known).is_none() {
            return Ok(None);
        }
        match self.client.head(reference) {
            Ok(Some(found)) => Ok(Some(known).filter(|known| *known == found.digest)),
            Err(RegistryError::Canceled) => Err(RegistryError::Canceled.into()),
            // Not all know HEAD; what is wrong is found out by GET.
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// Reads a manifest that an index names, or a config.
    fn registry_document(
        &self,
        repository: &Reference,
        digest: &Digest,
    ) -> Result<Vec<u8>, SourceError> {
        if self.store.blob_size(digest).is_some() {
            return Ok(self.store.read_blob(digest)?);
        }
        let bytes = self.client.resolve(&repository.with_digest(*digest))?.bytes;
        self.store.put_blob(&bytes)?;
        Ok(bytes)
    }

    fn registry_config(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, SourceError> {
        if self.store.blob_size(&descriptor.digest).is_some() {
            return Ok(self.store.read_blob(&descriptor.digest)?);
        }
        let bytes = self.client.blob_bytes(repository, descriptor, oci::CONFIG_LIMIT)?;
        self.store.put_blob(&bytes)?;
        remember_place(self.store, descriptor.digest, repository)?;
        Ok(bytes)
    }

    /// Follows a document down to one image.
    fn image_of(
        &self,
        mut digest: Digest,
        platform: &Platform,
        origin: Origin,
        read: &dyn Fn(&Digest) -> Result<Vec<u8>, SourceError>,
    ) -> Result<Image, SourceError> {
        let mut unnamed = false;
        // An index may name indexes; nobody nests them deeper.
        for _ in 0..4 {
            match Document::parse(&read(&digest)?)? {
                Document::Index(index) => {
                    let chosen = index.select(platform)?;
                    (digest, unnamed) = (chosen.digest, chosen.platform.is_none());
                }
                Document::Manifest(manifest) if manifest.config.content() != Content::Config => {
                    let kind = manifest.artifact_type.as_deref();
                    let kind = kind.unwrap_or(manifest.config.media_type.as_ref()).to_owned();
                    return Err(SourceError::Artifact { name: digest.to_string(), kind });
                }
                Document::Manifest(manifest) => {
                    let config = match &origin {
                        Origin::Registry(repository) => {
                            self.registry_config(repository, &manifest.config)?
                        }
                        Origin::Store | Origin::Layout(_) => read(&manifest.config.digest)?,
                    };
                    let config = ImageConfig::parse(&config)?;
                    // Where the index does not say what an image is for, its config does.
                    if unnamed && platform.rank(&config.platform()).is_none() {
                        let (wanted, available) =
                            (Box::new(platform.clone()), vec![config.platform()]);
                        return Err(oci::Error::NoPlatform { wanted, available }.into());
                    }
                    return Ok(Image { digest, manifest, config, origin, pulled: None });
                }
            }
        }
        Err(SourceError::ImageNotFound {
            reference: digest.to_string(),
            hint: Some("its indexes are nested too deeply".into()),
        })
    }

    /// Returns the config and digest of an image, as lowering wants them.
    pub fn base(&self, request: &ImageRequest) -> Result<Base, SourceError> {
        let image = self.resolve(request)?;
        Ok(Base { config: image.config, manifest: image.digest })
    }

    /// Brings the layers of a resolved image here and unpacks them. `progress` hears of bytes: what, so far, in all.
    pub fn fetch(
        &self,
        request: &ImageRequest,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> Result<Fetched, SourceError> {
        let image = self.resolve(request)?;
        let name = request.location.familiar();
        let diff_ids = &image.config.rootfs.diff_ids;
        if diff_ids.len() != image.manifest.layers.len() {
            return Err(SourceError::BadLayer {
                index: image.manifest.layers.len(),
                image: name,
                problem: "is in the manifest or in the config, but not in both".into(),
            });
        }
        let known = known_chain(self.store, diff_ids)?;
        if let Origin::Registry(repository) = &image.origin {
            for layer in image.manifest.layers.iter().take(known.len()) {
                if self.store.blob_size(&layer.digest).is_none() {
                    remember_place(self.store, layer.digest, repository)?;
                }
            }
        }
        let unpacked = self.unpack_missing(&image, &name, known.len(), progress)?;
        let fetched = self.stack(&image, &name, known, unpacked)?;
        self.name(&image)?;
        Ok(fetched)
    }

    /// Unpacks the layers above the first `known`, several at once, each by itself.
    fn unpack_missing(
        &self,
        image: &Image,
        name: &str,
        known: usize,
        progress: &(dyn Fn(&str, u64, u64) + Sync),
    ) -> Result<Vec<Unpacked>, SourceError> {
        let missing: Vec<usize> = (known..image.manifest.layers.len()).collect();
        parallel::map(PARALLEL, &missing, |index| self.layer(image, name, *index, progress))
    }

    /// Puts the layers on each other. One that needs the ones below it (an entry beneath a link of theirs) is
    /// unpacked again with their help.
    fn stack(
        &self,
        image: &Image,
        name: &str,
        known: Vec<LayerId>,
        unpacked: Vec<Unpacked>,
    ) -> Result<Fetched, SourceError> {
        let snapshots = Snapshots::new(self.store);
        let mut tree = Tree::empty();
        let mut layers = Vec::new();
        for id in known {
            tree = snapshots.stack(&tree, id)?;
            layers.push(id);
        }
        let first = layers.len();
        let chains = ChainId::of_each(&image.config.rootfs.diff_ids).skip(first);
        for ((offset, mut layer), chain) in unpacked.into_iter().enumerate().zip(chains) {
            let contents: std::sync::Arc<dyn Contents> =
                std::sync::Arc::new(DirectoryContents::open(&layer.files)?);
            tree = match tree.apply(&layer.changes, &contents) {
                Ok(next) => next,
                Err(_) => {
                    layer = self.unpack_on(image, name, first + offset, &tree)?;
                    let contents: std::sync::Arc<dyn Contents> =
                        std::sync::Arc::new(DirectoryContents::open(&layer.files)?);
                    tree.apply(&layer.changes, &contents)?
                }
            };
            let id =
                snapshots.commit_directory(&layer.changes, &layer.files, Some(layer.diff_id))?;
            layers.push(id);
            remember_chain(self.store, chain, id)?;
        }
        Ok(Fetched { layers, tree })
    }

    fn unpack_on(
        &self,
        image: &Image,
        name: &str,
        index: usize,
        parent: &Tree,
    ) -> Result<Unpacked, SourceError> {
        let descriptor = &image.manifest.layers[index];
        let mut blob = self.store.open_blob(&descriptor.digest)?;
        let files = self.store.scratch_dir()?;
        let bad =
            |problem: String| SourceError::BadLayer { index, image: name.to_owned(), problem };
        let (changes, diff_id) = unpack_verified(&mut blob, &files, Some(parent))
            .map_err(|error| explain(error, &bad))?;
        Ok(Unpacked { files, changes, diff_id })
    }
}

/// An image of another CPU is not what was asked for, unless nothing else can be had.
fn matches(config: &ImageConfig, platform: &Platform) -> bool {
    config.os == platform.os && config.architecture == platform.architecture
}
