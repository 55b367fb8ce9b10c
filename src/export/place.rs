//! A file that appears in its place whole or not at all.
//!
//! Until then it has no name where the file system can do that, so that a killed build leaves nothing behind;
//! elsewhere it is a hidden file beside the place.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat};
use rustix::io::Errno;

use super::Result;
use crate::fs::{self, PathError};

/// A file in the making.
pub(super) enum Unfinished {
    /// It has no name; the directory that will have it.
    Nameless(File, PathBuf),
    /// It has a name of its own.
    Named(tempfile::NamedTempFile),
}

impl Write for Unfinished {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Nameless(file, _) => file.write(buf),
            Self::Named(file) => file.write(buf),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Unfinished {
    /// Makes a file that is to be at `path`, and the directories that lead there.
    pub(super) fn beside(path: &Path) -> Result<Self> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        fs::create_dir_all(&directory)?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(&directory, flags, Mode::from_raw_mode(0o666)) {
            Ok(file) => Ok(Self::Nameless(file.into(), directory)),
            // Old kernels answer as if a directory was to be written to.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let file = tempfile::Builder::new().prefix(".kiln-").tempfile_in(&directory);
                let file = file.map_err(PathError::of("create a file in", &directory))?;
                Ok(Self::Named(file))
            }
            Err(errno) => Err(PathError::of("create a file in", &directory)(errno.into()).into()),
        }
    }

    /// Puts the file in its place, with the mode that a new file gets.
    pub(super) fn persist(self, path: &Path) -> Result<()> {
        match self {
            Self::Nameless(file, directory) => {
                // A link cannot replace what is there; a renamed one can.
                let made = tempfile::Builder::new().prefix(".kiln-").make_in(&directory, |name| {
                    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
                    Ok(linkat(CWD, from, CWD, name, AtFlags::SYMLINK_FOLLOW)?)
                });
                let made = made.map_err(PathError::of("write", path))?;
                made.persist(path).map_err(|error| PathError::of("write", path)(error.error))?;
            }
            Self::Named(file) => {
                use std::os::unix::fs::PermissionsExt;
                let umask = rustix::process::umask(Mode::empty());
                rustix::process::umask(umask);
                let mode = std::fs::Permissions::from_mode(0o666 & !umask.bits());
                file.as_file().set_permissions(mode).map_err(PathError::of("write", path))?;
                file.persist(path).map_err(|error| PathError::of("write", path)(error.error))?;
            }
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
            let mut file = Unfinished::beside(&place).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            file.persist(&place).unwrap();
            assert_eq!(std::fs::read_to_string(&place).unwrap(), content);
        }
        let mode = place.metadata().unwrap().permissions().mode();
        let plain = std::fs::File::create(top.path().join("plain")).unwrap();
        assert_eq!(mode, plain.metadata().unwrap().permissions().mode());
        let mut given_up = Unfinished::beside(&place).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "second");
        assert_eq!(std::fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
    }
}
