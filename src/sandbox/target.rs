//! Mount points: found beneath the new root, made where they are missing, and removed afterwards.
//!
//! Links in the image are followed as the image means them, never out of the root. What is made is noted, so that the
//! keeper can remove it from the upper directory when the command is gone: a made directory if it is still empty, a
//! made file if it still has no content, and a directory that was copied up for this alone if nothing has touched
//! it. Modification times of parents are put back each time. Mount points inside other mounts are not noted: they are
//! not part of the root.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, Stat, StatxFlags, Timespec, Timestamps, fstat, mkdirat,
    openat, openat2, readlinkat, statat, statx, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::wire::{Failure, Result, refused_at};

/// A mount point that was made; the path is relative to the root and free of links.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stub {
    path: PathBuf,
    kind: Kind,
}

/// A directory of a lower layer that gets a copy in the upper directory because a mount point is made beneath it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CopiedUp {
    path: PathBuf,
    look: Look,
}

/// What tells whether anyone has touched a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn of(stat: &Stat) -> Self {
        Look {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            modified: (stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: (stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
        }
    }
}

/// What a mount point has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// For directories and whole file systems.
    Directory,
    /// For anything else.
    File,
}

/// How paths are looked up in trees that others have filled.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Opens `path` beneath `root` as a place, following links inside only.
pub(super) fn open_beneath(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    // Lookups race with renames on other processors; the kernel then asks to try again.
    loop {
        match openat2(&root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), BENEATH) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Makes mount points beneath one root.
pub(super) struct Targets {
    root: OwnedFd,
    /// The upper directory of an overlay root.
    upper: Option<OwnedFd>,
    mount: u64,
    stubs: Vec<Stub>,
    copied_up: Vec<PathBuf>,
}

impl Targets {
    /// Works beneath `root`, whose changes appear in `upper` if it is an overlay.
    pub(super) fn new(root: OwnedFd, upper: Option<OwnedFd>) -> io::Result<Self> {
        let mount = mount_of(root.as_fd())?;
        Ok(Self { root, upper, mount, stubs: Vec::new(), copied_up: Vec::new() })
    }

    /// The new root.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the mount point `target`, making it if it is missing.
    pub(super) fn open(&mut self, target: &Path, kind: Kind) -> Result<OwnedFd> {
        let fail = |error: Errno| refused_at::<Errno>("use the mount point", target)(error);
        match open_beneath(&self.root, target) {
            Err(Errno::NOENT) => self.make(target, kind).map_err(fail)?,
            other => return other.map_err(fail),
        }
        open_beneath(&self.root, target).map_err(fail)
    }

    /// The same for the mount points that runc leaves in a root that lacks them, so that images have them: `/dev`,
    /// `/proc` and `/sys`.
    pub(super) fn open_lasting(&mut self, target: &Path) -> Result<OwnedFd> {
        let before = self.stubs.len();
        let opened = self.open(target, Kind::Directory);
        self.stubs.truncate(before);
        opened
    }

    /// Walks to `target`, following links by hand, and makes what is missing on the way.
    fn make(&mut self, target: &Path, kind: Kind) -> rustix::io::Result<()> {
        let mut links = 0;
        let mut at = PathBuf::new();
        let mut rest: VecDeque<OsString> = names(target).collect();
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&name);
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat2(&self.root, &next, flags, Mode::empty(), BENEATH) {
                Ok(found) if is_link(&found)? => {
                    links += 1;
                    if links > 40 {
                        return Err(Errno::LOOP);
                    }
                    let to = OsString::from_vec(readlinkat(&found, "", Vec::new())?.into_bytes());
                    if to.as_bytes().starts_with(b"/") {
                        at = PathBuf::new();
                    }
                    for name in names(Path::new(&to)).rev() {
                        rest.push_front(name);
                    }
                }
                Ok(_) => at = next,
                Err(Errno::NOENT) => {
                    let kind = if rest.is_empty() { kind } else { Kind::Directory };
                    self.make_one(&at, &name, kind)?;
                    at = next;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn make_one(&mut self, parent: &Path, name: &OsStr, kind: Kind) -> rustix::io::Result<()> {
        let of_root = Path::new(".").join(parent);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(&self.root, &of_root, flags, Mode::empty(), BENEATH)?;
        let in_root = mount_of(dir.as_fd())? == self.mount;
        if in_root {
            self.note_copies(parent)?;
        }
        let times = times_of(&fstat(&dir)?);
        let made = match kind {
            Kind::Directory => mkdirat(&dir, name, Mode::from_raw_mode(0o755)),
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                openat(&dir, name, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
        };
        match made {
            // The root is this step's alone, but a cache mount is shared: another step may have been faster there.
            Err(Errno::EXIST) if !in_root => {}
            made => made?,
        }
        rustix::fs::futimens(&dir, &times)?;
        if in_root {
            self.stubs.push(Stub { path: parent.join(name), kind });
        }
        Ok(())
    }

    /// Remembers which of the directories down to `parent` are not in the upper directory yet.
    fn note_copies(&mut self, parent: &Path) -> rustix::io::Result<()> {
        let Some(upper) = &self.upper else { return Ok(()) };
        let mut missing: Vec<PathBuf> = Vec::new();
        for dir in parent.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
            match statat(upper, dir, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => missing.push(dir.to_owned()),
                Err(error) => return Err(error),
                Ok(_) => break,
            }
        }
        self.copied_up.extend(missing.into_iter().rev());
        Ok(())
    }

    /// Returns the new root and what has to be removed later.
    pub(super) fn finish(self) -> rustix::io::Result<(OwnedFd, Vec<Stub>, Vec<CopiedUp>)> {
        let mut copied_up = Vec::new();
        if let Some(upper) = &self.upper {
            for path in self.copied_up {
                let look = Look::of(&statat(upper, &path, AtFlags::SYMLINK_NOFOLLOW)?);
                copied_up.push(CopiedUp { path, look });
            }
        }
        Ok((self.root, self.stubs, copied_up))
    }
}

/// Removes from `root` (the upper directory or the directory that was the root) what was made for the sandbox.
pub(super) fn remove_made(root: &Path, stubs: &[Stub], copied_up: &[CopiedUp]) -> Result<()> {
    if stubs.is_empty() {
        return Ok(());
    }
    let fail = refused_at::<Errno>("remove mount points from", root);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(rustix::fs::CWD, root, flags, Mode::empty());
    root.and_then(|root| remove_from(&root, stubs, copied_up)).map_err(fail)
}

fn remove_from(root: &OwnedFd, stubs: &[Stub], copied: &[CopiedUp]) -> rustix::io::Result<()> {
    // Removals change the times of parents, so all looks are taken before the first.
    let untouched: Vec<&CopiedUp> = copied
        .iter()
        .filter(|dir| look_at(root, &dir.path).is_some_and(|look| look == dir.look))
        .collect();
    for stub in stubs.iter().rev() {
        remove_one(root, &stub.path, stub.kind)?;
    }
    for dir in untouched.iter().rev() {
        remove_one(root, &dir.path, Kind::Directory)?;
    }
    Ok(())
}

fn look_at(root: &OwnedFd, path: &Path) -> Option<Look> {
    let parent = open_parent(root, path).ok()?;
    let stat = statat(parent, path.file_name()?, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    Some(Look::of(&stat))
}

/// Opens the directory that holds `path`. The command may have replaced parts of the path by links: none is followed.
fn open_parent(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let parent = Path::new(".").join(path.parent().unwrap_or(Path::new("")));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    openat2(root, parent, flags, Mode::empty(), resolve)
}

fn remove_one(root: &OwnedFd, path: &Path, kind: Kind) -> rustix::io::Result<()> {
    let Some(name) = path.file_name() else { return Ok(()) };
    let parent = match open_parent(root, path) {
        Ok(parent) => parent,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let times = times_of(&fstat(&parent)?);
    let removed = match kind {
        Kind::Directory => unlinkat(&parent, name, AtFlags::REMOVEDIR),
        Kind::File => match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_empty_file(&stat) => unlinkat(&parent, name, AtFlags::empty()),
            Ok(_) => return Ok(()),
            Err(error) => Err(error),
        },
    };
    match removed {
        Ok(()) => utimensat(&parent, ".", &times, AtFlags::empty()),
        // It was filled, replaced or removed by the command, and so belongs to it.
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_empty_file(stat: &Stat) -> bool {
    rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn is_link(place: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::FileType::from_raw_mode(fstat(place)?.st_mode).is_symlink())
}

fn times_of(stat: &Stat) -> Timestamps {
    let time = |sec: i64, nsec: u64| Timespec { tv_sec: sec, tv_nsec: nsec.cast_signed() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn mount_of(place: BorrowedFd<'_>) -> rustix::io::Result<u64> {
    Ok(statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// Returns what kind of mount point something needs.
pub(super) fn kind_of(place: impl AsFd, what: &Path) -> std::result::Result<Kind, Failure> {
    let stat = fstat(place).map_err(refused_at("inspect", what))?;
    let is_dir = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(if is_dir { Kind::Directory } else { Kind::File })
}
