//! File system changes and the layers made of them.
//!
//! [`Changes`] is the centre of kiln: the sorted list of what a step added, replaced or removed. Packing a layer,
//! COPY --from, cache keys, squash and diff all read it; none of them walks a file system again. A [`Tree`] is a
//! stack of changes seen as one file system, in memory; it is persistent (clones share), and it knows its
//! identity. Neither holds file contents: [`Contents`] says where they can be read.
//!
//! The types are here; encodings and algorithms are in the siblings.

mod ahead;
mod apply;
mod archive;
mod batch;
mod behind;
mod bundle;
mod changes;
mod compare;
mod compress;
mod contents;
mod diff;
mod difference;
mod disk;
mod duplicate;
mod edit;
mod encoding;
mod error;
mod graft;
mod gzip;
mod header;
mod materialise;
mod measure;
mod node;
mod pack;
mod parents;
mod path;
mod reader;
mod sequence;
mod sparse;
mod tree;
mod unpack;
pub mod whiteout;
mod xattrs;

use std::fs::File;
use std::io::Read;

pub use ahead::{Ahead, Reading};
pub use archive::{DEEPEST, Limits};
pub use behind::behind;
pub use bundle::Bundle;
pub use compress::{Compression, Encoder, Format, decoder, detect};
pub use contents::{DirectoryContents, Nowhere, Stoppable, TarContents, TreeContents};
pub use diff::{Found, Inode, Opacity, diff_upper, is_overlay_xattr};
pub use difference::{Aspect, Difference};
pub use disk::{Flavour, OverlayXattrs, Owners};
pub use duplicate::duplicate;
pub use edit::Edit;
pub use error::{LayerError, Result, check_depth};
pub use materialise::materialise;
pub use measure::file_bytes;
pub use node::{Children, Directory, LinkGroup, Node, NodeKind, Origin};
pub use pack::{PackOptions, pack, packed_size};
pub use path::TreePath;
pub use sequence::{Encoded, Item, Sequence};
pub use tree::{LastLink, Tree, Walk};
pub use unpack::{begins_archive, is_archive, read_archive, unpack};
pub use xattrs::Xattrs;

use crate::digest::ContentDigest;

/// A modification time. There are hundreds of thousands at times, which is why it has no gap at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(Rust, packed(4))]
pub struct Timestamp {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanoseconds: u32,
}

/// What every kind of file has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// What is in it.
        content: ContentDigest,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, exactly as stored.
        target: Vec<u8>,
    },
    /// Another name of the regular file (or device, or pipe) `to` of the same changes, which stands there as
    /// itself. Its metadata repeats that of `to`.
    Hardlink {
        /// The first name.
        to: TreePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The path is now this, whatever it was. A directory over a directory keeps what is in it.
    Put {
        /// What it is.
        kind: Kind,
        /// With which metadata.
        meta: Metadata,
    },
    /// The path, and everything beneath it, is gone.
    Remove,
    /// The path is a directory from which everything that lower layers had in it is gone; what this layer puts
    /// in it stays. Found only in layers made elsewhere (`.wh..wh..opq`).
    Clear {
        /// The directory's metadata.
        meta: Metadata,
    },
}

/// What a step did: at most one change a path, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes(Vec<(TreePath, Change)>);

/// Where the contents of the files of some changes or tree can be read.
pub trait Contents: Send + Sync {
    /// Opens a regular file from its beginning; hard links are opened by their first name.
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>>;

    /// Returns the file of this machine in which a content lies in one piece, and at which offset, if there is one.
    fn piece(&self, _path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        Ok(None)
    }
}
