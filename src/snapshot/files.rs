//! Files of this machine, read and hashed on all cores: many at once, and a large one in pieces; and what is attached to
//! them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Result;
use crate::digest::{ContentDigest, ContentHasher, Piece};
use crate::event::Cancel;
use crate::fs::{PathError, unmarked};
use crate::layer::{Xattrs, is_overlay_xattr};
use crate::parallel;

const BUFFER: usize = 256 << 10;
/// Larger files are hashed in one piece, lest the list of their pieces becomes large too.
const LARGEST: u64 = 1 << 40;

/// What one of the threads that read files reads them with.
pub struct Reader<'a> {
    /// Holds anything.
    buffer: Vec<u8>,
    /// How many threads may hash a large file.
    threads: usize,
    cancel: &'a Cancel,
}

/// Hashes files on all cores; results are in the order of `paths`. It fails once the user asks to stop.
pub fn hash_files<P: AsRef<Path> + Sync>(
    paths: &[P],
    cancel: &Cancel,
) -> Result<Vec<ContentDigest>> {
    of_files(paths, cancel, |path, reader| {
        let path = path.as_ref();
        reader.hash(&mut open(path)?).map_err(|error| PathError::of("read", path)(error).into())
    })
}

/// Does `read` with files on all cores; results are in the order of `files`.
pub fn of_files<T: Sync, R: Send, E: Send>(
    files: &[T],
    cancel: &Cancel,
    read: impl Fn(&T, &mut Reader<'_>) -> std::result::Result<R, E> + Sync,
) -> std::result::Result<Vec<R>, E> {
    const BATCH: usize = 64;
    let batches: Vec<&[T]> = files.chunks(BATCH).collect();
    let processors = parallel::processors();
    // Of many batches others are read while one has a large file.
    let threads = (2 * processors / batches.len().max(1)).clamp(1, processors);
    let done = parallel::map(processors, &batches, |batch| {
        let mut reader = Reader { buffer: vec![0; BUFFER], threads, cancel };
        batch.iter().map(|file| read(file, &mut reader)).collect::<std::result::Result<Vec<R>, E>>()
    })?;
    Ok(done.into_iter().flatten().collect())
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = unmarked(flags, |flags| rustix::fs::open(path, flags, Mode::empty()));
    let file = file.map_err(PathError::of("read", path))?;
    Ok(file.into())
}

impl Reader<'_> {
    /// Reads a file with its attributes. It fails once the user asks to stop.
    pub fn read(&mut self, path: &Path) -> Result<(ContentDigest, Xattrs)> {
        let mut file = open(path)?;
        let content = self.hash(&mut file).map_err(PathError::of("read", path))?;
        Ok((content, read_xattrs(&Attributed::File(&file), path, FileType::RegularFile)?))
    }

    fn hash(&mut self, file: &mut File) -> io::Result<ContentDigest> {
        let mut hasher = ContentHasher::new();
        let mut is_first = true;
        loop {
            check(self.cancel)?;
            let n = file.read(&mut self.buffer)?;
            if n == 0 {
                return Ok(hasher.content());
            }
            // What fills the buffer may be large; of the others nobody needs to ask for the size.
            if is_first
                && n == self.buffer.len()
                && let Some(content) = self.hash_pieces(file)?
            {
                return Ok(content);
            }
            hasher.update(&self.buffer[..n]);
            is_first = false;
        }
    }

    /// Hashes a file in pieces; `None` if it has no two of them, or became shorter meanwhile.
    fn hash_pieces(&self, file: &File) -> io::Result<Option<ContentDigest>> {
        let size = file.metadata()?.len();
        if self.threads < 2 || !(Piece::SIZE + 1..=LARGEST).contains(&size) {
            return Ok(None);
        }
        let starts: Vec<u64> = (0..size.div_ceil(Piece::SIZE)).map(|n| n * Piece::SIZE).collect();
        let pieces = parallel::map(self.threads, &starts, |start| {
            hash_piece(file, *start..size.min(start + Piece::SIZE), self.cancel)
        })?;
        let pieces: Option<Vec<Piece>> = pieces.into_iter().collect();
        Ok(pieces.and_then(|pieces| Piece::join(&pieces)))
    }
}

fn hash_piece(file: &File, range: Range<u64>, cancel: &Cancel) -> io::Result<Option<Piece>> {
    let mut buffer = vec![0; BUFFER];
    let mut hasher = Piece::hasher(range.start);
    let mut at = range.start;
    while at < range.end {
        check(cancel)?;
        let most = BUFFER.min(usize::try_from(range.end - at).unwrap_or(BUFFER));
        match file.read_at(&mut buffer[..most], at)? {
            0 => return Ok(None),
            n => {
                hasher.update(&buffer[..n]);
                at += n as u64;
            }
        }
    }
    Ok(Piece::of(&hasher))
}

/// Reads the extended attributes of a path without following it.
pub fn xattrs(path: &Path, file_type: FileType) -> Result<Xattrs> {
    read_xattrs(&Attributed::Path(path), path, file_type)
}

/// What has attributes.
enum Attributed<'a> {
    File(&'a File),
    /// Not followed.
    Path(&'a Path),
}

impl Attributed<'_> {
    fn has_any(&self) -> rustix::io::Result<bool> {
        let size = match self {
            Self::File(file) => rustix::fs::flistxattr_query(file),
            Self::Path(path) => rustix::fs::llistxattr_query(*path),
        };
        match size {
            Ok(size) => Ok(size > 0),
            Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn names(&self, names: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::File(file) => rustix::fs::flistxattr(file, names),
            Self::Path(path) => rustix::fs::llistxattr(*path, names),
        }
    }

    fn value(&self, name: &OsStr, value: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::File(file) => rustix::fs::fgetxattr(file, name, value),
            Self::Path(path) => rustix::fs::lgetxattr(*path, name, value),
        }
    }
}

fn read_xattrs(of: &Attributed<'_>, path: &Path, file_type: FileType) -> Result<Xattrs> {
    let mut found = Xattrs::new();
    let fail = PathError::of("read the attributes of", path);
    if !of.has_any().map_err(&fail)? {
        return Ok(found);
    }
    // The kernel never has more than this, and almost always nothing.
    const LONGEST: usize = 1 << 16;
    let mut names = vec![0; LONGEST];
    let size = of.names(&mut names).map_err(&fail)?;
    for name in names[..size].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // The label of the host's policy is not the image's; overlay's own marks are needed on directories only.
        let skipped = name == b"security.selinux"
            || (file_type != FileType::Directory && is_overlay_xattr(name));
        if skipped {
            continue;
        }
        let mut value = vec![0_u8; LONGEST];
        match of.value(OsStr::from_bytes(name), &mut value) {
            Ok(size) => {
                value.truncate(size);
                found.insert(name.to_vec(), value);
            }
            Err(Errno::NODATA | Errno::PERM) => {}
            Err(errno) => return Err(fail(errno).into()),
        }
    }
    Ok(found)
}

fn check(cancel: &Cancel) -> io::Result<()> {
    match cancel.is_canceled() {
        true => Err(io::Error::other("canceled")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_bytes_whatever_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..9 << 20_u32).map(|n: u32| (n ^ (n >> 9)) as u8).collect();
        let piece = Piece::SIZE as usize;
        let lengths = [0, 1, BUFFER, piece, piece + 1, 2 * piece, bytes.len()];
        let paths = lengths.map(|length| dir.path().join(length.to_string()));
        for (path, length) in paths.iter().zip(lengths) {
            std::fs::write(path, &bytes[..length]).unwrap();
        }
        let digests = hash_files(&paths, &Cancel::new()).unwrap();
        assert_eq!(digests, lengths.map(|length| ContentDigest::of(&bytes[..length])));
    }

    #[test]
    fn nothing_is_read_for_a_user_who_asked_to_stop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let cancel = Cancel::new();
        cancel.cancel();
        let error = hash_files(&[&path], &cancel).unwrap_err();
        assert!(format!("{error:?}").contains("canceled"), "{error:?}");
    }
}
