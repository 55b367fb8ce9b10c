//! The writable directory of a command: made before it runs, read once afterwards.
//!
//! The walk finds every entry; regular files are then hashed (`files.rs`). What the records mean for a layer is
//! decided by `layer`'s diff, not here.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};

use super::files::{of_files, xattrs};
use super::{Result, SnapshotError, flavour};
use crate::digest::ContentDigest;
use crate::event::Cancel;
use crate::fs::PathError;
use crate::layer::{
    Flavour, Found, Inode, Kind, Metadata, Opacity, OverlayXattrs, Owners, Timestamp, Tree,
    TreePath, Xattrs, check_depth,
};
use crate::ownership::{ATTRIBUTE, Device, Origin, Owned, Ownership};
use crate::store::Store;

/// A writable directory with its overlay work directory.
#[derive(Debug)]
pub struct Upper {
    /// Where writes go.
    pub files: PathBuf,
    /// The overlay's own.
    pub work: PathBuf,
}

impl Upper {
    /// Makes both, with the metadata of the root that the command is to see.
    pub fn new(store: &Store, root: &Metadata) -> Result<Self> {
        let upper = Self { files: store.scratch_dir()?, work: store.scratch_dir()? };
        upper.prepare(root).map_err(PathError::of("prepare", &upper.files))?;
        Ok(upper)
    }

    fn prepare(&self, root: &Metadata) -> rustix::io::Result<()> {
        if rustix::process::geteuid().is_root() {
            Ownership { uid: root.uid, gid: root.gid, device: None }.give(&self.files)?;
        }
        rustix::fs::chmod(&self.files, Mode::from_raw_mode(root.mode))
    }

    /// Reads what a command left on a tree; `owned` says what the files cannot say of themselves.
    pub fn read(
        &self,
        base: &Tree,
        owned: &[Owned],
        cancel: &Cancel,
    ) -> Result<Vec<(TreePath, Found)>> {
        self.read_if(base, owned, cancel, &mut |_, _| true)
    }

    /// Reads of what is there only what `wanted`, which hears of every entry once, parents first, wants to know of.
    pub(super) fn read_if(
        &self,
        base: &Tree,
        owned: &[Owned],
        cancel: &Cancel,
        wanted: &mut dyn FnMut(&TreePath, &Stat) -> bool,
    ) -> Result<Vec<(TreePath, Found)>> {
        let owned = owned.iter().map(|it| (it.origin, (it.uid, it.gid))).collect();
        let flavour = flavour();
        let top = open_directory(&self.files).map_err(PathError::of("open", &self.files))?;
        let mut walk = Walk {
            root: &self.files,
            top,
            flavour,
            base,
            owned,
            wanted,
            found: Vec::new(),
            files: Vec::new(),
            pending: vec![TreePath::root()],
        };
        while let Some(directory) = walk.pending.pop() {
            walk.directory(&directory)?;
        }
        let Walk { mut found, files, .. } = walk;
        let read = of_files(&files, cancel, |index, reader| {
            reader.read(&self.files.join(found[*index].0.as_path()))
        })?;
        for (index, (digest, xattrs)) in files.iter().zip(read) {
            let Found::Other { kind, meta, .. } = &mut found[*index].1 else { continue };
            meta.xattrs = xattrs;
            if let Some(Device { is_block, major, minor }) = take_said(flavour, meta) {
                *kind = match is_block {
                    true => Kind::BlockDevice { major, minor },
                    false => Kind::CharDevice { major, minor },
                };
            } else if let Kind::File { content, .. } = kind {
                *content = digest;
            }
        }
        Ok(found)
    }

    /// Throws both away, as far as they are still there.
    pub fn discard(self) {
        for path in [&self.files, &self.work] {
            // What is left is swept with the lease's scratch directory.
            let _ = crate::fs::remove_tree(path);
        }
    }

    /// The same, but does not wait until they are gone: for what has few files.
    pub(super) fn throw_away(self, store: &Store) {
        store.throw_away(self.files);
        store.throw_away(self.work);
    }
}

/// Returns whose links and pipes of a tree are that cannot say it themselves: path, user, group.
pub fn owned_below(tree: &Tree) -> Vec<(PathBuf, u32, u32)> {
    if flavour().owners == Owners::Recorded {
        return Vec::new();
    }
    let special = tree.walk(&TreePath::root()).filter(|(_, node)| {
        matches!(node.kind(), Kind::Symlink { .. } | Kind::Fifo)
            && (node.meta().uid, node.meta().gid) != (0, 0)
    });
    let root = Path::new("/");
    special.map(|(path, it)| (root.join(path.as_path()), it.meta().uid, it.meta().gid)).collect()
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, DIRECTORY, Mode::empty())
}

struct Walk<'a> {
    root: &'a Path,
    top: OwnedFd,
    flavour: Flavour,
    /// What was there before.
    base: &'a Tree,
    /// What links and pipes are said to be.
    owned: HashMap<Origin, (u32, u32)>,
    wanted: &'a mut dyn FnMut(&TreePath, &Stat) -> bool,
    found: Vec<(TreePath, Found)>,
    /// Which of `found` are regular files, whose contents and attributes are to be read.
    files: Vec<usize>,
    /// Directories that are still to be read: commands nest them deeper than a stack, or the limit of open files, is.
    pending: Vec<TreePath>,
}

impl Walk<'_> {
    fn fail(&self, path: &TreePath) -> impl Fn(rustix::io::Errno) -> SnapshotError {
        let path = self.root.join(path.as_path());
        move |errno| PathError::of("read", &path)(errno).into()
    }

    fn directory(&mut self, at: &TreePath) -> Result<()> {
        let name = if at.is_root() { Path::new(".") } else { at.as_path() };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let fd = rustix::fs::openat2(&self.top, name, DIRECTORY, Mode::empty(), resolve)
            .map_err(self.fail(at))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd).map_err(self.fail(at))? {
            let entry = entry.map_err(self.fail(at))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in names {
            let Some(path) = at.join(name.to_bytes()) else { continue };
            self.entry(&fd, &name, path)?;
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &CStr, path: TreePath) -> Result<()> {
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.fail(&path))?;
        let wanted = (self.wanted)(&path, &stat);
        let file_type = FileType::from_raw_mode(stat.st_mode);
        if !wanted {
            if file_type == FileType::Directory {
                self.pending.push(path);
            }
            return Ok(());
        }
        let mut meta = metadata(&stat);
        // Those of files are read with them, and links carry none that a layer could hold.
        let has_none = file_type == FileType::Symlink && stat.st_mode & 0o7777 == 0o777;
        if file_type != FileType::RegularFile && !has_none {
            meta.xattrs = xattrs(&self.root.join(path.as_path()), file_type)?;
            take_said(self.flavour, &mut meta);
        }
        if file_type == FileType::Directory {
            // The other namespace's mark means nothing to the overlay, and may be a command's.
            let mark: &[u8] = match self.flavour.xattrs {
                OverlayXattrs::Trusted => b"trusted.overlay.opaque",
                OverlayXattrs::User => b"user.overlay.opaque",
            };
            let is_opaque = meta.xattrs.get(mark).is_some_and(|value| value == b"y");
            let opacity = if is_opaque { Opacity::Opaque } else { Opacity::Merged };
            check_depth(&path)?;
            self.pending.push(path.clone());
            self.found.push((path, Found::Directory { meta, opacity }));
            return Ok(());
        }
        let Some(mut found) = self.other((parent, name), &path, &stat, meta)? else {
            return Ok(());
        };
        self.own(&mut found, (parent, name), &path)?;
        if let Found::Other { kind: Kind::File { .. }, .. } = &found {
            self.files.push(self.found.len());
        }
        self.found.push((path, found));
        Ok(())
    }

    /// Returns what anything but a directory is; `None` for a socket, which no layer holds.
    fn other(
        &self,
        (parent, name): (&OwnedFd, &CStr),
        path: &TreePath,
        stat: &Stat,
        meta: Metadata,
    ) -> Result<Option<Found>> {
        let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                // The digest comes once all files are known.
                Kind::File {
                    size: stat.st_size as u64,
                    content: ContentDigest::from_bytes([0; 32]),
                }
            }
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(parent, name, Vec::new()).map_err(self.fail(path))?;
                Kind::Symlink { target: target.into_bytes() }
            }
            FileType::CharacterDevice if (major, minor) == (0, 0) => {
                return Ok(Some(Found::Whiteout));
            }
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        };
        let inode = Inode { device: stat.st_dev, number: stat.st_ino };
        let inode = (stat.st_nlink > 1).then_some(inode);
        Ok(Some(Found::Other { kind, meta, inode }))
    }

    /// Finds out whose a link or a pipe is, which cannot carry the attribute.
    fn own(
        &self,
        found: &mut Found,
        (parent, name): (&OwnedFd, &CStr),
        path: &TreePath,
    ) -> Result<()> {
        let Found::Other { kind: kind @ (Kind::Symlink { .. } | Kind::Fifo), meta, .. } = found
        else {
            return Ok(());
        };
        if !self.owned.is_empty() {
            let origin = Origin::of(parent, name).map_err(self.fail(path))?;
            if let Some(owner) = self.owned.get(&origin) {
                (meta.uid, meta.gid) = *owner;
                return Ok(());
            }
        }
        // What was merely copied up has its time still, which nothing that is made anew has.
        let old = self.base.get(path).filter(|old| old.kind() == *kind);
        if let Some(old) = old
            .filter(|old| self.flavour.owners == Owners::Invoker && old.meta().mtime == meta.mtime)
        {
            (meta.uid, meta.gid) = (old.meta().uid, old.meta().gid);
        }
        Ok(())
    }
}

/// Takes what a file says of itself out of its attributes, and whose it is from there; returns the device that it stands
/// for.
fn take_said(flavour: Flavour, meta: &mut Metadata) -> Option<Device> {
    let said = meta.xattrs.remove(ATTRIBUTE.as_bytes())?;
    // What the kernel can hold nobody needs to say, and what is said there was said by the command.
    if flavour == Flavour::ROOT {
        return None;
    }
    let said = Ownership::parse(&said)?.believed((meta.uid, meta.gid))?;
    (meta.uid, meta.gid) = (said.uid, said.gid);
    said.device
}

/// Takes the metadata out of what `stat` says; extended attributes are not part of it.
pub fn metadata(stat: &Stat) -> Metadata {
    Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
        xattrs: Xattrs::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{XattrFlags, setxattr};

    #[test]
    fn deep_directories_need_no_deep_stack() {
        const DEPTH: usize = crate::layer::DEEPEST as usize;
        let top = tempfile::tempdir().unwrap();
        let (files, work) = (top.path().to_owned(), top.path().join("work"));
        let mut path = files.clone();
        for _ in 0..DEPTH {
            path.push("d");
            std::fs::create_dir(&path).unwrap();
        }
        let read = move || {
            let upper = Upper { files, work };
            upper.read(&Tree::empty(), &[], &Cancel::new()).unwrap().len()
        };
        let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(read).unwrap();
        assert_eq!(thread.join().unwrap(), DEPTH);
    }

    #[test]
    fn a_command_cannot_say_whose_its_files_are() {
        let top = tempfile::tempdir().unwrap();
        let files = top.path().to_owned();
        for (name, uid, said) in
            [("own", 1000, "0:0"), ("device", 1000, "0:0:b:8:0"), ("root", 0, "7:7")]
        {
            let file = files.join(name);
            std::fs::write(&file, "").unwrap();
            std::os::unix::fs::chown(&file, Some(uid), Some(uid)).unwrap();
            setxattr(&file, ATTRIBUTE, said.as_bytes(), XattrFlags::empty()).unwrap();
            let believed = Ownership::read(&file).unwrap().is_some();
            assert_eq!(believed, uid == 0, "{name}");
        }
        let work = top.path().join("work");
        let found = Upper { files, work }.read(&Tree::empty(), &[], &Cancel::new()).unwrap();
        let mut owners: Vec<_> = found
            .iter()
            .map(|(path, found)| match found {
                Found::Other { kind: Kind::File { .. }, meta, .. } => {
                    (path.to_string(), meta.uid, meta.gid)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        owners.sort();
        let expected = [("/device", 1000), ("/own", 1000), ("/root", 0)];
        assert_eq!(owners, expected.map(|(name, id)| (name.to_owned(), id, id)));
    }

    #[test]
    fn what_lies_too_deep_is_refused() {
        let top = tempfile::tempdir().unwrap();
        let files = top.path().to_owned();
        let deep = |levels| files.join(vec!["d"; levels].join("/"));
        let read = || {
            let upper = Upper { files: files.clone(), work: files.join("work") };
            upper.read(&Tree::empty(), &[], &Cancel::new())
        };
        std::fs::create_dir_all(deep(512)).unwrap();
        assert_eq!(read().unwrap().len(), 512);
        std::fs::create_dir(deep(513)).unwrap();
        let error = read().unwrap_err().to_string();
        assert_eq!(error, "`/d` has more than 512 directories in one another");
    }

    #[test]
    fn attributes_and_marks_are_read() {
        let top = tempfile::tempdir().unwrap();
        let (files, work) = (top.path().to_owned(), top.path().join("work"));
        let (directory, file) = (files.join("d"), files.join("f"));
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(&file, "").unwrap();
        for name in ["user.one", "user.two", "trusted.overlay.opaque"] {
            for path in [&directory, &file] {
                setxattr(path, name, b"y", XattrFlags::empty()).unwrap();
            }
        }
        let upper = || Upper { files: files.clone(), work: work.clone() };
        let mut found = upper().read(&Tree::empty(), &[], &Cancel::new()).unwrap();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let names = |meta: &Metadata| {
            let names = meta.xattrs.keys().map(|name| String::from_utf8_lossy(name).into_owned());
            names.collect::<Vec<_>>()
        };
        let [(_, Found::Directory { meta: marked, opacity }), (_, Found::Other { meta, .. })] =
            &found[..]
        else {
            panic!("{found:?}")
        };
        assert_eq!(*opacity, Opacity::Opaque);
        assert_eq!(names(marked), ["trusted.overlay.opaque", "user.one", "user.two"]);
        rustix::fs::removexattr(&directory, "trusted.overlay.opaque").unwrap();
        setxattr(&directory, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        let found = upper().read(&Tree::empty(), &[], &Cancel::new()).unwrap();
        let is_opaque =
            |found: &Found| matches!(found, Found::Directory { opacity: Opacity::Opaque, .. });
        assert!(!found.iter().any(|(_, found)| is_opaque(found)), "a command may set this one");
        assert_eq!(names(meta), ["user.one", "user.two"], "no mark on a file means anything");
    }
}
