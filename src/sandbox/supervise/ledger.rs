//! Whose files are, beyond what their inodes can say.
//!
//! Files and directories carry it as an attribute. Links and pipes cannot: theirs are kept here for as long as the
//! sandbox lives, and told to kiln, by inode number and time of birth in the directory that becomes the layer.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, StatxFlags, Uid, chownat, open, readlink, statx,
};
use rustix::io::Errno;

use super::caller::Spot;
use crate::fs::descriptor_path;
use crate::ownership::{Origin, Owned, Ownership};
use crate::sandbox::wire::{Note, send};

/// The records.
pub(super) struct Ledger {
    /// Of what cannot carry an attribute, by file.
    special: HashMap<Origin, (u32, u32)>,
    /// Of links and pipes in the layers below, by path.
    below: HashMap<PathBuf, (u32, u32)>,
    /// Where changes to the root appear, if they do so elsewhere than in the root, and the root's mount.
    upper: Option<(OwnedFd, u64)>,
    notes: File,
}

impl Ledger {
    /// Starts with what is known of the layers below.
    pub(super) fn new(
        below: HashMap<PathBuf, (u32, u32)>,
        upper: Option<OwnedFd>,
        notes: File,
    ) -> Result<Self, Errno> {
        let upper = match upper {
            Some(upper) => {
                let root = statx(rustix::fs::CWD, "/", AtFlags::empty(), StatxFlags::MNT_ID)?;
                Some((upper, root.stx_mnt_id))
            }
            None => None,
        };
        Ok(Self { special: HashMap::new(), below, upper, notes })
    }

    /// Returns what is recorded of a file; `None`: it is as its inode says.
    pub(super) fn at(&self, spot: &Spot) -> Result<Option<Ownership>, Errno> {
        let carried = match spot.follow {
            true => Ownership::read(&spot.path),
            false => Ownership::read_link(&spot.path),
        }?;
        match carried {
            None if !self.special.is_empty() || !self.below.is_empty() => self.of(&spot.open()?),
            carried => Ok(carried),
        }
    }

    /// The same of what a descriptor names.
    pub(super) fn of(&self, file: &OwnedFd) -> Result<Option<Ownership>, Errno> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
        let carried = match kind {
            FileType::RegularFile | FileType::Directory => {
                Ownership::read(descriptor_path(file).as_ref())?
            }
            _ => None,
        };
        if carried.is_some() {
            return Ok(carried);
        }
        let owner = match self.origin(file)? {
            // In a root that is a copy what was below lies there itself.
            Some(origin) if self.upper.is_none() && !self.special.contains_key(&origin) => {
                self.below.get(&real_path(file)?)
            }
            Some(origin) => self.special.get(&origin),
            None => self.below.get(&real_path(file)?),
        };
        Ok(owner.map(|&(uid, gid)| Ownership { uid, gid, device: None }))
    }

    /// Records whose a file is.
    pub(super) fn set(&mut self, file: &OwnedFd, owned: Ownership) -> Result<(), Errno> {
        if owned.write(descriptor_path(file).as_ref())? {
            return Ok(());
        }
        let Some(origin) = self.origin(file)? else { return Ok(()) };
        let Ownership { uid, gid, .. } = owned;
        if self.special.insert(origin, (uid, gid)) != Some((uid, gid)) {
            send(&mut self.notes, &Note::Owned(Owned { origin, uid, gid }))
                .map_err(|_| Errno::IO)?;
        }
        Ok(())
    }

    /// Returns whether the layers below have links or pipes that belong to others.
    pub(super) fn knows_below(&self) -> bool {
        !self.below.is_empty()
    }

    /// Makes what is known by its path known by its inode, of a link or pipe or, where directories are renamed with all
    /// that they hold, of those in a directory.
    pub(super) fn settle(&mut self, file: &OwnedFd) -> Result<(), Errno> {
        match FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) {
            FileType::Symlink | FileType::Fifo => self.settle_one(file),
            // An overlay renames no directory that is in the layers below.
            FileType::Directory if self.upper.is_none() => {
                let directory = real_path(file)?;
                let inside = self.below.keys().filter(|path| path.starts_with(&directory));
                for path in inside.cloned().collect::<Vec<_>>() {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    if let Ok(file) = open(&path, flags, Mode::empty()) {
                        self.settle_one(&file)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn settle_one(&mut self, file: &OwnedFd) -> Result<(), Errno> {
        let Some(owned) = self.of(file)? else { return Ok(()) };
        if self.origin(file)?.is_none() {
            // Has it copied up.
            chownat(file, c"", Some(Uid::ROOT), Some(Gid::ROOT), AtFlags::EMPTY_PATH)?;
        }
        self.set(file, owned)
    }

    /// Records what the inode says by itself now, if something else was recorded.
    pub(super) fn correct(&mut self, file: &OwnedFd, owned: Ownership) -> Result<(), Errno> {
        match self.of(file)? {
            Some(_) => self.set(file, owned),
            None => Ok(()),
        }
    }

    /// Finds out which file it is where the layer is read; `None`: it lies below.
    fn origin(&self, file: &OwnedFd) -> Result<Option<Origin>, Errno> {
        if let Some((upper, root)) = &self.upper {
            let mount = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
            if mount.stx_mnt_id == *root {
                let path = real_path(file)?;
                let path = path.strip_prefix("/").unwrap_or(&path);
                let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
                return match Origin::of(upper, &path) {
                    Ok(origin) => Ok(Some(origin)),
                    Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
                    Err(error) => Err(error),
                };
            }
        }
        Origin::of_open(file).map(Some)
    }
}

fn real_path(file: &OwnedFd) -> Result<PathBuf, Errno> {
    let path = readlink(descriptor_path(file), Vec::new())?;
    Ok(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).to_owned())
}
