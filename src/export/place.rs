//! A file that appears in its place whole or not at all.
//!
//! Until then it has no name where the file system can do that, so that a killed build leaves nothing behind;
//! elsewhere it is a hidden file beside the place. A link is followed first, so that it stays. A device or pipe, such
//! as /dev/stdout, cannot be replaced: it is written to as it is.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use rustix::io::Errno;

use super::Result;
use crate::fs::{self, PathError, descriptor_path};

/// A file in the making.
pub(super) struct Unfinished {
    /// Where it will be.
    place: PathBuf,
    made: Made,
}

enum Made {
    /// It has no name; the directory that will have it.
    Nameless(File, PathBuf),
    /// It has a name of its own.
    Named(tempfile::NamedTempFile),
    /// It is what was there.
    There(File),
}

impl Write for Unfinished {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match &mut self.made {
            Made::Nameless(file, _) | Made::There(file) => file.write(buf),
            Made::Named(file) => file.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Unfinished {
    /// Makes a file that is to be at `path`, and the directories that lead there.
    pub(super) fn at(path: &Path) -> Result<Self> {
        let place = match path.metadata() {
            Ok(there) if !there.is_file() && !there.is_dir() => return Self::there(path),
            Ok(_) => match path.canonicalize() {
                Ok(real) => real,
                // A descriptor of a file that has lost its name.
                Err(_) => return Self::there(path),
            },
            Err(_) => path.to_owned(),
        };
        let directory = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&directory)?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = match rustix::fs::open(&directory, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => Made::Nameless(file.into(), directory),
            // Old kernels answer as if a directory was to be written to.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let file = tempfile::Builder::new().prefix(".kiln-").tempfile_in(&directory);
                Made::Named(file.map_err(PathError::of("create a file in", &directory))?)
            }
            Err(errno) => {
                return Err(PathError::of("create a file in", &directory)(errno).into());
            }
        };
        Ok(Self { place, made })
    }

    fn there(path: &Path) -> Result<Self> {
        let file = File::options().write(true).open(path).map_err(PathError::of("open", path))?;
        Ok(Self { place: path.to_owned(), made: Made::There(file) })
    }

    /// Puts the file in its place, with the mode that a new file gets.
    pub(super) fn persist(self) -> Result<()> {
        let place = self.place;
        let fail = PathError::of("write", &place);
        match self.made {
            Made::Nameless(file, directory) => {
                // A link cannot replace what is there; a renamed one can.
                let made = tempfile::Builder::new().prefix(".kiln-").make_in(&directory, |name| {
                    Ok(linkat(CWD, descriptor_path(&file), CWD, name, AtFlags::SYMLINK_FOLLOW)?)
                });
                let made = made.map_err(&fail)?;
                made.persist(&place).map_err(|error| fail(error.error))?;
            }
            Made::Named(file) => {
                use std::os::unix::fs::PermissionsExt;
                let umask = rustix::process::umask(Mode::empty());
                rustix::process::umask(umask);
                let mode = std::fs::Permissions::from_mode(0o666 & !umask.bits());
                file.as_file().set_permissions(mode).map_err(&fail)?;
                file.persist(&place).map_err(|error| fail(error.error))?;
            }
            Made::There(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_finished() {
        use std::os::unix::fs::PermissionsExt;
        let top = tempfile::tempdir().unwrap();
        let place = top.path().join("new/directory/file");
        for content in ["first", "second"] {
            let mut file = Unfinished::at(&place).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file.persist().unwrap();
            assert_eq!(std::fs::read_to_string(&place).unwrap(), content);
        }
        let mode = place.metadata().unwrap().permissions().mode();
        let plain = std::fs::File::create(top.path().join("plain")).unwrap();
        assert_eq!(mode, plain.metadata().unwrap().permissions().mode());
        let mut given_up = Unfinished::at(&place).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "second");
        assert_eq!(std::fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
    }
    #[test]
    fn links_and_devices_stay_what_they_are() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        let top = tempfile::tempdir().unwrap();
        let (file, link, pipe) =
            (top.path().join("file"), top.path().join("link"), top.path().join("pipe"));
        std::fs::write(&file, "old").unwrap();
        symlink("file", &link).unwrap();
        let write = |place: &Path| {
            let mut made = Unfinished::at(place).unwrap();
            made.write_all(b"new").unwrap();
            made.persist().unwrap();
        };
        write(&link);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        // Open for both, so that neither side waits for the other.
        let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
        write(&pipe);
        let mut read = [0; 3];
        std::io::Read::read_exact(&mut reader, &mut read).unwrap();
        assert_eq!(&read, b"new");
        assert!(pipe.metadata().unwrap().file_type().is_fifo());
    }
}
