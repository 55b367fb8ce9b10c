//! What the entries of an archive mean: the part that unpacking a layer and reading an archive for ADD share.
//!
//! Invariant: every path is resolved, links and all, in the tree as it is at that moment (lower layers and what
//! the archive has put there so far), so it lies beneath the root and none of its parents is a link. As containerd
//! does it: `..` stops at the root, an absolute path begins there, the last entry of a name wins. A hard link
//! in a layer has the metadata of its file; a file that ADD unpacks has that of its last name, as Docker's archiver
//! gives it. A character device 0:0, which overlayfs takes for a whiteout, is one.
//!
//! Contents go to the [`Sink`]; the tree and the changes come out of the [`Edit`].

use std::collections::HashMap;
use std::io::Read;

use super::diff::is_internal_xattr;
use super::edit::Edit;
use super::error::{LayerError, Result};
use super::node::{LinkGroup, Node, NodeKind, Origin};
use super::reader::{RawEntry, Reader};
use super::tree::{LastLink, default_directory};
use super::unpack::Sink;
use super::whiteout::{Marker, marker};
use super::{Kind, Metadata, TreePath};
use crate::digest::{ContentDigest, ContentHasher};

const BUFFER: usize = 256 << 10;

/// Bytes of all names, link targets and attributes together: what an archive may make us keep in memory.
const MOST_METADATA: u64 = 256 << 20;

/// How many directories may lie in one another, in an archive, a context or what a step leaves.
pub const DEEPEST: u64 = 512;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries: u64,
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// Directories above an entry.
    pub depth: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 2_000_000, bytes: 256 << 30, depth: DEEPEST }
    }
}

/// Whether names like `.wh.file` mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// As in a layer.
    Apply,
    /// As in an archive that is added.
    Ordinary,
}

/// An archive on its way into a tree.
pub(super) struct Extraction<'a> {
    pub(super) edit: Edit,
    pub(super) sink: Sink<'a>,
    pub(super) whiteouts: Whiteouts,
    pub(super) limits: Limits,
    pub(super) buffer: Vec<u8>,
    /// What files with several names have of the last one, which is theirs once all entries are known: to look for a
    /// file's other names at each of them would take time as the square of their number.
    last_names: HashMap<LinkGroup, Metadata>,
}

impl<'a> Extraction<'a> {
    pub(super) fn new(edit: Edit, sink: Sink<'a>, whiteouts: Whiteouts, limits: Limits) -> Self {
        let last_names = HashMap::new();
        Self { edit, sink, whiteouts, limits, buffer: vec![0; BUFFER], last_names }
    }

    /// Takes every entry of the archive, and reads the input to its end.
    pub(super) fn run(&mut self, input: impl Read) -> Result<()> {
        let mut reader = Reader::new(input);
        let (mut entries, mut bytes, mut metadata) = (0u64, 0u64, 0u64);
        while let Some(entry) = reader.next()? {
            entries += 1;
            bytes = bytes.saturating_add(entry.size);
            check("entries", entries, self.limits.entries)?;
            check("bytes", bytes, self.limits.bytes)?;
            metadata += kept(&entry);
            check("bytes of names and attributes", metadata, MOST_METADATA)?;
            self.take(entry, &mut reader)?;
        }
        self.edit.describe_groups(&std::mem::take(&mut self.last_names))?;
        let most = self.limits.bytes - bytes;
        check("bytes", bytes.saturating_add(reader.drain(most)?), self.limits.bytes)
    }

    fn take<R: Read>(&mut self, mut entry: RawEntry, reader: &mut Reader<R>) -> Result<()> {
        let path = TreePath::clean(&entry.name)
            .ok_or_else(|| refuse(&entry, "has a zero byte in its name"))?;
        check("directories above an entry", path.components().count() as u64, self.limits.depth)?;
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return self.take_root(&entry);
        };
        let mark = match self.whiteouts {
            Whiteouts::Apply => marker(name),
            Whiteouts::Ordinary => Marker::None,
        };
        if mark == Marker::Ignored {
            return Ok(());
        }
        if mark == Marker::Invalid {
            return Err(refuse(&entry, "is a whiteout of nothing"));
        }
        let parent = self.parent(&parent, &entry)?;
        let beneath =
            |name: &[u8]| parent.join(name).ok_or_else(|| refuse(&entry, "has an impossible name"));
        match mark {
            Marker::Opaque => self.clear(&parent),
            Marker::Gone(name) => self.whiteout(&beneath(name)?),
            Marker::None | Marker::Ignored | Marker::Invalid => {
                let path = beneath(name)?;
                entry.xattrs.retain(|name, _| !is_internal_xattr(name) && is_xattr(name));
                self.place(&path, &entry, reader)
            }
        }
    }

    fn take_root(&mut self, entry: &RawEntry) -> Result<()> {
        if entry.flag != b'5' {
            return Err(refuse(entry, "would replace the root directory"));
        }
        self.edit.put(&TreePath::root(), Node::directory(meta(entry)))
    }

    /// Resolves the directory an entry lies in and makes it if need be.
    fn parent(&mut self, parent: &TreePath, entry: &RawEntry) -> Result<TreePath> {
        let parent = self.edit.tree().resolve(parent, LastLink::Follow)?;
        if self.edit.tree().get(&parent).is_none_or(|node| !node.is_directory()) {
            let made = self.edit.mkdir_all(&parent, &default_directory());
            made.map_err(|_| refuse(entry, "lies beneath something that is no directory"))?;
        }
        Ok(parent)
    }

    fn clear(&mut self, directory: &TreePath) -> Result<()> {
        if directory.is_root() {
            // Overlayfs has no opaque root; what is in it must be named.
            for child in self.edit.base_children(directory) {
                if !self.edit.has_put_beneath(&child) {
                    self.whiteout(&child)?;
                }
            }
            return Ok(());
        }
        self.edit.clear(directory)
    }

    fn whiteout(&mut self, path: &TreePath) -> Result<()> {
        self.edit.whiteout(path)?;
        self.sink.remove(path)
    }

    fn place<R: Read>(
        &mut self,
        path: &TreePath,
        entry: &RawEntry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let (major, minor) = entry.device;
        let kind = match entry.flag {
            b'0' | b'S' => return self.place_file(path, entry, reader),
            b'1' => return self.place_link(path, entry),
            b'2' if entry.link.is_empty() || entry.link.contains(&0) => {
                return Err(refuse(entry, "is a symbolic link to nowhere"));
            }
            b'2' => Kind::Symlink { target: entry.link.clone() },
            b'3' if (major, minor) == (0, 0) => return self.whiteout(path),
            b'3' => Kind::CharDevice { major, minor },
            b'4' => Kind::BlockDevice { major, minor },
            b'5' => {
                self.sink.directory(path)?;
                return self.edit.put(path, Node::directory(meta(entry)));
            }
            b'6' => Kind::Fifo,
            _ => return Err(refuse(entry, "is of an unknown type")),
        };
        self.sink.special(path, &kind, &meta(entry))?;
        self.put(path, &kind, meta(entry), None)
    }

    fn put(
        &mut self,
        path: &TreePath,
        kind: &Kind,
        meta: Metadata,
        origin: Option<Origin>,
    ) -> Result<()> {
        let nowhere = || Origin::new(super::Nowhere::shared(), path);
        let node = Node::of(kind, meta, || origin.unwrap_or_else(nowhere));
        node.map_or(Ok(()), |node| self.edit.put(path, node))
    }

    fn place_file<R: Read>(
        &mut self,
        path: &TreePath,
        entry: &RawEntry,
        reader: &mut Reader<R>,
    ) -> Result<()> {
        let meta = meta(entry);
        let mut writing = self.sink.create(path, &meta)?;
        let mut hasher = ContentHasher::new();
        let mut size = 0;
        loop {
            let n = reader.read_content(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            hasher.update(&self.buffer[..n]);
            self.sink.write(&mut writing, path, &self.buffer[..n])?;
            size += n as u64;
        }
        let content: ContentDigest = hasher.content();
        let origin = self.sink.close(writing, (path, &meta, size))?;
        self.put(path, &Kind::File { size, content }, meta, origin)
    }

    fn place_link(&mut self, path: &TreePath, entry: &RawEntry) -> Result<()> {
        let to = TreePath::clean(&entry.link).unwrap_or_default();
        let (Some(parent), Some(name)) = (to.parent(), to.name()) else {
            return Err(refuse(entry, "is a hard link to no file"));
        };
        let parent = self.edit.tree().resolve(&parent, LastLink::Follow)?;
        let to = parent.join(name).unwrap_or_default();
        let Some(file) = self.edit.tree().get(&to) else {
            return Err(refuse(entry, "is a hard link to a file that is not there"));
        };
        if file.is_directory() {
            return Err(refuse(entry, "is a hard link to a directory"));
        }
        if *path == to {
            return Err(refuse(entry, "is a hard link to itself"));
        }
        if to.starts_with(path) {
            return Err(refuse(entry, "is a hard link to a file that it would replace"));
        }
        // A second name of a symbolic link is as good as a second link.
        if let NodeKind::Symlink { .. } = file.body() {
            let (kind, meta) = (file.kind(), file.meta().clone());
            self.sink.special(path, &kind, &meta)?;
            return self.put(path, &kind, meta, None);
        }
        let before = file.group().and_then(|group| self.last_names.get(group));
        let xattrs = before.unwrap_or(file.meta()).xattrs.clone();
        self.sink.link(path, &to)?;
        self.edit.link(path, &to)?;
        let group = self.edit.tree().get(path).and_then(Node::group).cloned();
        if self.whiteouts == Whiteouts::Ordinary
            && let Some(group) = group
        {
            let mut meta = meta(entry);
            meta.xattrs = xattrs.into_iter().chain(meta.xattrs).collect();
            self.last_names.insert(group, meta);
        }
        Ok(())
    }
}

fn check(what: &'static str, count: u64, limit: u64) -> Result<()> {
    if count > limit { Err(LayerError::Limit { what, limit }) } else { Ok(()) }
}

fn kept(entry: &RawEntry) -> u64 {
    let attributes = entry.xattrs.iter().map(|(name, value)| name.len() + value.len());
    (entry.name.len() + entry.link.len() + attributes.sum::<usize>()) as u64
}

fn refuse(entry: &RawEntry, problem: &'static str) -> LayerError {
    LayerError::Entry { name: String::from_utf8_lossy(&entry.name).into_owned(), problem }
}

fn meta(entry: &RawEntry) -> Metadata {
    Metadata {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs: entry.xattrs.clone(),
    }
}

/// Returns whether a name can be an extended attribute's at all.
fn is_xattr(name: &[u8]) -> bool {
    name.len() <= 255 && name.contains(&b'.') && !name.contains(&0)
}
