//! Where bytes enter: the context's files, base images, files from the web.
//!
//! Each source ends in layers or in a tree whose contents can be read. Everything that comes in is hostile: names
//! are joined beneath a root, sizes are bounded, digests are verified before use.

pub mod archive;
pub mod blobs;
pub mod closure;
pub mod context;
pub mod find;
pub mod http;
pub mod image;
pub mod keep;
pub mod names;
pub mod nearest;
pub mod saved;
mod unpacking;

use std::path::PathBuf;

pub(crate) use unpacking::Counted;

use crate::diagnostic::Blame;
use crate::fs::{PathError, remedy};
use crate::layer::LayerError;
use crate::snapshot::SnapshotError;
use crate::store::StoreError;

/// Why a source cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// An archive or layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A registry.
    #[error(transparent)]
    Registry(#[from] crate::registry::RegistryError),
    /// A document of an image.
    #[error(transparent)]
    Document(#[from] crate::oci::Error),
    /// A text that is no name of an image.
    #[error(transparent)]
    Name(#[from] crate::oci::ReferenceError),
    /// A line of an ignore file that means nothing.
    #[error("`{}`: {message}", file.display())]
    Ignore {
        /// The ignore file.
        file: PathBuf,
        /// What is wrong.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// An image that is neither in the store nor anywhere else.
    #[error("image `{reference}` not found")]
    ImageNotFound {
        /// What was asked for.
        reference: String,
        /// What to try.
        hint: Option<String>,
    },
    /// An index of whose images none is here.
    #[error("image `{0}` not found")]
    NothingOf(crate::digest::Digest),
    /// The beginning of an image id that several images have.
    #[error("`{0}` is the beginning of several image ids")]
    Ambiguous(String),
    /// What a name leads to is no image.
    #[error("`{name}` is no image but an artifact of type `{kind}`")]
    Artifact {
        /// Its digest.
        name: String,
        /// Its type.
        kind: String,
    },
    /// An archive that holds no images.
    #[error("there are no images in the archive")]
    NoImages,
    /// An archive that lists more images than anyone means.
    #[error("more than {0} images are listed")]
    TooManyImages(usize),
    /// A directory that should be an OCI layout.
    #[error("`{}` is no OCI layout", _0.display())]
    NoLayout(PathBuf),
    /// A file that an archive's list of images names.
    #[error("`{0}` is not in the archive")]
    NotInArchive(String),
    /// A blob of an archive or layout that is not what its descriptor says.
    #[error("blob `{digest}` {problem}")]
    BadBlob {
        /// Which.
        digest: crate::digest::Digest,
        /// A verb phrase.
        problem: String,
    },
    /// A layer that is not what its image says.
    #[error("layer {index} of `{image}` {problem}")]
    BadLayer {
        /// Which, from 0.
        index: usize,
        /// Of which image.
        image: String,
        /// A verb phrase.
        problem: String,
    },
    /// A download that failed.
    #[error("cannot download `{url}`: {problem}")]
    Download {
        /// From where.
        url: String,
        /// What happened.
        problem: String,
    },
    /// A download that a server does not give.
    #[error("cannot download `{url}`: the server answered {status}")]
    Refused {
        /// From where.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// A download that is not what it should be.
    #[error("`{url}` has the digest `{actual}`, not `{expected}`")]
    Checksum {
        /// From where.
        url: String,
        /// What `--checksum` says.
        expected: crate::digest::Digest,
        /// What came.
        actual: crate::digest::Digest,
    },
    /// The user stopped it.
    #[error("canceled")]
    Canceled,
}

impl SourceError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Document(error) => error.hint(),
            Self::Name(error) => error.hint(),
            _ if remedy(self).is_some() => remedy(self),
            Self::ImageNotFound { hint, .. } | Self::Ignore { hint, .. } => hint.clone(),
            Self::NoImages => Some(
                "kiln reads docker archives, OCI archives and OCI layouts; `kiln import` takes a root file system"
                    .into(),
            ),
            Self::NoLayout(_) => Some("a layout has the files `oci-layout` and `index.json`".into()),
            Self::NothingOf(_) => Some("pull it again: none of its images is here".into()),
            Self::Ambiguous(_) => Some("give more digits of the id".into()),
            Self::Path(_)
            | Self::Snapshot(_)
            | Self::Layer(_)
            | Self::BadLayer { .. }
            | Self::Artifact { .. }
            | Self::TooManyImages(_)
            | Self::NotInArchive(_)
            | Self::BadBlob { .. }
            | Self::Download { .. }
            | Self::Refused { .. }
            | Self::Checksum { .. }
            | Self::Canceled => None,
        }
    }

    /// Returns whether something is not where it should be.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::Store(StoreError::Missing(_))
            | Self::NotInArchive(_)
            | Self::Registry(crate::registry::RegistryError::NotFound(_)) => true,
            Self::Path(error) => error.is_not_found(),
            _ => false,
        }
    }

    /// Returns whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            _ if remedy(self).is_some() => Blame::Machine,
            Self::Ignore { .. }
            | Self::ImageNotFound { .. }
            | Self::Ambiguous(_)
            | Self::NothingOf(_)
            | Self::Artifact { .. }
            | Self::NoImages
            | Self::TooManyImages(_)
            | Self::NoLayout(_)
            | Self::NotInArchive(_)
            | Self::BadBlob { .. }
            | Self::Name(_)
            | Self::Checksum { .. }
            | Self::Layer(_)
            | Self::Document(_)
            | Self::BadLayer { .. } => Blame::Input,
            Self::Registry(error) if error.is_refusal() => Blame::Input,
            Self::Path(error) if error.is_of_input() => Blame::Input,
            Self::Refused { status: 400..500, .. } => Blame::Input,
            Self::Path(_)
            | Self::Store(_)
            | Self::Snapshot(_)
            | Self::Registry(_)
            | Self::Download { .. }
            | Self::Refused { .. }
            | Self::Canceled => Blame::Machine,
        }
    }
}
