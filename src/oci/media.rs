//! Media types: what a descriptor points at, and its name in the OCI and in the Docker family.
//!
//! A media type that kiln does not know stays as it is; [`content`] answers `Content::Other`.

pub use oci_spec::image::MediaType;

/// Which family of names is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `application/vnd.oci.…`
    Oci,
    /// `application/vnd.docker.…` (schema 2), for old daemons and registries.
    Docker,
}

/// How the bytes of a layer blob are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// What a descriptor points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An index or a manifest list.
    Index,
    /// An image manifest.
    Manifest,
    /// An image config.
    Config,
    /// A layer; foreign layers too.
    Layer(Compression),
    /// Something else: an artifact, an attestation.
    Other,
}

const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Returns what a descriptor of this type points at.
pub fn content(media_type: &MediaType) -> Content {
    match media_type {
        MediaType::ImageIndex => Content::Index,
        MediaType::ImageManifest => Content::Manifest,
        MediaType::ImageConfig => Content::Config,
        MediaType::ImageLayer | MediaType::ImageLayerNonDistributable => {
            Content::Layer(Compression::None)
        }
        MediaType::ImageLayerGzip | MediaType::ImageLayerNonDistributableGzip => {
            Content::Layer(Compression::Gzip)
        }
        MediaType::ImageLayerZstd | MediaType::ImageLayerNonDistributableZstd => {
            Content::Layer(Compression::Zstd)
        }
        MediaType::Other(name) => docker_content(name),
        MediaType::Descriptor
        | MediaType::LayoutHeader
        | MediaType::ArtifactManifest
        | MediaType::EmptyJSON => Content::Other,
    }
}

fn docker_content(name: &str) -> Content {
    match name {
        DOCKER_LIST => Content::Index,
        DOCKER_MANIFEST => Content::Manifest,
        DOCKER_CONFIG => Content::Config,
        DOCKER_LAYER | DOCKER_FOREIGN => Content::Layer(Compression::None),
        DOCKER_LAYER_GZIP | DOCKER_FOREIGN_GZIP => Content::Layer(Compression::Gzip),
        DOCKER_LAYER_ZSTD => Content::Layer(Compression::Zstd),
        _ => Content::Other,
    }
}

/// Returns the name of a content in a family.
///
/// `None` for `Content::Other`, which has no name of its own, and for zstd in the Docker family, which no
/// Docker schema has: such an image needs OCI types.
pub fn media_type(content: Content, family: Family) -> Option<MediaType> {
    Some(match (family, content) {
        (_, Content::Other) | (Family::Docker, Content::Layer(Compression::Zstd)) => return None,
        (Family::Oci, Content::Index) => MediaType::ImageIndex,
        (Family::Oci, Content::Manifest) => MediaType::ImageManifest,
        (Family::Oci, Content::Config) => MediaType::ImageConfig,
        (Family::Oci, Content::Layer(Compression::None)) => MediaType::ImageLayer,
        (Family::Oci, Content::Layer(Compression::Gzip)) => MediaType::ImageLayerGzip,
        (Family::Oci, Content::Layer(Compression::Zstd)) => MediaType::ImageLayerZstd,
        (Family::Docker, Content::Index) => DOCKER_LIST.into(),
        (Family::Docker, Content::Manifest) => DOCKER_MANIFEST.into(),
        (Family::Docker, Content::Config) => DOCKER_CONFIG.into(),
        (Family::Docker, Content::Layer(Compression::None)) => DOCKER_LAYER.into(),
        (Family::Docker, Content::Layer(Compression::Gzip)) => DOCKER_LAYER_GZIP.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_content_it_was_made_for() {
        let layers = [Compression::None, Compression::Gzip, Compression::Zstd].map(Content::Layer);
        let documents = [Content::Index, Content::Manifest, Content::Config];
        for family in [Family::Oci, Family::Docker] {
            for kind in documents.into_iter().chain(layers) {
                if let Some(name) = media_type(kind, family) {
                    assert_eq!(content(&name), kind, "{name}");
                    assert_eq!(content(&name.to_string().as_str().into()), kind);
                }
            }
        }
        assert_eq!(media_type(Content::Layer(Compression::Zstd), Family::Docker), None);
        assert_eq!(content(&"application/vnd.in-toto+json".into()), Content::Other);
    }
}
