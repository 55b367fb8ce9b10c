//! Where a finished image goes.

pub mod csv;
pub mod output;

use std::path::PathBuf;

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
