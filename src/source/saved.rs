//! Images in files: an OCI layout directory, an OCI archive, a docker archive (`docker save`, Docker image
//! specification 1.2), compressed or not.
//!
//! An archive is read once, into a scratch file; what it is, its content says. A docker archive names no manifests:
//! they are made, of the layers as they are, so that the same archive gives the same image everywhere.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::SourceError;
use super::archive;
use super::blobs::{Blobs, LayoutBlobs, check, damaged, named_by, verified};
use crate::digest::{DiffId, Digest, HashingReader};
use crate::fs;
use crate::layer::{Format, LastLink, LayerError, Node, NodeKind, Tree, TreePath, decoder, detect};
use crate::oci::{
    self, Compression, Content, Descriptor, Family, ImageConfig, Index, MANIFEST_LIMIT, Manifest,
    MediaType, Reference, media_type,
};
use crate::store::Store;

/// How many images one archive may hold.
const MOST_IMAGES: usize = 1000;

/// Images that were found in a file or directory.
pub struct Saved {
    /// Where their blobs are.
    pub blobs: Box<dyn Blobs>,
    /// The images, in the order in which they are listed.
    pub images: Vec<SavedImage>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedImage {
    /// Its manifest or index.
    pub root: Descriptor,
    /// Its names, as they are spelled there: whole ones, or bare tags.
    pub names: Vec<String>,
}

impl SavedImage {
    /// Returns the names that are whole; a bare tag is not, and one with a digest could be another image's.
    pub fn references(&self) -> Vec<Reference> {
        let mut references: Vec<_> = self.whole().filter_map(|name| reference(name)).collect();
        references.dedup();
        references
    }

    /// Returns what is spelled like a whole name and cannot be given to an image.
    pub fn odd_names(&self) -> Vec<String> {
        self.whole().filter(|name| reference(name).is_none()).cloned().collect()
    }

    fn whole(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| name.contains(['/', ':']))
    }
}

impl Saved {
    /// Opens an OCI layout directory.
    pub fn directory(path: &Path) -> Result<Self, SourceError> {
        let index = match fs::read_regular(&path.join("index.json"), MANIFEST_LIMIT + 1) {
            Err(error) if error.is_not_found() && path.exists() => {
                return Err(SourceError::NoLayout(path.to_owned()));
            }
            read => read?,
        };
        Ok(Self { images: listed(&index)?, blobs: Box::new(LayoutBlobs::new(path)) })
    }

    /// Reads an archive.
    pub fn archive(input: impl Read + Send, store: &Store) -> Result<Self, SourceError> {
        let files = Files(archive::read(input, store)?);
        match (files.read("index.json")?, files.read("manifest.json")?) {
            (Some(index), docker) if files.has("oci-layout") => {
                let mut images = listed(&index)?;
                let blobs = ArchiveBlobs::new(files);
                if let Some(docker) = docker {
                    add_tags(&mut images, &parse_docker(&docker)?, &blobs)?;
                }
                Ok(Self { images, blobs: Box::new(blobs) })
            }
            (_, Some(docker)) => docker_archive(files, &docker),
            (_, None) => Err(SourceError::NoImages),
        }
    }
}

fn reference(name: &str) -> Option<Reference> {
    let reference = Reference::parse(name).ok()?;
    reference.can_be_given().then(|| reference.or_latest())
}

/// Reads a layout's `index.json`.
fn listed(bytes: &[u8]) -> Result<Vec<SavedImage>, SourceError> {
    let mut images: Vec<SavedImage> = Vec::new();
    for root in Index::parse(bytes)?.manifests {
        let named = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let name = named.iter().find_map(|key| root.annotations.get(*key)).cloned();
        match images.iter().position(|image| image.root.digest == root.digest) {
            Some(known) => images[known].names.extend(name),
            None if images.len() >= MOST_IMAGES => {
                return Err(SourceError::TooManyImages(MOST_IMAGES));
            }
            None => images.push(SavedImage { root, names: name.into_iter().collect() }),
        }
    }
    Ok(images)
}

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

fn parse_docker(bytes: &[u8]) -> Result<Vec<DockerImage>, SourceError> {
    serde_json::from_slice(bytes)
        .map_err(|source| oci::Error::Malformed { what: "manifest.json", source }.into())
}

/// Gives images without a name those that docker's list has for their configs.
fn add_tags(
    images: &mut [SavedImage],
    docker: &[DockerImage],
    blobs: &dyn Blobs,
) -> Result<(), SourceError> {
    for image in images.iter_mut().filter(|image| image.names.is_empty()) {
        let Ok(oci::Document::Manifest(manifest)) =
            oci::Document::parse(&blobs.document(&image.root)?)
        else {
            continue;
        };
        let hex = manifest.config.digest.hex();
        let same = docker.iter().find(|listed| listed.config.contains(&hex));
        image.names.extend(same.and_then(|listed| listed.repo_tags.clone()).unwrap_or_default());
    }
    Ok(())
}

/// Makes manifests of what docker's list names.
fn docker_archive(files: Files, list: &[u8]) -> Result<Saved, SourceError> {
    let mut blobs = ArchiveBlobs::new(files);
    let mut images = Vec::new();
    let list = parse_docker(list)?;
    if list.len() > MOST_IMAGES {
        return Err(SourceError::TooManyImages(MOST_IMAGES));
    }
    for image in &list {
        let config = blobs.files.bytes(&image.config, oci::CONFIG_LIMIT)?;
        let layers = blobs.layers(image, &ImageConfig::parse(&config)?)?;
        let config_type =
            media_type(Content::Config, Family::Oci).unwrap_or(MediaType::ImageConfig);
        let described = Descriptor::of(config_type, &config);
        blobs.made.insert(described.digest, config);
        let bytes = Manifest::new(Family::Oci, described, layers).to_bytes();
        let root = Descriptor::of(MediaType::ImageManifest, &bytes);
        blobs.made.insert(root.digest, bytes);
        images.push(SavedImage { root, names: image.repo_tags.clone().unwrap_or_default() });
    }
    Ok(Saved { blobs: Box::new(blobs), images })
}

/// The files of an archive.
struct Files(Tree);

impl Files {
    /// Returns the path of a file, links followed; `None`: there is none.
    fn find(&self, name: &str) -> Option<TreePath> {
        let path = TreePath::clean(name)?;
        let path = self.0.resolve(&path, LastLink::Follow).ok()?;
        matches!(self.0.get(&path)?.body(), NodeKind::File { .. }).then_some(path)
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn missing(name: &str) -> SourceError {
        SourceError::NotInArchive(name.to_owned())
    }

    fn size(&self, path: &TreePath) -> u64 {
        match self.0.get(path).map(Node::body) {
            Some(NodeKind::File { size, .. }) => *size,
            _ => 0,
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        let path = self.find(name).ok_or_else(|| Self::missing(name))?;
        Ok(self.0.open(&path)?)
    }

    /// Reads a small file; `None`: there is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match self.has(name) {
            true => self.bytes(name, MANIFEST_LIMIT).map(Some),
            false => Ok(None),
        }
    }

    fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
        let path = self.find(name).ok_or_else(|| Self::missing(name))?;
        let size = self.size(&path);
        if size > limit {
            return Err(oci::Error::TooLarge { what: "file of the archive", size, limit }.into());
        }
        let mut bytes = Vec::new();
        self.0.open(&path)?.read_to_end(&mut bytes).map_err(LayerError::Read)?;
        Ok(bytes)
    }
}

struct ArchiveBlobs {
    files: Files,
    /// Documents that the archive does not hold under their digests.
    made: BTreeMap<Digest, Vec<u8>>,
    /// Layers that the archive does not hold under their digests.
    paths: BTreeMap<Digest, String>,
    /// What is known of the archive's layers, by path: images share them, and each is read whole for it.
    described: BTreeMap<String, (Descriptor, DiffId)>,
}

impl ArchiveBlobs {
    /// Finds out what the layers of an image of a docker archive are. No digest stands for them there but the diff ids
    /// in the config.
    fn layers(
        &mut self,
        image: &DockerImage,
        config: &ImageConfig,
    ) -> Result<Vec<Descriptor>, SourceError> {
        let (paths, diff_ids) = (image.layers.clone().unwrap_or_default(), &config.rootfs.diff_ids);
        let bad =
            |index, problem| SourceError::BadLayer { index, image: image.config.clone(), problem };
        if paths.len() != diff_ids.len() {
            let index = paths.len().min(diff_ids.len());
            return Err(bad(index, "is in the list or in the config, but not in both".into()));
        }
        let mut layers = Vec::with_capacity(paths.len());
        for (index, (path, expected)) in paths.into_iter().zip(diff_ids).enumerate() {
            let (layer, actual) = self.described(path)?;
            if actual != *expected {
                return Err(bad(index, format!("has the diff id `{actual}`, not `{expected}`")));
            }
            layers.push(layer);
        }
        Ok(layers)
    }

    fn new(files: Files) -> Self {
        let (made, paths, described) = Default::default();
        Self { files, made, paths, described }
    }

    /// Returns what a layer of a docker archive is; images may share it.
    fn described(&mut self, path: String) -> Result<(Descriptor, DiffId), SourceError> {
        if let Some(known) = self.described.get(&path) {
            return Ok(known.clone());
        }
        let found = self.describe(path.clone())?;
        self.described.insert(path, found.clone());
        Ok(found)
    }

    /// Finds out what a layer of a docker archive is.
    fn describe(&mut self, path: String) -> Result<(Descriptor, DiffId), SourceError> {
        let mut head = Vec::new();
        self.files.open(&path)?.take(6).read_to_end(&mut head).map_err(LayerError::Read)?;
        let compression = match detect(&head) {
            Format::Gzip => Compression::Gzip,
            Format::Zstd => Compression::Zstd,
            Format::Uncompressed | Format::Bzip2 | Format::Xz => Compression::None,
        };
        let mut blob = HashingReader::new(self.files.open(&path)?);
        let mut tar = HashingReader::new(decoder(&mut blob).map_err(LayerError::Read)?);
        std::io::copy(&mut tar, &mut std::io::sink()).map_err(LayerError::Read)?;
        let diff_id = tar.into_parts().1.diff_id();
        std::io::copy(&mut blob, &mut std::io::sink()).map_err(LayerError::Read)?;
        let digest = blob.into_parts().1.digest();
        let size = self.files.find(&path).map_or(0, |found| self.files.size(&found));
        self.paths.insert(digest, path);
        let media = media_type(Content::Layer(compression), Family::Oci);
        Ok((Descriptor::new(media.unwrap_or(MediaType::ImageLayer), digest, size), diff_id))
    }

    /// Returns where a blob is.
    fn path(&self, digest: &Digest) -> Result<String, SourceError> {
        let blob = || format!("blobs/sha256/{}", digest.hex());
        let path = self.paths.get(digest).cloned().unwrap_or_else(blob);
        match self.made.contains_key(digest) || self.files.has(&path) {
            true => Ok(path),
            false => Err(SourceError::NotInArchive(path)),
        }
    }
}

impl Blobs for ArchiveBlobs {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let digest = &descriptor.digest;
        if let Some(bytes) = self.made.get(digest) {
            return Ok(bytes.clone());
        }
        let bytes = self.files.bytes(&self.path(digest)?, oci::CONFIG_LIMIT)?;
        check(&bytes, descriptor)?;
        for named in named_by(&bytes, descriptor) {
            self.path(&named)?;
        }
        Ok(bytes)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        if let Some(bytes) = self.made.get(&descriptor.digest) {
            return Ok(Box::new(std::io::Cursor::new(bytes)));
        }
        let path = self.path(&descriptor.digest)?;
        verified(self.files.open(&path)?, descriptor, damaged(descriptor.digest))
    }
}
