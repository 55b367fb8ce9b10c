//! Where a finished image goes.
//!
//! An image is assembled once ([`image`]): a config, and for each layer where its tar can be had. What a build makes is
//! one image or, of several platforms, several under an index ([`product`]). Each output then decides how layers are
//! compressed and what is written around them. Blobs that exist are used as they are; a layer is compressed when an
//! output first wants it so, and kept.

pub mod archive;
pub mod blob;
pub mod compressed;
mod docker;
pub mod image;
mod layout;
pub mod output;
mod place;
pub mod product;
pub mod registry;
mod rootfs;
pub mod squash;

use std::io;
use std::path::PathBuf;

use crate::diagnostic::Blame;
use crate::event::Cancel;
use crate::fs::{PathError, remedy};
use crate::layer::LayerError;
use crate::oci::Reference;
use crate::snapshot::SnapshotError;
use crate::source::names;
use crate::store::{Store, StoreError};
use archive::{Format, Target};
use product::{Finished, Product};

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A source.
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    /// Standard output.
    #[error("cannot write to standard output")]
    Stdout(#[source] io::Error),
    /// Something that the format cannot hold.
    #[error("{0}")]
    Format(String),
    /// The build was stopped.
    #[error("canceled")]
    Canceled,
}

impl ExportError {
    /// Returns whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Format(_) => Blame::Input,
            Self::Source(error) => error.blame(),
            Self::Path(_)
            | Self::Store(_)
            | Self::Snapshot(_)
            | Self::Layer(_)
            | Self::Stdout(_)
            | Self::Canceled => Blame::Machine,
        }
    }

    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Path(_)
            | Self::Snapshot(_)
            | Self::Layer(_)
            | Self::Stdout(_)
            | Self::Format(_)
            | Self::Canceled => None,
        };
        hint.or_else(|| remedy(self))
    }
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, ExportError>;

/// What exporting needs besides the image.
pub struct Exporter<'a> {
    /// The store.
    pub store: &'a Store,
    /// Hears of bytes: what, so far, in all (0: not known).
    pub progress: &'a (dyn Fn(&str, u64, u64) + Sync),
    /// When to stop.
    pub cancel: &'a Cancel,
}

impl Exporter<'_> {
    /// Writes one output under these names.
    pub fn export(
        &self,
        product: &Product,
        output: &Output,
        tags: &[Reference],
    ) -> Result<Finished> {
        match output.kind {
            OutputKind::Image => self.keep(product, output, tags),
            OutputKind::Oci { tar } => self.archive(product, (output, Format::Oci, tar), tags),
            OutputKind::Docker { tar } => {
                self.archive(product, (output, Format::Docker, tar), tags)
            }
            OutputKind::Local => rootfs::export_directory(self, product, output),
            OutputKind::Tar => rootfs::export_tar(self, product, output),
        }
    }

    fn archive(
        &self,
        product: &Product,
        (output, format, tar): (&Output, Format, bool),
        tags: &[Reference],
    ) -> Result<Finished> {
        let dest = output.dest.as_ref().ok_or_else(|| {
            ExportError::Format("this output needs a destination: `dest=PATH`".into())
        })?;
        archive::export(self, product, (output, format, Target { dest, tar }), tags)
    }

    /// Puts the images into the local store: what is there has an id, and names if it was given any.
    fn keep(&self, product: &Product, output: &Output, tags: &[Reference]) -> Result<Finished> {
        let finished = product::finish(self, product, output)?;
        for image in &finished.images {
            names::set_id(self.store, &image.config.digest, &image.manifest.digest)?;
        }
        let root = &finished.root.digest;
        if finished.config().is_none() {
            // There is no config that could stand for all images: the index has its own digest as its id.
            names::set_id(self.store, root, root)?;
        }
        for tag in tags {
            names::set_tag(self.store, tag, root)?;
        }
        Ok(finished)
    }
}

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What is written.
    pub kind: OutputKind,
    /// Where to; `None` for `Image`, and for an archive that is to be loaded: the caller gives it a place.
    pub dest: Option<Dest>,
    /// `name=`: names given in the output itself, besides `--tag`.
    pub names: Vec<String>,
    /// `compression=`; `None`: gzip for new layers, existing blobs as they are.
    pub compression: Option<CompressionKind>,
    /// `compression-level=`
    pub level: Option<i32>,
    /// `force-compression=`: layers that exist in another compression are packed again.
    pub force_compression: bool,
    /// `oci-mediatypes=`; `None`: the exporter's default.
    pub oci_media_types: Option<bool>,
    /// `rewrite-timestamp=`: file times later than SOURCE_DATE_EPOCH become it.
    pub rewrite_timestamp: bool,
    /// `push=`: the image goes to the registries of its names as well.
    pub push: bool,
    /// `push-by-digest=`: the repositories get the image, but no name.
    pub push_by_digest: bool,
    /// `registry.insecure=`: the registries need not prove who they are.
    pub insecure: bool,
    /// `platform-split=`: whether each platform's files are in a directory of their own; `None`: if there is an index.
    pub platform_split: Option<bool>,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// An OCI layout; `tar=false`: a directory.
    Oci {
        /// One tar instead of a directory.
        tar: bool,
    },
    /// An archive that `docker load` reads; `tar=false`: the same files in a directory.
    Docker {
        /// One tar instead of a directory.
        tar: bool,
    },
    /// The root file system as a directory.
    Local,
    /// The root file system as a tar.
    Tar,
    /// The local store.
    Image,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dest {
    /// A path.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

/// `compression=`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionKind {
    /// `gzip`
    Gzip,
    /// `zstd`
    Zstd,
    /// `uncompressed`
    Uncompressed,
}
