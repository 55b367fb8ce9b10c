//! One directory that becomes a lower layer of an overlay, and the only way anything is written into it.
//!
//! Invariant: every name is opened beneath the directory's descriptor without following a link, whatever the
//! archive has put there. Nothing that exists is written to: files are created, never opened again. What the
//! file system or the user may not hold (owners, devices, attributes) lives in the [`super::Changes`]; the disk
//! gets it as far as [`Flavour`] says. It does not know what is already there: its users do.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::contents::BENEATH;
use super::{Kind, Metadata, TreePath};
use crate::fs::{PathError, Result, descriptor_path};
use crate::ownership::{Device, Ownership};

/// In which namespace overlayfs looks for its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattrs {
    /// `trusted.overlay.`, for a real root.
    Trusted,
    /// `user.overlay.`, for an overlay mounted with `userxattr` in a user namespace.
    User,
}

/// To whom the files on disk belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// To whom the changes say.
    Recorded,
    /// To whoever runs this; the true owners are in the changes only.
    Invoker,
}

/// How a layer is laid out on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flavour {
    /// In which namespace overlayfs looks for its attributes.
    pub xattrs: OverlayXattrs,
    /// To whom the files belong.
    pub owners: Owners,
}

impl Flavour {
    /// What root uses.
    pub const ROOT: Self = Self { xattrs: OverlayXattrs::Trusted, owners: Owners::Recorded };
    /// What a user without a range of ids uses.
    pub const USER: Self = Self { xattrs: OverlayXattrs::User, owners: Owners::Invoker };
}

/// The directory.
pub(super) struct Disk {
    root: OwnedFd,
    path: PathBuf,
    flavour: Flavour,
    /// The directory that was used last.
    parent: Option<(TreePath, OwnedFd)>,
}

/// What the kernel calls an owner that this user namespace does not know; a file may have one of this number as well.
const UNMAPPED: u32 = 65534;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Disk {
    pub(super) fn open(path: &Path, flavour: Flavour) -> Result<Self> {
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty());
        let root = root.map_err(PathError::of("open", path))?;
        Ok(Self { root, path: path.to_owned(), flavour, parent: None })
    }

    /// Returns another handle for another thread.
    pub(super) fn another(&self) -> Result<Self> {
        Self::open(&self.path, self.flavour)
    }

    /// Makes a directory that only its owner can enter until [`Disk::describe`] says otherwise.
    pub(super) fn mkdir(&mut self, path: &TreePath) -> Result<()> {
        self.at("create the directory", path, |dir, name| {
            rustix::fs::mkdirat(dir, name, Mode::RWXU)
        })
    }

    /// Makes an empty file for writing, with the permissions that it will have anyway.
    pub(super) fn create(&mut self, path: &TreePath, meta: &Metadata) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let permissions = mode(meta) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
        self.at("create", path, |dir, name| {
            rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, permissions)
        })
        .map(File::from)
    }

    /// Writes to a file that [`Disk::create`] made.
    pub(super) fn write(&self, file: &mut File, path: &TreePath, bytes: &[u8]) -> Result<()> {
        file.write_all(bytes).map_err(|source| self.error("write", path, source))
    }

    /// Gives a file that [`Disk::create`] made its metadata.
    pub(super) fn describe_file(
        &self,
        file: &File,
        path: &TreePath,
        meta: &Metadata,
    ) -> Result<()> {
        self.describe_open(file.as_fd(), path, meta)
    }

    /// Makes another name of a file that is in this directory.
    pub(super) fn link(&mut self, path: &TreePath, to: &TreePath) -> Result<()> {
        let (from, from_name) = self.split(to)?;
        let from = self.open_directory(&from)?;
        self.at("link", path, |dir, name| {
            rustix::fs::linkat(&from, from_name.as_slice(), dir, name, AtFlags::empty())
        })
    }

    /// Makes a symbolic link, device or pipe with its metadata. A device that this user may not make becomes an
    /// empty file, so that what lower layers have there is hidden all the same.
    pub(super) fn make(&mut self, path: &TreePath, kind: &Kind, meta: &Metadata) -> Result<()> {
        let (file_type, device) = match kind {
            Kind::Symlink { target } => {
                self.at("create the link", path, |dir, name| {
                    rustix::fs::symlinkat(target.as_slice(), dir, name)
                })?;
                return self.describe_special(path, meta, None);
            }
            Kind::CharDevice { major, minor } => (FileType::CharacterDevice, (*major, *minor)),
            Kind::BlockDevice { major, minor } => (FileType::BlockDevice, (*major, *minor)),
            Kind::Fifo => (FileType::Fifo, (0, 0)),
            Kind::Directory => return self.mkdir(path),
            Kind::File { .. } | Kind::Hardlink { .. } => return Ok(()),
        };
        let (major, minor) = device;
        let device = rustix::fs::makedev(major, minor);
        let made = self.at("create the device", path, |dir, name| {
            match rustix::fs::mknodat(dir, name, file_type, Mode::RUSR, device) {
                Err(Errno::PERM) => {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    let file = rustix::fs::openat(dir, name, flags, Mode::WUSR)?;
                    let is_block = file_type == FileType::BlockDevice;
                    let device = Some(Device { is_block, major, minor });
                    let owned = Ownership { uid: meta.uid, gid: meta.gid, device };
                    owned.write(descriptor_path(&file).as_ref()).map(drop)
                }
                made => made,
            }
        });
        made?;
        self.describe_special(path, meta, Some(mode(meta)))
    }

    /// Hides what lower layers have at a path.
    pub(super) fn whiteout(&mut self, path: &TreePath) -> Result<()> {
        self.at("create the whiteout", path, |dir, name| {
            rustix::fs::mknodat(dir, name, FileType::CharacterDevice, Mode::empty(), 0)
        })
    }

    /// Hides what lower layers have in a directory.
    pub(super) fn set_opaque(&mut self, path: &TreePath) -> Result<()> {
        let name = match self.flavour.xattrs {
            OverlayXattrs::Trusted => "trusted.overlay.opaque",
            OverlayXattrs::User => "user.overlay.opaque",
        };
        let dir = self.open_directory(path)?;
        let set = rustix::fs::fsetxattr(&dir, name, b"y", XattrFlags::empty());
        set.map_err(|error| self.error("mark as opaque", path, error.into()))
    }

    /// Gives a directory its metadata. To be called when nothing more is put into it.
    pub(super) fn describe_directory(&mut self, path: &TreePath, meta: &Metadata) -> Result<()> {
        let dir = self.open_directory(path)?;
        self.describe_open(dir.as_fd(), path, meta)
    }

    /// Returns whether what is at a path is a directory.
    pub(super) fn is_directory(&mut self, path: &TreePath) -> Result<bool> {
        self.at("examine", path, |dir, name| {
            let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        })
    }

    /// Removes a file or an empty directory.
    pub(super) fn remove(&mut self, path: &TreePath) -> Result<()> {
        // The descriptor kept may be of what goes away.
        self.parent = None;
        self.at("remove", path, |dir, name| {
            match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
                Err(Errno::ISDIR) => rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR),
                removed => removed,
            }
        })
    }

    fn error(&self, operation: &'static str, path: &TreePath, source: io::Error) -> PathError {
        PathError::of(operation, &self.path.join(path.as_path()))(source)
    }

    fn split(&self, path: &TreePath) -> Result<(TreePath, Vec<u8>)> {
        let parts = path.parent().zip(path.name().map(<[u8]>::to_vec));
        parts.ok_or_else(|| self.error("replace", path, io::ErrorKind::InvalidInput.into()))
    }

    fn open_directory(&self, path: &TreePath) -> Result<OwnedFd> {
        let name = if path.is_root() { Path::new(".") } else { path.as_path() };
        let dir = rustix::fs::openat2(&self.root, name, DIRECTORY, Mode::empty(), BENEATH);
        dir.map_err(|error| self.error("open", path, error.into()))
    }

    /// Does something with a name in its directory.
    fn at<T>(
        &mut self,
        operation: &'static str,
        path: &TreePath,
        action: impl FnOnce(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> Result<T> {
        let (parent, name) = self.split(path)?;
        let done = if parent.is_root() {
            action(self.root.as_fd(), &name)
        } else {
            if self.parent.as_ref().is_none_or(|(open, _)| *open != parent) {
                self.parent = Some((parent.clone(), self.open_directory(&parent)?));
            }
            let dir = self.parent.as_ref().map_or(self.root.as_fd(), |(_, dir)| dir.as_fd());
            action(dir, &name)
        };
        done.map_err(|error| self.error(operation, path, error.into()))
    }

    fn describe_open(&self, fd: BorrowedFd<'_>, path: &TreePath, meta: &Metadata) -> Result<()> {
        let fail = |operation| move |error: Errno| self.error(operation, path, error.into());
        // To look is several times cheaper than to change what is right already, and most files are.
        let stat = rustix::fs::fstat(fd).map_err(fail("examine"))?;
        let is_owned = (stat.st_uid, stat.st_gid) == (meta.uid, meta.gid)
            && stat.st_uid != UNMAPPED
            && stat.st_gid != UNMAPPED;
        let chown = self.flavour.owners == Owners::Recorded && !is_owned;
        if chown {
            match rustix::fs::fchown(fd, Some(owner(meta)), Some(group(meta))) {
                Err(Errno::INVAL) => say_owner(fd, meta),
                changed => changed,
            }
            .map_err(fail("change the owner of"))?;
        } else if self.flavour.owners == Owners::Invoker && (meta.uid, meta.gid) != (0, 0) {
            say_owner(fd, meta).map_err(fail("note the owner of"))?;
        }
        for (name, value) in &meta.xattrs {
            let set = rustix::fs::fsetxattr(fd, name.as_slice(), value, XattrFlags::empty());
            self.judge_xattr(set).map_err(fail("set an attribute of"))?;
        }
        // After the owner, which takes setuid away, and the attributes, one of which has a say in the permissions.
        if chown || !meta.xattrs.is_empty() || stat.st_mode & 0o7777 != mode(meta).bits() {
            rustix::fs::fchmod(fd, mode(meta)).map_err(fail("change the mode of"))?;
        }
        rustix::fs::futimens(fd, &times(meta)).map_err(fail("set the time of"))
    }

    /// Attributes that this file system or user may not have are in the changes only.
    fn judge_xattr(&self, set: rustix::io::Result<()>) -> rustix::io::Result<()> {
        match set {
            Err(Errno::OPNOTSUPP) => Ok(()),
            Err(Errno::PERM) if self.flavour.owners == Owners::Invoker => Ok(()),
            set => set,
        }
    }

    fn describe_special(
        &mut self,
        path: &TreePath,
        meta: &Metadata,
        mode: Option<Mode>,
    ) -> Result<()> {
        let owners = self.flavour.owners;
        self.at("describe", path, |dir, name| {
            if owners == Owners::Recorded {
                let (uid, gid) = (Some(owner(meta)), Some(group(meta)));
                match rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
                    // No id of this user namespace: it is in the changes only.
                    Err(Errno::INVAL) => {}
                    changed => changed?,
                }
            }
            if let Some(mode) = mode {
                // Only of what has just been made here as no link.
                rustix::fs::chmodat(dir, name, mode, AtFlags::empty())?;
            }
            for (key, value) in &meta.xattrs {
                let mut link = (descriptor_path(dir) + "/").into_bytes();
                link.extend_from_slice(name);
                // Best effort: most attributes are not allowed on links and devices at all.
                let flags = XattrFlags::empty();
                let _ = rustix::fs::lsetxattr(link.as_slice(), key.as_slice(), value, flags);
            }
            rustix::fs::utimensat(dir, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)
        })
    }
}

const fn mode(meta: &Metadata) -> Mode {
    Mode::from_bits_truncate(meta.mode & 0o7777)
}

/// Writes down an owner that the disk cannot hold. Where not even that can be held, it is in the changes only.
fn say_owner(fd: BorrowedFd<'_>, meta: &Metadata) -> rustix::io::Result<()> {
    let owned = Ownership { uid: meta.uid, gid: meta.gid, device: None };
    owned.write(descriptor_path(fd).as_ref()).map(drop)
}

fn owner(meta: &Metadata) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(meta.uid)
}

fn group(meta: &Metadata) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(meta.gid)
}

fn times(meta: &Metadata) -> Timestamps {
    let time = Timespec { tv_sec: meta.mtime.seconds, tv_nsec: meta.mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
