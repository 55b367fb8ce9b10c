//! A layer's tar to an overlay lower directory and its changes; an archive to a tree.
//!
//! Invariant: on return the directory holds exactly what the changes say, whiteouts in overlayfs's form, and every
//! file was hashed as it was written. On an error the directory is to be thrown away. Neither the digest of the
//! input nor its compression is looked at here: the caller reads through whatever it verifies with, and nothing
//! may be used until that has matched.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use super::archive::{Extraction, Limits, Whiteouts};
use super::compress::{Format, detect};
use super::contents::Part;
use super::disk::{Disk, Flavour};
use super::edit::{Edit, Recording};
use super::error::{LayerError, Result};
use super::materialise::{finish, write_file};
use super::node::Origin;
use super::reader::{Reader, is_header};
use super::{Change, Changes, Contents, Kind, Metadata, Tree, TreeContents, TreePath};
use crate::fs::PathError;

/// Unpacks a layer into `root`, an empty directory. `parent` is what the layer lies on: links in it are followed,
/// and directories that the layer does not describe get their metadata from it. Without it the layer stands for
/// itself.
pub fn unpack(
    input: impl Read,
    root: &Path,
    parent: Option<&Tree>,
    limits: Limits,
    flavour: Flavour,
) -> Result<Changes> {
    let (base, recording) = match parent {
        Some(parent) => (parent.clone(), Recording::Layer),
        None => (Tree::empty(), Recording::LoneLayer),
    };
    let writing = Directory { disk: Disk::open(root, flavour)?, present: BTreeSet::new() };
    let edit = Edit::recording(base, recording);
    let mut extraction = Extraction::new(edit, Sink::Directory(writing), Whiteouts::Apply, limits);
    extraction.run(input)?;
    let (tree, changes) = extraction.edit.finish();
    if let Sink::Directory(mut directory) = extraction.sink {
        directory.complete(&tree, &changes)?;
    }
    Ok(changes)
}

/// Reads an archive into a tree, its contents to the end of `spool`. Names of whiteouts mean nothing.
pub fn read_archive(input: impl Read, spool: &mut File, limits: Limits) -> Result<Tree> {
    let spooled = |error| LayerError::Write(error);
    let contents = Arc::new(Spool(Arc::new(spool.try_clone().map_err(spooled)?)));
    let end = spool.seek(SeekFrom::End(0)).map_err(spooled)?;
    let sink = Sink::Spool { file: spool, end, contents };
    let edit = Edit::new(Tree::empty());
    let mut extraction = Extraction::new(edit, sink, Whiteouts::Ordinary, limits);
    extraction.run(input)?;
    Ok(extraction.edit.finish().0)
}

/// Returns whether an input, already decompressed, begins like a tar: what decides whether ADD unpacks a file.
pub fn is_archive(input: impl Read) -> bool {
    matches!(Reader::new(input).next(), Ok(Some(_)))
}

/// Returns whether a file that begins so, with 512 bytes or all there are, is taken for an archive, compressed or not.
pub fn begins_archive(head: &[u8]) -> bool {
    detect(head) != Format::Uncompressed || head.first_chunk().is_some_and(is_header)
}

/// Where the entries of an archive go.
pub(super) enum Sink<'a> {
    /// Into a directory.
    Directory(Directory),
    /// Contents into a file, the rest nowhere.
    Spool { file: &'a mut File, end: u64, contents: Arc<Spool> },
}

impl Sink<'_> {
    pub(super) fn directory(&mut self, path: &TreePath) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.ensure(path),
            Self::Spool { .. } => Ok(()),
        }
    }

    pub(super) fn remove(&mut self, path: &TreePath) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.remove(path),
            Self::Spool { .. } => Ok(()),
        }
    }

    pub(super) fn special(&mut self, path: &TreePath, kind: &Kind, meta: &Metadata) -> Result<()> {
        match self {
            Self::Directory(directory) => {
                directory.make_way(path)?;
                Ok(directory.disk.make(path, kind, meta)?)
            }
            Self::Spool { .. } => Ok(()),
        }
    }

    pub(super) fn link(&mut self, path: &TreePath, to: &TreePath) -> Result<()> {
        match self {
            Self::Directory(directory) => directory.link(path, to),
            Self::Spool { .. } => Ok(()),
        }
    }

    /// Begins a file; what is returned goes to [`Sink::write`] and [`Sink::close`].
    pub(super) fn create(&mut self, path: &TreePath, meta: &Metadata) -> Result<Option<File>> {
        match self {
            Self::Directory(directory) => {
                directory.make_way(path)?;
                Ok(Some(directory.disk.create(path, meta)?))
            }
            Self::Spool { .. } => Ok(None),
        }
    }

    pub(super) fn write(
        &mut self,
        created: &mut Option<File>,
        path: &TreePath,
        bytes: &[u8],
    ) -> Result<()> {
        match (self, created) {
            (Self::Directory(directory), Some(file)) => {
                Ok(directory.disk.write(file, path, bytes)?)
            }
            (Self::Spool { file, end, .. }, _) => {
                file.write_all(bytes).map_err(LayerError::Write)?;
                *end += bytes.len() as u64;
                Ok(())
            }
            (Self::Directory(_), None) => Ok(()),
        }
    }

    /// Ends a file and says where it can be read, if that is not the directory.
    pub(super) fn close(
        &mut self,
        created: Option<File>,
        (path, meta, size): (&TreePath, &Metadata, u64),
    ) -> Result<Option<Origin>> {
        match (self, created) {
            (Self::Directory(directory), Some(file)) => {
                directory.disk.describe_file(&file, path, meta)?;
                Ok(None)
            }
            (Self::Spool { end, contents, .. }, _) => {
                let contents: Arc<dyn Contents> = contents.clone();
                Ok(Some(Origin::new(contents, &Spool::address(*end - size, size))))
            }
            (Self::Directory(_), None) => Ok(None),
        }
    }
}

/// Contents one after the other in a file. Their paths are addresses: `offset/size`.
pub(super) struct Spool(Arc<File>);

impl Spool {
    fn address(offset: u64, size: u64) -> TreePath {
        TreePath::clean(format!("{offset}/{size}")).unwrap_or_default()
    }
}

impl Contents for Spool {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        let numbers = path.components().map(|part| std::str::from_utf8(part).ok()?.parse().ok());
        match numbers.collect::<Option<Vec<u64>>>().as_deref() {
            Some(&[offset, left]) => Ok(Box::new(Part { file: Arc::clone(&self.0), offset, left })),
            _ => Err(PathError::of("open", path.as_path())(io::ErrorKind::NotFound)),
        }
    }
}

/// The directory being filled, and what is in it already.
pub(super) struct Directory {
    disk: Disk,
    present: BTreeSet<TreePath>,
}

impl Directory {
    /// Makes a directory and those above it, in place of whatever else is there.
    fn ensure(&mut self, path: &TreePath) -> Result<()> {
        if path.is_root() {
            return Ok(());
        }
        if self.present.contains(path) {
            // Only the entry itself can be something else by now; its parents were resolved as directories.
            if self.disk.is_directory(path)? {
                return Ok(());
            }
            self.remove(path)?;
        } else if let Some(parent) = path.parent() {
            self.ensure_parent(&parent)?;
        }
        self.disk.mkdir(path)?;
        self.present.insert(path.clone());
        Ok(())
    }

    fn ensure_parent(&mut self, parent: &TreePath) -> Result<()> {
        if parent.is_root() || self.present.contains(parent) { Ok(()) } else { self.ensure(parent) }
    }

    /// Removes what is at a path, so that something can be created there.
    fn make_way(&mut self, path: &TreePath) -> Result<()> {
        self.remove(path)?;
        if let Some(parent) = path.parent() {
            self.ensure_parent(&parent)?;
        }
        self.present.insert(path.clone());
        Ok(())
    }

    fn remove(&mut self, path: &TreePath) -> Result<()> {
        let beneath: Vec<TreePath> =
            self.present.range(path..).take_while(|next| next.starts_with(path)).cloned().collect();
        for path in beneath.iter().rev() {
            self.disk.remove(path)?;
            self.present.remove(path);
        }
        Ok(())
    }

    /// Links what is here; a link to a lower layer's file waits for [`Directory::complete`], which copies it.
    fn link(&mut self, path: &TreePath, to: &TreePath) -> Result<()> {
        if !self.present.contains(to) {
            return self.remove(path);
        }
        self.make_way(path)?;
        Ok(self.disk.link(path, to)?)
    }

    /// Removes what has changed nothing in the end, such as a directory made for a file that is gone again: it would
    /// hide the lower layers' one.
    fn drop_leftovers(&mut self, changes: &Changes) -> Result<()> {
        let gone = |path: &&TreePath| matches!(changes.get(path), None | Some(Change::Remove));
        let left = self.present.iter().rev().filter(gone);
        for path in left.cloned().collect::<Vec<_>>() {
            self.disk.remove(&path)?;
            self.present.remove(&path);
        }
        Ok(())
    }

    /// Adds what only the finished changes tell: copies of lower layers' files, whiteouts, directories' metadata.
    fn complete(&mut self, tree: &Tree, changes: &Changes) -> Result<()> {
        let contents = TreeContents(tree.clone());
        self.drop_leftovers(changes)?;
        for (path, change) in changes {
            if self.present.contains(path) || path.is_root() {
                continue;
            }
            let (kind, meta) = match change {
                Change::Put { kind, meta } => (kind, meta),
                Change::Clear { .. } => {
                    self.ensure(path)?;
                    continue;
                }
                Change::Remove => continue,
            };
            match kind {
                Kind::Directory => self.ensure(path)?,
                Kind::File { .. } => {
                    self.make_way(path)?;
                    write_file(&mut self.disk, path, change, &contents)?;
                }
                Kind::Hardlink { to } => self.link(path, to)?,
                Kind::Symlink { .. }
                | Kind::CharDevice { .. }
                | Kind::BlockDevice { .. }
                | Kind::Fifo => {
                    self.make_way(path)?;
                    self.disk.make(path, kind, meta)?;
                }
            }
        }
        for (path, _) in changes {
            if let Some(parent) = path.parent() {
                self.ensure_parent(&parent)?;
            }
        }
        finish(&mut self.disk, changes)
    }
}
