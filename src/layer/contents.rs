//! Where contents can be read: a directory, an uncompressed tar, a tree, or nowhere.
//!
//! Invariant: only regular files are opened, and only beneath the place that is named; a link or a device that
//! has taken a file's place is an error. Nothing is verified here: whoever reads knows the digest.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::pack::{PackOptions, file_offsets};
use super::{Changes, Contents, Sequence, Tree, TreePath};
use crate::event::Cancel;
use crate::fs::{PathError, Reopened, unmarked};

/// How files are looked for beneath a directory: never out of it, never through a link.
pub(super) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Contents that cannot be read, for trees that are only looked at.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Nowhere {
    /// Returns it as a tree wants it.
    pub fn shared() -> Arc<dyn Contents> {
        Arc::new(Self)
    }
}

impl Contents for Nowhere {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        Err(PathError::of("open", path.as_path())(io::ErrorKind::NotFound))
    }
}

/// Contents whose reading fails once the user asks to stop.
pub struct Stoppable<C> {
    inner: C,
    cancel: Cancel,
}

impl<C> Stoppable<C> {
    /// Makes contents stoppable.
    pub fn new(inner: C, cancel: &Cancel) -> Self {
        Self { inner, cancel: cancel.clone() }
    }
}

impl<C: Contents + ?Sized> Contents for &C {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        (**self).open(path)
    }

    fn piece(&self, path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        (**self).piece(path)
    }
}

impl<C: Contents + ?Sized> Contents for Arc<C> {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        (**self).open(path)
    }

    fn piece(&self, path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        (**self).piece(path)
    }
}

impl<C: Contents> Contents for Stoppable<C> {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(StoppableRead { inner: self.inner.open(path)?, cancel: &self.cancel }))
    }

    fn piece(&self, path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        match self.cancel.is_canceled() {
            // Opening it is what says so.
            true => Ok(None),
            false => self.inner.piece(path),
        }
    }
}

struct StoppableRead<'a> {
    inner: Box<dyn Read + Send + 'a>,
    cancel: &'a Cancel,
}

impl Read for StoppableRead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.cancel.is_canceled() {
            true => Err(io::Error::other("canceled")),
            false => self.inner.read(buf),
        }
    }
}

/// The files of a directory on disk.
#[derive(Debug)]
pub struct DirectoryContents {
    root: Opened,
    path: PathBuf,
}

/// What contents are read from.
#[derive(Debug)]
enum Opened {
    /// It stays open, and may be renamed or removed.
    Held(Arc<File>),
    /// It stays where it is.
    Reopened(Arc<Reopened>),
}

impl Opened {
    fn get(&self, path: &Path, flags: OFlags) -> crate::fs::Result<Arc<File>> {
        match self {
            Self::Held(file) => Ok(Arc::clone(file)),
            Self::Reopened(reopened) => reopened.get(path, |path| open(path, flags)),
        }
    }
}

const ROOT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const TAR: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open(path: &Path, flags: OFlags) -> crate::fs::Result<File> {
    let opened = rustix::fs::open(path, flags, Mode::empty());
    Ok(opened.map_err(PathError::of("open", path))?.into())
}

impl DirectoryContents {
    /// Opens the directory; it may be renamed afterwards.
    pub fn open(path: &Path) -> crate::fs::Result<Self> {
        Ok(Self { root: Opened::Held(Arc::new(open(path, ROOT)?)), path: path.to_owned() })
    }

    /// Takes a directory that stays where it is, and is opened when something is read.
    pub fn reopened(path: PathBuf, reopened: Arc<Reopened>) -> Self {
        Self { root: Opened::Reopened(reopened), path }
    }

    fn file(&self, path: &TreePath) -> crate::fs::Result<File> {
        let fail = |error: io::Error| PathError::of("open", &self.path.join(path.as_path()))(error);
        // Without blocking, lest a pipe that took the file's place stop the build.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = self.root.get(&self.path, ROOT)?;
        let file = unmarked(flags, |flags| {
            rustix::fs::openat2(&*root, path.as_path(), flags, Mode::empty(), BENEATH)
        });
        let file = file.map_err(|error| fail(error.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| fail(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
        }
        Ok(File::from(file))
    }
}

impl Contents for DirectoryContents {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.file(path)?))
    }

    fn piece(&self, path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        Ok(Some((self.file(path)?, 0)))
    }
}

/// Parts of one file, such as an uncompressed tar or the spooled contents of an archive.
#[derive(Debug)]
pub struct TarContents {
    file: Opened,
    path: PathBuf,
    offsets: Offsets,
}

/// Where in a file contents are, by path: few pieces of memory, for there are hundreds of thousands at times.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// The paths in order, one after the other.
    paths: Vec<u8>,
    /// Where each path ends, where its content begins, and of which size that is.
    places: Vec<(usize, u64, u64)>,
}

impl Offsets {
    /// Makes an empty one in which all files of some changes have room: lists that grow leave holes of former sizes.
    pub(super) fn with_room(changes: &dyn Sequence) -> Self {
        let (bytes, count) = (changes.path_bytes(), changes.count());
        Self { paths: Vec::with_capacity(bytes), places: Vec::with_capacity(count) }
    }

    /// Adds a content whose path is after all others.
    pub(super) fn push(&mut self, path: &TreePath, at: u64, size: u64) {
        self.paths.extend_from_slice(path.as_bytes());
        self.places.push((self.paths.len(), at, size));
    }

    fn get(&self, path: &TreePath) -> Option<(u64, u64)> {
        let (mut low, mut high) = (0, self.places.len());
        while low < high {
            let middle = low.midpoint(high);
            let start = middle.checked_sub(1).map_or(0, |before| self.places[before].0);
            let (end, at, size) = self.places[middle];
            match TreePath::compare(&self.paths[start..end], path.as_bytes()) {
                Ordering::Equal => return Some((at, size)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        None
    }
}

impl TarContents {
    /// Takes a file and where in it, at which offset and of which size, each content is.
    pub fn new(file: File, places: BTreeMap<TreePath, (u64, u64)>) -> Self {
        let mut offsets = Offsets::default();
        places.iter().for_each(|(path, (at, size))| offsets.push(path, *at, *size));
        Self { file: Opened::Held(Arc::new(file)), path: PathBuf::new(), offsets }
    }

    /// Takes a tar that [`super::pack`] made of `changes`.
    pub fn of_pack(file: File, changes: &Changes, options: &PackOptions) -> super::Result<Self> {
        let offsets = file_offsets(changes, options)?;
        Ok(Self { offsets, ..Self::new(file, BTreeMap::new()) })
    }

    /// The same of a tar that stays where it is, and is opened when something is read.
    pub fn reopened(
        (path, reopened): (PathBuf, Arc<Reopened>),
        changes: &dyn Sequence,
        options: &PackOptions,
    ) -> super::Result<Self> {
        let offsets = file_offsets(changes, options)?;
        Ok(Self { file: Opened::Reopened(reopened), path, offsets })
    }
}

impl Contents for TarContents {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        let missing = || PathError::of("open", path.as_path())(io::ErrorKind::NotFound);
        let (offset, size) = self.offsets.get(path).ok_or_else(missing)?;
        let file = self.file.get(&self.path, TAR)?;
        Ok(Box::new(Part { file, offset, left: size }))
    }

    fn piece(&self, path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        let Some((offset, _)) = self.offsets.get(path) else { return Ok(None) };
        let file = self.file.get(&self.path, TAR)?;
        let file = file.try_clone().map_err(PathError::of("open", path.as_path()))?;
        Ok(Some((file, offset)))
    }
}

/// A part of a file, read without moving its position, so that many can be read at once.
pub(super) struct Part {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) left: u64,
}

impl Read for Part {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..most], self.offset)?;
        self.offset += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// The files of a tree, each read where the tree has it from.
#[derive(Debug, Clone)]
pub struct TreeContents(pub Tree);

impl Contents for TreeContents {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        self.0.open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    #[test]
    fn a_directory_is_never_left() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(dir.path().join("root/file"), "f").unwrap();
        let root = dir.path().join("root");
        std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        let contents = DirectoryContents::open(&root).unwrap();
        let mut text = String::new();
        contents.open(&path("file")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "f");
        for name in ["link", "up/secret", "none", ""] {
            assert!(contents.open(&path(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn parts_are_read_independently() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let offsets = BTreeMap::from([(path("a"), (2, 3)), (path("b"), (5, 100))]);
        let contents = TarContents::new(file, offsets);
        let (mut a, mut b) =
            (contents.open(&path("a")).unwrap(), contents.open(&path("b")).unwrap());
        let (mut left, mut right) = (String::new(), String::new());
        b.read_to_string(&mut right).unwrap();
        a.read_to_string(&mut left).unwrap();
        assert_eq!((left.as_str(), right.as_str()), ("234", "56789"));
    }
}
