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
use super::blobs::{Blobs, LayoutBlobs, check, verified};
use crate::digest::{Digest, HashingReader};
use crate::fs;
use crate::layer::{Format, LastLink, LayerError, Node, NodeKind, Tree, TreePath, detect};
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
        let whole = self.names.iter().filter(|name| name.contains(['/', ':']));
        let read = whole.filter_map(|name| Reference::parse(name).ok());
        read.filter(|name| name.digest().is_none()).map(Reference::or_latest).collect()
    }
}

impl Saved {
    /// Opens an OCI layout directory.
    pub fn directory(path: &Path) -> Result<Self, SourceError> {
        let index = fs::read_start(&path.join("index.json"), MANIFEST_LIMIT + 1)?;
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

/// Reads a layout's `index.json`.
fn listed(bytes: &[u8]) -> Result<Vec<SavedImage>, SourceError> {
    let mut images: Vec<SavedImage> = Vec::new();
    for root in Index::parse(bytes)?.manifests {
        let named = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let name = named.iter().find_map(|key| root.annotations.get(*key)).cloned();
        match images.iter().position(|image| image.root.digest == root.digest) {
            Some(known) => images[known].names.extend(name),
            None if images.len() >= MOST_IMAGES => return Err(SourceError::NoImages),
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
    for image in list.iter().take(MOST_IMAGES) {
        let config = blobs.files.bytes(&image.config, oci::CONFIG_LIMIT)?;
        let expected = ImageConfig::parse(&config)?.rootfs.diff_ids.len();
        let paths = image.layers.clone().unwrap_or_default();
        if paths.len() != expected {
            return Err(SourceError::BadLayer {
                index: paths.len().min(expected),
                image: image.config.clone(),
                problem: "is in the list or in the config, but not in both".into(),
            });
        }
        let mut layers = Vec::with_capacity(paths.len());
        for path in paths {
            layers.push(blobs.described(path)?);
        }
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
    described: BTreeMap<String, Descriptor>,
}

impl ArchiveBlobs {
    fn new(files: Files) -> Self {
        let (made, paths, described) = Default::default();
        Self { files, made, paths, described }
    }

    /// Returns what a layer of a docker archive is.
    fn described(&mut self, path: String) -> Result<Descriptor, SourceError> {
        if let Some(known) = self.described.get(&path) {
            return Ok(known.clone());
        }
        let found = self.describe(path.clone())?;
        self.described.insert(path, found.clone());
        Ok(found)
    }

    fn describe(&mut self, path: String) -> Result<Descriptor, SourceError> {
        let mut reader = HashingReader::new(self.files.open(&path)?);
        let mut head = Vec::new();
        (&mut reader).take(6).read_to_end(&mut head).map_err(LayerError::Read)?;
        let compression = match detect(&head) {
            Format::Gzip => Compression::Gzip,
            Format::Zstd => Compression::Zstd,
            Format::Uncompressed | Format::Bzip2 | Format::Xz => Compression::None,
        };
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(LayerError::Read)?;
        let digest = reader.into_parts().1.digest();
        let size = self.files.find(&path).map_or(0, |found| self.files.size(&found));
        self.paths.insert(digest, path);
        let media = media_type(Content::Layer(compression), Family::Oci);
        Ok(Descriptor::new(media.unwrap_or(MediaType::ImageLayer), digest, size))
    }

    fn path(&self, digest: &Digest) -> String {
        let blob = || format!("blobs/sha256/{}", digest.hex());
        self.paths.get(digest).cloned().unwrap_or_else(blob)
    }
}

impl Blobs for ArchiveBlobs {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SourceError> {
        let digest = &descriptor.digest;
        if let Some(bytes) = self.made.get(digest) {
            return Ok(bytes.clone());
        }
        let path = self.path(digest);
        let bytes = self.files.bytes(&path, oci::CONFIG_LIMIT)?;
        check(&bytes, digest)?;
        Ok(bytes)
    }

    fn open(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, SourceError> {
        if let Some(bytes) = self.made.get(&descriptor.digest) {
            return Ok(Box::new(std::io::Cursor::new(bytes)));
        }
        verified(self.files.open(&self.path(&descriptor.digest))?, descriptor)
    }
}
