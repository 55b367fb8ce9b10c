//! The files of one layer against what the layer changes.
//!
//! Times are not compared: what is packed has those of the changes. Nor are owners that only the changes can hold, and
//! sockets, which no layer has, may lie about.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, statat};

use super::place::{judge, kind};
use super::{Reader, Result, VerifyError};
use crate::digest::ContentDigest;
use crate::fs::PathError;
use crate::layer::{Change, Changes, Flavour, Kind, Metadata, Owners, TreePath};
use crate::ownership::Ownership;
use crate::snapshot::SnapshotError;
use crate::snapshot::files::hash_files;

/// How many files are hashed before anybody is asked whether to go on.
const BATCH: usize = 1024;

/// What is wrong with a layer's directory, if anything is, and how many files and bytes were read.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) problem: Option<String>,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Compares a directory with changes.
pub(super) fn compare(
    reader: &Reader<'_>,
    root: &Path,
    changes: &Changes,
    flavour: Flavour,
) -> Result<Compared> {
    let carries = Ownership::is_carried_in(root);
    let mut walk =
        Walk { root, changes, flavour, carries, seen: HashSet::new(), files: Vec::new() };
    match walk.all().and_then(|()| walk.hash(reader)) {
        Ok(()) => {
            let bytes = walk.files.iter().map(|(_, size, _)| size).sum();
            Ok(Compared { problem: None, files: walk.files.len() as u64, bytes })
        }
        Err(Fault::Damage(problem)) => {
            Ok(Compared { problem: Some(problem), ..Compared::default() })
        }
        Err(Fault::Error(error)) => Err(error),
    }
}

/// Why the comparison ended.
enum Fault {
    /// What is wrong.
    Damage(String),
    Error(VerifyError),
}

impl<E: Into<VerifyError>> From<E> for Fault {
    fn from(error: E) -> Self {
        match error.into() {
            VerifyError::Path(error) | VerifyError::Snapshot(SnapshotError::Path(error)) => {
                match judge(error) {
                    Ok(problem) => Self::Damage(problem),
                    Err(error) => Self::Error(error.into()),
                }
            }
            error => Self::Error(error),
        }
    }
}

struct Walk<'a> {
    root: &'a Path,
    changes: &'a Changes,
    flavour: Flavour,
    /// Whether files can say what their inodes cannot.
    carries: bool,
    seen: HashSet<TreePath>,
    /// Files whose contents are to be read.
    files: Vec<(TreePath, u64, ContentDigest)>,
}

type Step = std::result::Result<(), Fault>;

impl Walk<'_> {
    fn fail(&self, path: &TreePath) -> impl Fn(rustix::io::Errno) -> Fault {
        let place = self.root.join(path.as_path());
        let shown = path.to_string();
        move |errno| match judge(PathError::of("read", &place)(errno)) {
            Ok(problem) => Fault::Damage(format!("its `{shown}` {problem}")),
            Err(error) => Fault::Error(error.into()),
        }
    }

    fn all(&mut self) -> Step {
        let top = TreePath::root();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(self.root, flags, Mode::empty()).map_err(self.fail(&top))?;
        self.directory(&fd, &top)?;
        let is_missing = |path: &&TreePath| !path.is_root() && !self.seen.contains(*path);
        match self.changes.iter().map(|(path, _)| path).find(is_missing) {
            Some(path) => Err(Fault::Damage(format!("its `{path}` is missing"))),
            None => self.links(),
        }
    }

    fn directory(&mut self, fd: &OwnedFd, at: &TreePath) -> Step {
        let mut names = Vec::new();
        for entry in Dir::read_from(fd).map_err(self.fail(at))? {
            let entry = entry.map_err(self.fail(at))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in names {
            let Some(path) = at.join(name.to_bytes()) else { continue };
            let stat = statat(fd, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(self.fail(&path))?;
            if kind(&stat) == FileType::Socket {
                continue;
            }
            self.entry(&path, &stat)?;
            if kind(&stat) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(fd, &name, flags, Mode::empty());
                self.directory(&below.map_err(self.fail(&path))?, &path)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &TreePath, stat: &Stat) -> Step {
        let damage = |text: String| Err(Fault::Damage(format!("its `{path}` {text}")));
        let Some(change) = self.changes.get(path) else {
            return damage("is not of this layer".to_owned());
        };
        let stat = &self.said(path, stat)?;
        if !is_of_kind(change, stat, self.flavour) {
            return damage(format!("is {}, not {}", article(stat), wanted(change)));
        }
        match change {
            Change::Put { kind: Kind::File { size, content }, .. } => {
                if stat.st_size as u64 != *size {
                    return damage(format!("has {} bytes, not {size}", stat.st_size));
                }
                self.files.push((path.clone(), *size, *content));
            }
            Change::Put { kind: Kind::Symlink { target }, .. } => {
                let place = self.root.join(path.as_path());
                let read = rustix::fs::readlink(&place, Vec::new()).map_err(self.fail(path))?;
                if read.as_bytes() != target {
                    let (read, target) = (read.to_string_lossy(), String::from_utf8_lossy(target));
                    return damage(format!("leads to `{read}`, not to `{target}`"));
                }
            }
            Change::Put { .. } | Change::Clear { .. } | Change::Remove => {}
        }
        self.seen.insert(path.clone());
        match change {
            Change::Put { meta, .. } | Change::Clear { meta } => self.metadata(path, meta, stat),
            Change::Remove => Ok(()),
        }
    }

    /// What a file is said to be, where it cannot be that by itself.
    fn said(&self, path: &TreePath, stat: &Stat) -> std::result::Result<Stat, Fault> {
        let mut said = *stat;
        if !matches!(kind(stat), FileType::RegularFile | FileType::Directory) {
            return Ok(said);
        }
        if self.flavour.owners == Owners::Invoker {
            (said.st_uid, said.st_gid) = (0, 0);
        }
        if self.flavour == Flavour::ROOT {
            return Ok(said);
        }
        let place = self.root.join(path.as_path());
        if let Some(owned) = Ownership::read(&place).map_err(self.fail(path))? {
            (said.st_uid, said.st_gid) = (owned.uid, owned.gid);
            if let Some(device) = owned.device {
                let kind = if device.is_block { 0o060_000 } else { 0o020_000 };
                said.st_mode = said.st_mode & 0o7777 | kind;
                said.st_rdev = rustix::fs::makedev(device.major, device.minor);
            }
        }
        Ok(said)
    }

    fn metadata(&self, path: &TreePath, meta: &Metadata, stat: &Stat) -> Step {
        let damage = |text: String| Err(Fault::Damage(format!("its `{path}` {text}")));
        let keeps_owners = self.flavour.owners == Owners::Recorded;
        // Who may not give files away may not make them setuid for others either.
        let bits = if keeps_owners { 0o7777 } else { 0o777 };
        let (actual, expected) = (stat.st_mode & bits, meta.mode & bits);
        if kind(stat) != FileType::Symlink && actual != expected {
            return damage(format!("has mode {actual:o}, not {expected:o}"));
        }
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        // Of a link or a pipe that belongs to nobody who exists here, only the changes say to whom.
        let is_unsaid = matches!(kind(stat), FileType::Symlink | FileType::Fifo)
            && (!keeps_owners || (uid, gid) == (0, 0))
            || !keeps_owners && !self.carries;
        if !is_unsaid && (uid, gid) != (meta.uid, meta.gid) {
            return damage(format!("belongs to {uid}:{gid}, not to {}:{}", meta.uid, meta.gid));
        }
        Ok(())
    }

    /// Names of one file are names of one file.
    fn links(&self) -> Step {
        let mut firsts: HashMap<&TreePath, u64> = HashMap::new();
        let inode = |path: &TreePath| {
            let place = self.root.join(path.as_path());
            rustix::fs::lstat(&place).map(|stat| stat.st_ino).map_err(self.fail(path))
        };
        for (path, change) in self.changes {
            let Change::Put { kind: Kind::Hardlink { to }, .. } = change else { continue };
            let first = match firsts.get(to) {
                Some(known) => *known,
                None => *firsts.entry(to).or_insert(inode(to)?),
            };
            if inode(path)? != first {
                return Err(Fault::Damage(format!("its `{path}` is no link to `{to}`")));
            }
        }
        Ok(())
    }

    fn hash(&self, reader: &Reader<'_>) -> Step {
        for files in self.files.chunks(BATCH) {
            reader.go_on()?;
            let paths: Vec<PathBuf> =
                files.iter().map(|(path, _, _)| self.root.join(path.as_path())).collect();
            let digests = match hash_files(&paths, reader.cancel) {
                Err(_) if reader.cancel.is_canceled() => return Err(VerifyError::Canceled.into()),
                digests => digests?,
            };
            let differs =
                |((_, _, content), digest): &(&(_, _, ContentDigest), _)| content != digest;
            if let Some(((path, _, _), _)) = files.iter().zip(digests).find(differs) {
                return Err(Fault::Damage(format!("its `{path}` has another content")));
            }
        }
        Ok(())
    }
}

fn is_of_kind(change: &Change, stat: &Stat, flavour: Flavour) -> bool {
    let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    // In place of a device that this user may not make lies an empty file.
    let stands_in = flavour.owners == Owners::Invoker
        && kind(stat) == FileType::RegularFile
        && stat.st_size == 0;
    match change {
        Change::Remove => kind(stat) == FileType::CharacterDevice && device == (0, 0),
        Change::Clear { .. } | Change::Put { kind: Kind::Directory, .. } => {
            kind(stat) == FileType::Directory
        }
        Change::Put { kind: Kind::File { .. }, .. } => kind(stat) == FileType::RegularFile,
        Change::Put { kind: Kind::Symlink { .. }, .. } => kind(stat) == FileType::Symlink,
        Change::Put { kind: Kind::CharDevice { major, minor }, .. } => {
            stands_in || kind(stat) == FileType::CharacterDevice && device == (*major, *minor)
        }
        Change::Put { kind: Kind::BlockDevice { major, minor }, .. } => {
            stands_in || kind(stat) == FileType::BlockDevice && device == (*major, *minor)
        }
        Change::Put { kind: Kind::Fifo, .. } => stands_in || kind(stat) == FileType::Fifo,
        // Its inode is compared.
        Change::Put { kind: Kind::Hardlink { .. }, .. } => kind(stat) != FileType::Directory,
    }
}

fn article(stat: &Stat) -> &'static str {
    match kind(stat) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}

fn wanted(change: &Change) -> &'static str {
    match change {
        Change::Remove => "a whiteout",
        Change::Clear { .. } | Change::Put { kind: Kind::Directory, .. } => "a directory",
        Change::Put { kind: Kind::File { .. }, .. } => "a regular file",
        Change::Put { kind: Kind::Symlink { .. }, .. } => "a link",
        Change::Put { kind: Kind::Hardlink { .. }, .. } => "another name of a file",
        Change::Put { kind: Kind::CharDevice { .. } | Kind::BlockDevice { .. }, .. } => {
            "that device"
        }
        Change::Put { kind: Kind::Fifo, .. } => "a pipe",
    }
}
