//! Where a finished image goes.
//!
//! An image is assembled once ([`image`]): a config, and for each layer where its tar can be had. Each output then
//! decides how layers are compressed and what is written around them. Blobs that exist are used as they are;
//! a layer is compressed when an output first wants it so, and kept.

mod blob;
mod docker;
pub mod image;
mod layout;
pub mod output;
mod place;
mod rootfs;
pub mod squash;

use std::io;
use std::path::PathBuf;

use crate::event::Cancel;
use crate::fs::PathError;
use crate::layer::LayerError;
use crate::oci::Reference;
use crate::snapshot::SnapshotError;
use crate::source::names;
use crate::store::{Store, StoreError};
use image::{Finished, Image};

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
    #[error("the build was canceled")]
    Canceled,
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
    pub fn export(&self, image: &Image, output: &Output, tags: &[Reference]) -> Result<Finished> {
        match output.kind {
            OutputKind::Image => {
                let finished = image::finish(self, image, output)?;
                let manifest = &finished.manifest.digest;
                names::set_id(self.store, &finished.config.digest, manifest)?;
                for tag in tags {
                    names::set_tag(self.store, tag, manifest)?;
                }
                Ok(finished)
            }
            OutputKind::Oci { tar } => layout::export(self, image, (output, tar), tags),
            OutputKind::Docker { tar } => docker::export(self, image, (output, tar), tags),
            OutputKind::Local => rootfs::export_directory(self, image, output),
            OutputKind::Tar => rootfs::export_tar(self, image, output),
        }
    }
}

/// One `--output`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// What is written.
    pub kind: OutputKind,
    /// Where to; `None` only for `Image`.
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
