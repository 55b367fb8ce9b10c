//! The list of images.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Library, Result, kept, unusable};
use crate::digest::Digest;
use crate::oci::{self, Content, Document, Platform, Reference};
use crate::source::image::Image;
use crate::source::{SourceError, names};
use crate::store::{RecordKind, StoreError};

/// How deeply indexes may lie in each other.
const DEEPEST: usize = 4;

/// An image of the local store, or several under one index.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its names, sorted; none if nobody gave it one or all were taken away.
    pub names: Vec<Reference>,
    /// The manifest or index.
    pub digest: Digest,
    /// The image; of several this machine's, or else the first.
    pub image: Image,
    /// What its images are made for, as far as they are here.
    pub platforms: Vec<Platform>,
    /// The bytes of the files of all its images that are here; layers that they share count once.
    pub size: u64,
}

impl Library {
    /// Lists the images of the local store, the newest first: what has a name, and what has only an id. Images of an
    /// index are in its place, and by themselves as well with `all`. One whose documents are not here is left out.
    pub fn list(&self, all: bool) -> Result<Vec<Listed>> {
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for (name, digest) in names::tags(&self.store)? {
            names.entry(digest).or_default().push(name);
        }
        let mut roots = self.identified()?;
        roots.extend(names.keys());
        let found = roots.into_iter().map(|digest| Ok((digest, self.members(digest)?)));
        let found = found.collect::<Result<Vec<_>>>()?;
        let inside = found.iter().flat_map(|(digest, members)| {
            members.iter().map(|image| image.digest).filter(move |member| member != digest)
        });
        let inside: BTreeSet<Digest> = inside.collect();
        let mut listed = Vec::new();
        for (digest, members) in found {
            let names = names.remove(&digest).unwrap_or_default();
            if all || !names.is_empty() || !inside.contains(&digest) {
                listed.extend(self.listed(names, digest, members)?);
            }
        }
        listed.sort_by_cached_key(|it| {
            (
                Reverse(it.image.config.created),
                it.names.is_empty(),
                it.names.clone(),
                it.digest.hex(),
            )
        });
        Ok(listed)
    }

    fn listed(
        &self,
        names: Vec<Reference>,
        digest: Digest,
        members: Vec<Image>,
    ) -> Result<Option<Listed>> {
        let mut layers = BTreeMap::new();
        for image in &members {
            let sizes = self.layer_sizes(image)?;
            layers.extend(image.config.rootfs.diff_ids.iter().copied().zip(sizes));
        }
        let size = layers.values().sum();
        let platforms = members.iter().map(|image| image.config.platform()).collect();
        let image = shown(&members).cloned();
        Ok(image.map(|image| Listed { names, digest, image, platforms, size }))
    }

    /// Returns the manifests and indexes that have an image id.
    fn identified(&self) -> Result<BTreeSet<Digest>> {
        let mut found = BTreeSet::new();
        for id in self.store.record_names(RecordKind::Image)? {
            found.extend(names::by_id(&self.store, &id)?);
        }
        Ok(found)
    }

    /// Returns the names of a manifest or index, sorted.
    pub fn names_of(&self, digest: Digest) -> Result<Vec<Reference>> {
        let tags = names::tags(&self.store)?;
        Ok(tags.into_iter().filter(|(_, named)| *named == digest).map(|(name, _)| name).collect())
    }

    /// Returns the images that a manifest or index of the store leads to, as far as their documents are here.
    pub fn members(&self, digest: Digest) -> Result<Vec<Image>> {
        let (mut found, mut next, mut seen) = (Vec::new(), vec![digest], BTreeSet::new());
        for _ in 0..=DEEPEST {
            for digest in std::mem::take(&mut next) {
                // Indexes that name each other's images again and again would never end.
                if !seen.insert(digest) {
                    continue;
                }
                match self.document(digest)? {
                    Some(Document::Index(index)) => next.extend(images_of(&index)),
                    Some(Document::Manifest(_)) => {
                        found.extend(self.images(false).resolve(&kept(digest)).ok());
                    }
                    None => {}
                }
            }
        }
        Ok(found)
    }

    /// Reads a manifest or index; `None` if it is not here, or is none.
    pub(super) fn document(&self, digest: Digest) -> Result<Option<Document>> {
        match self.store.read_blob(&digest) {
            Ok(bytes) => Ok(Document::parse(&bytes).ok()),
            Err(StoreError::Missing(_) | StoreError::Mismatch { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the image of the local store that a text means; of several the one for a platform, which without a wish
    /// is this machine's or, if there is none for it, the first. Nothing is pulled.
    pub fn image_for(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let (_, digest) = self.find(name)?;
        let members = self.members(digest)?;
        if members.is_empty() {
            // Says which document is missing.
            return self.images(false).resolve(&kept(digest)).map_err(unusable(name));
        }
        let found = match platform {
            Some(platform) => best(&members, platform),
            None => shown(&members),
        };
        found.cloned().ok_or_else(|| {
            let available = members.iter().map(|image| image.config.platform()).collect();
            let wanted = Box::new(platform.cloned().unwrap_or_default());
            unusable(name)(SourceError::from(oci::Error::NoPlatform { wanted, available }))
        })
    }
}

/// Returns the image that stands for all: this machine's, or else the first.
pub(super) fn shown(images: &[Image]) -> Option<&Image> {
    best(images, &Platform::host()).or(images.first())
}

/// Returns what an index names as images for a platform.
fn images_of(index: &oci::Index) -> impl Iterator<Item = Digest> {
    let is_image = |it: &&oci::Descriptor| {
        let attests = it.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        matches!(it.content(), Content::Manifest | Content::Index) && !attests
    };
    index.manifests.iter().filter(is_image).map(|it| it.digest)
}

/// Returns the image that suits a platform best.
fn best<'a>(images: &'a [Image], wanted: &Platform) -> Option<&'a Image> {
    let ranked =
        images.iter().filter_map(|image| Some((wanted.rank(&image.config.platform())?, image)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, image)| image)
}
