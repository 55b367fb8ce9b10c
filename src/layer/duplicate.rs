//! A whole tree as a plain directory: what a command works on where nothing can be stacked.
//!
//! Invariant: every file is one of its own, so that writing to one never changes another, as it is in an overlay:
//! there, a name of a file with several names parts from the others with the first write to it. Contents come from the
//! store, which was verified when they got there: nothing is hashed, and where the file system can share blocks, or
//! copy within itself, it does.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::disk::{Disk, Flavour};
use super::error::{LayerError, Result};
use super::materialise::{in_parallel, run_of};
use super::node::{Node, NodeKind, Origin};
use super::{Tree, TreePath};
use crate::fs::PathError;

/// Writes all of a tree but its root directory's own metadata into `root`, an empty directory.
pub fn duplicate(tree: &Tree, root: &Path, flavour: Flavour) -> Result<()> {
    let mut disk = Disk::open(root, flavour)?;
    let mut files: Vec<(TreePath, &Node)> = Vec::new();
    let mut directories: Vec<(TreePath, &Node)> = Vec::new();
    for (path, node) in tree.walk(&TreePath::root()).filter(|(path, _)| !path.is_root()) {
        match &node.kind {
            NodeKind::Directory(_) => {
                disk.mkdir(&path)?;
                directories.push((path, node));
            }
            NodeKind::File { .. } => files.push((path, node)),
            _ => disk.make(&path, &node.kind(), node.meta())?,
        }
    }
    let run = run_of(files.len());
    in_parallel(&disk, files.into_iter(), run, |disk, (path, node), buffer| {
        if let NodeKind::File { size, origin, .. } = &node.kind {
            let mut file = disk.create(path, node.meta())?;
            if !copy_piece(origin, &file, *size)
                .map_err(|error| LayerError::from(PathError::of("copy", path.as_path())(error)))?
            {
                copy_bytes(disk, (path, origin), (&mut file, *size), buffer)?;
            }
            disk.describe_file(&file, path, node.meta())?;
        }
        Ok(())
    })?;
    for (path, node) in directories.iter().rev() {
        disk.describe_directory(path, node.meta())?;
    }
    Ok(())
}

/// Lets the kernel copy a content, holes left out; returns whether it can.
fn copy_piece(origin: &Origin, to: &File, size: u64) -> io::Result<bool> {
    let Some((from, start)) = origin.contents().piece(&origin.path()).map_err(io::Error::other)?
    else {
        return Ok(false);
    };
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        // A file system that knows no holes calls everything data.
        let (data, hole) = match rustix::fs::seek(&from, SeekFrom::Data(start + at)) {
            Ok(data) => (data, rustix::fs::seek(&from, SeekFrom::Hole(data)).unwrap_or(u64::MAX)),
            Err(Errno::NXIO) if from.metadata()?.len() >= start + size => break,
            Err(Errno::NXIO) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(_) => return Ok(false),
        };
        let end = hole.min(start + size);
        let (mut read, mut write) = (data, data - start);
        while read < end {
            let left = usize::try_from(end - read).unwrap_or(usize::MAX);
            let copied =
                rustix::fs::copy_file_range(&from, Some(&mut read), to, Some(&mut write), left);
            match copied {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::NOSPC) => return Err(Errno::NOSPC.into()),
                // Between some file systems, and on some, the kernel cannot.
                Err(_) => return Ok(false),
            }
        }
        at = end - start;
    }
    Ok(true)
}

/// Copies a content from its beginning by reading and writing it.
fn copy_bytes(
    disk: &Disk,
    (path, origin): (&TreePath, &Origin),
    (to, size): (&mut File, u64),
    buffer: &mut [u8],
) -> Result<()> {
    let mut from = origin.open()?;
    let mut written = 0;
    loop {
        let n = super::pack::read(&mut from, buffer, path)?;
        written += n as u64;
        if n == 0 || written > size {
            break;
        }
        disk.write(to, path, &buffer[..n])?;
    }
    if written == size { Ok(()) } else { Err(LayerError::Changed(path.clone())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use super::*;
    use crate::digest::ContentDigest;
    use crate::event::Cancel;
    use crate::layer::{
        Changes, Contents, DirectoryContents, Kind, Metadata, Stoppable, TarContents, Timestamp,
    };

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn put_file(changes: &mut Changes, name: &str, bytes: &[u8], mode: u32) {
        let meta = Metadata {
            mode,
            mtime: Timestamp { seconds: 5, nanoseconds: 7 },
            ..Metadata::default()
        };
        let kind = Kind::File { size: bytes.len() as u64, content: ContentDigest::of(bytes) };
        changes.put(path(name), kind, meta);
    }

    /// A tree of two files of one inode, an empty one, and one with a hole.
    fn tree(contents: Arc<dyn Contents>, hole: &[u8]) -> Tree {
        let mut changes = Changes::new();
        let directory = Metadata { mode: 0o1750, ..Metadata::default() };
        changes.put(path("d"), Kind::Directory, directory);
        put_file(&mut changes, "d/a", b"linked", 0o4751);
        let meta = Metadata { mode: 0o4751, ..Metadata::default() };
        changes.put(path("d/b"), Kind::Hardlink { to: path("d/a") }, meta);
        put_file(&mut changes, "empty", b"", 0o600);
        put_file(&mut changes, "hole", hole, 0o644);
        changes.put(path("l"), Kind::Symlink { target: b"d/a".to_vec() }, Metadata::default());
        Tree::empty().apply(&changes, &contents).unwrap()
    }

    fn check(tree: &Tree, hole: &[u8]) -> u64 {
        let to = tempfile::tempdir().unwrap();
        duplicate(tree, to.path(), Flavour::USER).unwrap();
        let read = |name: &str| std::fs::read(to.path().join(name)).unwrap();
        let look = |name: &str| std::fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!((read("d/a"), read("l")), (b"linked".to_vec(), b"linked".to_vec()));
        assert_ne!(look("d/a").ino(), look("d/b").ino());
        assert_eq!((look("d").mode() & 0o7777, look("d/b").mode() & 0o7777), (0o1750, 0o4751));
        assert_eq!((look("d/a").mtime(), look("d/a").mtime_nsec()), (5, 7));
        assert_eq!(look("empty").len(), 0);
        assert!(read("hole") == hole);
        look("hole").blocks() * 512
    }

    #[test]
    fn every_name_becomes_a_file_of_its_own() {
        let from = tempfile::tempdir().unwrap();
        std::fs::create_dir(from.path().join("d")).unwrap();
        std::fs::write(from.path().join("d/a"), "linked").unwrap();
        std::fs::write(from.path().join("empty"), "").unwrap();
        let mut hole = vec![0; 4 << 20];
        hole[3 << 20] = 1;
        let sparse = File::create(from.path().join("hole")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[1], 3 << 20).unwrap();
        sparse.set_len(4 << 20).unwrap();
        let contents: Arc<dyn Contents> = Arc::new(DirectoryContents::open(from.path()).unwrap());
        let stoppable = Arc::new(Stoppable::new(contents.clone(), &Cancel::new()));
        for contents in [contents, stoppable] {
            let taken = check(&tree(contents, &hole), &hole);
            assert!(taken < 2 << 20, "the hole was filled: {taken} bytes");
        }
    }

    #[test]
    fn parts_of_a_file_are_copied_too() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"..linked.hole.").unwrap();
        let offsets = [("d/a", 2, 6), ("hole", 9, 4), ("empty", 0, 0)];
        let offsets = offsets.map(|(name, at, size)| (path(name), (at, size)));
        let tar = TarContents::new(file, offsets.into_iter().collect());
        check(&tree(Arc::new(tar), b"hole"), b"hole");
    }

    #[test]
    fn a_file_that_is_too_short_is_an_error() {
        let from = tempfile::tempdir().unwrap();
        std::fs::write(from.path().join("f"), "short").unwrap();
        let mut changes = Changes::new();
        put_file(&mut changes, "f", b"longer than that", 0o644);
        let contents: Arc<dyn Contents> = Arc::new(DirectoryContents::open(from.path()).unwrap());
        let tree = Tree::empty().apply(&changes, &contents).unwrap();
        let to = tempfile::tempdir().unwrap();
        duplicate(&tree, to.path(), Flavour::USER).unwrap_err();
    }
}
