//! Manifests and indexes, of the OCI and of the Docker family, in one view.
//!
//! Field order and omissions are those of the Go structs, and documents are written with two spaces a level, so
//! that the digests agree with BuildKit's. Reading keeps nothing that kiln does not know: a manifest that must
//! keep its digest is passed on as the bytes it came in, never written again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::json::{self, is_default, or_default};
use super::{Content, Error, Family, MANIFEST_LIMIT, MediaType, Platform, content, media_type};
use crate::digest::Digest;

/// Points at a blob or a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: MediaType,
    /// Its bytes' digest.
    #[serde(with = "json::text")]
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else it can be had (foreign layers).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub urls: Vec<String>,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
    /// The bytes themselves, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// What the image is made for, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Describes bytes in memory.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Describes a blob.
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// Returns what it points at.
    pub fn content(&self) -> Content {
        content(&self.media_type)
    }

    /// Returns the same content under its name in `family`, as BuildKit converts layers: foreign layers become
    /// plain ones, and Docker descriptors carry no annotations. `None`: the family has no name for it.
    pub fn in_family(&self, family: Family) -> Option<Self> {
        let annotations = match family {
            Family::Oci => self.annotations.clone(),
            Family::Docker => BTreeMap::new(),
        };
        let media_type = media_type(self.content(), family)?;
        Some(Self { media_type, annotations, urls: Vec::new(), ..self.clone() })
    }
}

/// One image: a config and its layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    /// What it is; documents of other tools may leave it to the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Makes the manifest of an image.
    pub fn new(family: Family, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type(Content::Manifest, family),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Writes the manifest.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::pretty(self)
    }
}

/// Several images under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u32,
    /// What it is; documents of other tools may leave it to the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The images, attestations and further indexes.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Makes an index.
    pub fn new(family: Family, manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type(Content::Index, family),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Writes the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::pretty(self)
    }

    /// Parses an index that stands where only an index can, such as a layout's `index.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        json::parse("image index", bytes, MANIFEST_LIMIT)
    }

    /// Returns the image that suits `wanted` best: see [`Platform::rank`]. One that does not say what it is made
    /// for is taken only where nothing else suits. Nested indexes are the caller's to follow.
    pub fn select(&self, wanted: &Platform) -> Result<&Descriptor, Error> {
        let images = || {
            let is_image =
                |d: &&Descriptor| matches!(d.content(), Content::Manifest | Content::Index);
            self.manifests.iter().filter(is_image)
        };
        let ranked = images().filter_map(|d| Some((wanted.rank(d.platform.as_ref()?)?, d)));
        let best = ranked.min_by_key(|(rank, _)| *rank).map(|(_, descriptor)| descriptor);
        let best = best.or_else(|| images().find(|d| d.platform.is_none()));
        best.ok_or_else(|| {
            let platforms = images().filter_map(|d| d.platform.clone());
            let available = platforms.filter(|platform| platform.os != "unknown").collect();
            Error::NoPlatform { wanted: Box::new(wanted.clone()), available }
        })
    }
}

/// What a name in a registry or a layout leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time is alive, and both are read in full")]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

/// Enough of a document to see what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<MediaType>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses a manifest or an index.
    ///
    /// What the document says itself counts, then what it is made of. One that is both (a `config` or `layers`
    /// beside `manifests`) is refused: two tools could read two images from it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let shape: Shape = json::parse("manifest", bytes, MANIFEST_LIMIT)?;
        let unsupported = |what, found: String| Err(Error::Unsupported { what, found });
        if shape.schema_version != 2 {
            return unsupported("manifest type", format!("schema {}", shape.schema_version));
        }
        let image = shape.config.is_some() || shape.layers.is_some();
        let index = shape.manifests.is_some();
        let kind = match &shape.media_type {
            Some(name) => (content(name), name.to_string()),
            None if index => (Content::Index, String::new()),
            None => (Content::Manifest, String::new()),
        };
        match kind {
            (Content::Index, _) if !image => {
                Ok(Self::Index(json::parse("image index", bytes, MANIFEST_LIMIT)?))
            }
            (Content::Manifest, _) if !index => {
                Ok(Self::Manifest(json::parse("image manifest", bytes, MANIFEST_LIMIT)?))
            }
            (Content::Index | Content::Manifest, _) => {
                unsupported("manifest type", "manifest and index in one".to_owned())
            }
            (Content::Config | Content::Layer(_) | Content::Other, name) => {
                unsupported("manifest type", name)
            }
        }
    }

    /// Returns the media type that the document says or, where it says none, is.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(it) => it.media_type.clone().unwrap_or(MediaType::ImageManifest),
            Self::Index(it) => it.media_type.clone().unwrap_or(MediaType::ImageIndex),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(kind: Content, platform: Option<&str>) -> Descriptor {
        let mut it = Descriptor::of(media_type(kind, Family::Oci).unwrap(), b"");
        it.platform = platform.map(|text| match text {
            "unknown" => Platform {
                os: "unknown".into(),
                architecture: "unknown".into(),
                ..Platform::default()
            },
            text => Platform::parse(text).unwrap(),
        });
        it
    }

    #[test]
    fn documents_are_written_as_go_writes_them() {
        let mut layer = descriptor(Content::Layer(super::super::Compression::Gzip), None);
        layer.annotations.insert("b".into(), "2".into());
        layer.annotations.insert("a".into(), "<1>".into());
        let manifest =
            Manifest::new(Family::Oci, descriptor(Content::Config, None), vec![layer.clone()]);
        let expected = format!(
            r#"{{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": {{
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": "{EMPTY}",
    "size": 0
  }},
  "layers": [
    {{
      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
      "digest": "{EMPTY}",
      "size": 0,
      "annotations": {{
        "a": "\u003c1\u003e",
        "b": "2"
      }}
    }}
  ]
}}"#
        );
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), expected);
        let parsed = Document::parse(expected.as_bytes()).unwrap();
        assert_eq!(parsed.media_type(), MediaType::ImageManifest);
        assert_eq!(parsed, Document::Manifest(manifest));
        let docker = layer.in_family(Family::Docker).unwrap();
        assert_eq!(
            docker.media_type.to_string(),
            "application/vnd.docker.image.rootfs.diff.tar.gzip"
        );
        assert!(docker.annotations.is_empty());
    }

    #[test]
    fn the_best_platform_is_selected() {
        let platforms = ["unknown", "linux/386", "linux/arm/v5", "linux/arm/v6", "linux/arm64"];
        let all = platforms.map(|p| descriptor(Content::Manifest, Some(p)));
        let index = Index::new(Family::Docker, all.to_vec());
        let parsed = Document::parse(&index.to_bytes()).unwrap();
        assert_eq!(parsed, Document::Index(index.clone()));
        for (wanted, found) in [
            ("linux/amd64", "linux/386"),
            ("linux/arm/v7", "linux/arm/v6"),
            ("linux/arm/v5", "linux/arm/v5"),
            ("linux/arm64/v8", "linux/arm64"),
        ] {
            let selected = index.select(&Platform::parse(wanted).unwrap()).unwrap();
            assert_eq!(selected.platform.as_ref().unwrap().to_string(), found);
        }
        let error = index.select(&Platform::parse("linux/s390x").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "no image for platform `linux/s390x`");
        assert_eq!(
            error.hint().unwrap(),
            "the image is made for linux/386, linux/arm/v5, linux/arm/v6, linux/arm64; try --platform"
        );
    }

    #[test]
    fn an_image_without_platform_is_the_last_resort() {
        let index = Index::new(Family::Oci, vec![descriptor(Content::Manifest, None)]);
        assert!(index.select(&Platform::parse("linux/s390x").unwrap()).is_ok());
    }

    #[test]
    fn what_is_not_one_image_or_index_is_refused() {
        let config = format!(
            r#""config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{EMPTY}","size":0}}"#
        );
        let cases = [
            ("{}".to_owned(), "unsupported manifest type `schema 0`"),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
                "unsupported manifest type `schema 1`",
            ),
            (r#"{"schemaVersion":2}"#.to_owned(), "malformed image manifest"),
            (
                format!(r#"{{"schemaVersion":2,{config},"manifests":[]}}"#),
                "unsupported manifest type `manifest and index in one`",
            ),
            (
                r#"{"schemaVersion":2,"mediaType":"text/plain"}"#.to_owned(),
                "unsupported manifest type `text/plain`",
            ),
            (
                format!(r#"{{"schemaVersion":2,{}}}"#, config.replace("sha256", "sha512")),
                "malformed image manifest",
            ),
            (
                format!(r#"{{"schemaVersion":2,{}}}"#, config.replace(":0", ":-1")),
                "malformed image manifest",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(
                Document::parse(text.as_bytes()).unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
        let docker = format!(r#"{{"schemaVersion":2,{config},"layers":null}}"#);
        assert!(matches!(Document::parse(docker.as_bytes()).unwrap(), Document::Manifest(_)));
    }
}
