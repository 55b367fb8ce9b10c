//! File system access in which every error names its path.
//!
//! The functions are thin on purpose: what to do with a file belongs to the module that owns it. Names that come
//! from outside (archives, images, registries) are joined through `TreePath` and opened beneath a directory
//! descriptor, never through this file.

mod remove;
mod reopened;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use remove::remove_tree;
pub use reopened::Reopened;

/// An io error with the operation and the path it happened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} `{}`", path.display())]
pub struct PathError {
    /// A verb phrase that fits after "cannot".
    pub operation: &'static str,
    /// The path as it was used.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl PathError {
    /// Makes the closure that `map_err` wants, for errors of the standard library or of a system call.
    pub fn of<'a, E: Into<io::Error>>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl Fn(E) -> PathError + 'a {
        move |error| PathError { operation, path: path.to_owned(), source: error.into() }
    }

    /// Returns whether the cause is that there is no such file.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Returns whether what the user named is at fault, and not this machine: it is not there, or not of the right kind.
    pub fn is_of_input(&self) -> bool {
        let is_own = self.source.raw_os_error().is_none();
        self.is_not_found() || is_own && self.source.kind() == io::ErrorKind::InvalidInput
    }

    /// Returns whether the cause is a full file system or quota.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Returns whether an error says that a file system or quota is full, or a file as large as it may be.
pub fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Returns the remedy if the last cause of an error is this machine's state, whatever was being done: a full disk, a
/// failing one, one that may only be read, a limit of the process.
pub fn remedy(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut chain = std::iter::successors(Some(error), |&error| error.source());
    chain.find_map(|cause| remedy_of(cause.downcast_ref()?)).map(str::to_owned)
}

fn remedy_of(error: &io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;

    match (error.kind(), Errno::from_io_error(error)) {
        (ErrorKind::FileTooLarge, _) => {
            Some("files may not be as large as that here: see `ulimit -f`")
        }
        (ErrorKind::ReadOnlyFilesystem, _) => {
            Some("the file system can only be read: name another place")
        }
        (_, Some(Errno::MFILE)) => Some("raise the limit of open files: `ulimit -n`"),
        (_, Some(Errno::NFILE)) => Some("the whole machine has too many files open"),
        _ if is_lost(error) => {
            Some("the disk fails: `kiln check-store` finds what of the store it has damaged")
        }
        _ if is_full(error) => Some("the disk is full: free some space"),
        _ => None,
    }
}

/// Returns whether an error says that this process, or the whole machine, has as many files open as it may.
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Returns whether less than 1 MiB is left where a path lies: hardly a program can write there.
pub fn has_no_space(path: &Path) -> bool {
    // What cannot be found out is not claimed.
    rustix::fs::statvfs(path)
        .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < 1 << 20)
}

/// Returns whether an error says that a disk or a file system has lost what was on it.
pub fn is_lost(error: &io::Error) -> bool {
    [Errno::IO, Errno::UCLEAN, Errno::BADMSG]
        .iter()
        .any(|lost| error.raw_os_error() == Some(lost.raw_os_error()))
}

/// Returns the system's words for an error, in lowercase and without its number.
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// A result whose error names its path.
pub type Result<T> = std::result::Result<T, PathError>;

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(PathError::of("read", path))
}

/// Reads a file, but no more of it than `limit` bytes.
pub fn read_start(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes).map_err(PathError::of("read", path))?;
    Ok(bytes)
}

/// Reads a whole file, `None` if there is none.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a file, but no more of it than `limit` bytes, without marking it as read, as far as this user may ask for
/// that; `None` if there is none.
pub fn read_unmarked(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(file) = open_unmarked(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(PathError::of("read", path))?;
    Ok(Some(bytes))
}

/// Opens a file for reading that is not marked as read by it, as far as this user may ask for that; `None` if there is
/// none. No link is followed, and nothing is waited for.
pub fn open_unmarked(path: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match unmarked(flags, |flags| rustix::fs::open(path, flags, Mode::empty())) {
        Err(Errno::NOENT) => Ok(None),
        opened => Ok(Some(File::from(opened.map_err(PathError::of("read", path))?))),
    }
}

/// Opens with `open` what is not marked as read by that, as far as this user may ask for it: as the owner, or as root. The
/// first mark after a file was written makes the kernel write its inode once more.
pub fn unmarked<T>(
    flags: OFlags,
    open: impl Fn(OFlags) -> rustix::io::Result<T>,
) -> rustix::io::Result<T> {
    match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    }
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(PathError::of("open", path))
}

/// Opens a file for reading that must be a regular one; links to it are followed. A pipe that nobody writes to would be
/// waited for without end.
pub fn open_regular(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map(File::from);
    let file = file.map_err(PathError::of("open", path))?;
    match file.metadata().map_err(PathError::of("examine", path))?.is_file() {
        true => Ok(file),
        false => Err(PathError::of("open", path)(io::Error::other("not a regular file"))),
    }
}

/// Reads a regular file, but no more of it than `limit` bytes.
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    file.take(limit).read_to_end(&mut bytes).map_err(PathError::of("read", path))?;
    Ok(bytes)
}

/// Reads a regular file that is called by a name, but no more of it than `limit` bytes; `None` if there is none. If that
/// name lies beneath `root`, a directory without links in its path whose files nobody vouches for, links lead nowhere
/// outside of it.
pub fn read_within(root: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    use rustix::fs::{CWD, ResolveFlags, openat2};
    let fail = PathError::of::<io::Error>("read", path);
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let inside =
        fs::canonicalize(folder).ok().and_then(|it| Some(it.strip_prefix(root).ok()?.to_owned()));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match inside {
        Some(inside) => {
            let top = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
            let name = inside.join(path.file_name().unwrap_or_default());
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            openat2(top.map_err(PathError::of("open", root))?, name, flags, Mode::empty(), resolve)
        }
        None => openat2(CWD, path, flags, Mode::empty(), ResolveFlags::empty()),
    };
    let mut bytes = Vec::new();
    match opened {
        Err(rustix::io::Errno::NOENT) if path.is_symlink() => {
            let text = format!("it is a link that leads nowhere, or out of `{}`", root.display());
            Err(fail(io::Error::new(io::ErrorKind::NotFound, text)))
        }
        Err(rustix::io::Errno::NOENT) => Ok(None),
        opened => {
            let file = File::from(opened.map_err(|errno| fail(errno.into()))?);
            if !file.metadata().map_err(&fail)?.is_file() {
                return Err(fail(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is not a regular file",
                )));
            }
            file.take(limit).read_to_end(&mut bytes).map_err(&fail)?;
            Ok(Some(bytes))
        }
    }
}

/// Creates a file that must not exist yet.
pub fn create_new(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    opened.map_err(PathError::of("create", path))
}

/// Creates a directory and its parents.
pub fn create_dir_all(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(PathError::of("create the directory", path))
}

/// Creates a directory, and its parents, that nobody else may enter; with `close` also one that exists is closed.
pub fn create_private_dir(path: &Path, close: bool) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(PathError::of("create the directory", path))?;
    if close {
        let found = fs::metadata(path).map_err(PathError::of("inspect", path))?;
        if found.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))
                .map_err(PathError::of("close to other users", path))?;
        }
    }
    Ok(())
}

/// Replaces a file in one step: readers see the old bytes or the new, never a part.
///
/// `scratch` is a directory on the same file system in which the new bytes are written first.
pub fn replace(path: &Path, bytes: &[u8], scratch: &Path) -> Result<()> {
    replace_and(path, &[bytes], scratch, || Ok(false))
}

/// The same with bytes in several pieces, of which some may be large; and the directory that the file is in is made if it
/// is missing.
pub fn replace_with_directory(path: &Path, parts: &[&[u8]], scratch: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    replace_and(path, parts, scratch, || create_dir_all(parent).map(|()| true))
}

/// Makes a file with a name of its own that only its owner may open; it goes with what is returned.
pub fn new_file_in(directory: &Path, prefix: &str) -> io::Result<tempfile::NamedTempFile> {
    // What makes the file by itself hides the number of an error, and with that what can be done about it.
    tempfile::Builder::new().prefix(prefix).make_in(directory, |path| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).open(path)
    })
}

/// Asks `mend` if there is no such place; if it says that it is mended the same file is used again.
fn replace_and(
    path: &Path,
    parts: &[&[u8]],
    scratch: &Path,
    mend: impl FnOnce() -> Result<bool>,
) -> Result<()> {
    let fail = PathError::of("write", path);
    let mut file = new_file_in(scratch, ".tmp").map_err(&fail)?;
    parts.iter().try_for_each(|part| file.write_all(part)).map_err(&fail)?;
    let persisted = match file.persist(path) {
        Err(failed) if failed.error.kind() == io::ErrorKind::NotFound && mend()? => {
            failed.file.persist(path)
        }
        persisted => persisted,
    };
    persisted.map_err(|error| fail(error.error))?;
    Ok(())
}

/// Returns a path to what a descriptor refers to, even one that only names a place. It holds as long as the descriptor is
/// open, in this process.
pub fn descriptor_path(descriptor: impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

/// Renames within one file system.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(PathError::of("rename to", to))
}

/// Removes a file; one that is not there counts as removed.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PathError::of("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_path() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/no/such/file`");
        assert!(error.is_not_found());
    }

    #[test]
    fn replace_leaves_no_scratch_behind() {
        let dir = tempfile::tempdir().unwrap();
        let (target, scratch) = (dir.path().join("a"), dir.path().join("tmp"));
        create_dir_all(&scratch).unwrap();
        replace(&target, b"one", &scratch).unwrap();
        replace(&target, b"two", &scratch).unwrap();
        assert_eq!(read(&target).unwrap(), b"two");
        let deep = dir.path().join("x/y");
        assert!(replace(&deep, b"one", &scratch).unwrap_err().is_not_found());
        replace_with_directory(&deep, &[b"t", b"wo"], &scratch).unwrap();
        assert_eq!(read(&deep).unwrap(), b"two");
        assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    }
}
