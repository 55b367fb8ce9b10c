//! One layer of an image on its way in: counted, kept as a blob, decompressed, hashed and unpacked in one pass.
//!
//! What is read must fail where it would end if it is not the right blob. Whether what is in it is the right layer is
//! not decided here; the caller compares diff ids before it uses anything.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::{self, Scope};

use super::SourceError;
use crate::digest::{DiffId, HashingReader};
use crate::event::Cancel;
use crate::fs::{PathError, is_full};
use crate::layer::{Ahead, Changes, LayerError, Limits, Tree, decoder, unpack};
use crate::registry::RegistryError;
use crate::snapshot::flavour;
use crate::store::BlobCopy;

/// A layer by itself, in a scratch directory.
pub(super) struct Unpacked {
    pub(super) files: PathBuf,
    pub(super) changes: Changes,
    pub(super) diff_id: DiffId,
}

/// Unpacks a compressed layer, which is read, decompressed and unpacked in a thread each; reads it to its end, whatever
/// follows the archive, and whatever is wrong with it: bytes that have the wrong digest are not the layer, so nothing else
/// is to be said of them.
pub(super) fn unpack_verified(
    compressed: impl Read + Send,
    files: &Path,
    parent: Option<&Tree>,
) -> Result<(Changes, DiffId), LayerError> {
    thread::scope(|scope| {
        let (ahead, reading) = Ahead::new(scope, compressed).map_err(LayerError::Read)?;
        let done = unpack_plain(scope, ahead, files, parent);
        let (mut rest, fault) = reading.join();
        if matches!(&done, Err(error) if is_fetching(error)) {
            return done;
        }
        match fault {
            Some(fault) => Err(LayerError::Read(fault)),
            None => io::copy(&mut rest, &mut io::sink()).map_err(LayerError::Read).and(done),
        }
    })
}

/// Returns whether it is the registry that failed.
fn is_fetching(error: &LayerError) -> bool {
    let LayerError::Read(error) = error else { return false };
    error.get_ref().is_some_and(|inner| inner.is::<RegistryError>())
}

fn unpack_plain<'scope>(
    scope: &'scope Scope<'scope, '_>,
    compressed: Ahead,
    files: &Path,
    parent: Option<&Tree>,
) -> Result<(Changes, DiffId), LayerError> {
    let plain = HashingReader::new(decoder(compressed).map_err(LayerError::Read)?);
    let (mut ahead, reading) = Ahead::new(scope, plain).map_err(LayerError::Read)?;
    let changes = unpack(&mut ahead, files, parent, Limits::default(), flavour())?;
    io::copy(&mut ahead, &mut io::sink()).map_err(LayerError::Read)?;
    drop(ahead);
    let (plain, _) = reading.join();
    Ok((changes, plain.into_parts().1.diff_id()))
}

/// Says of which layer an error is, unless it is of this machine.
pub(super) fn explain(error: LayerError, bad: &dyn Fn(String) -> SourceError) -> SourceError {
    match error {
        LayerError::Path(error) => error.into(),
        LayerError::Write(_) => error.into(),
        // What is read is kept at the same time: here the reading is not what failed.
        LayerError::Read(source) if is_full(&source) => LayerError::Write(source).into(),
        LayerError::Read(source) => match source.downcast::<RegistryError>() {
            Ok(error) => error.into(),
            Err(source) => match source.downcast::<SourceError>() {
                Ok(error) => error,
                Err(source) => explain_bad(&LayerError::Read(source), bad),
            },
        },
        error => explain_bad(&error, bad),
    }
}

/// Says what failed while a blob was copied: what is read names itself, what is written lies at `path`.
pub(super) fn explain_copy(error: io::Error, path: &Path) -> SourceError {
    match error.downcast::<RegistryError>() {
        Ok(error) => error.into(),
        Err(error) => match error.downcast::<SourceError>() {
            Ok(error) => error,
            Err(error) => PathError::of("copy a blob to", path)(error).into(),
        },
    }
}

fn explain_bad(error: &LayerError, bad: &dyn Fn(String) -> SourceError) -> SourceError {
    let mut text = format!("cannot be unpacked: {error}");
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    bad(text)
}

/// Copies what is read into a blob, which is kept once all of it was read.
pub(super) struct Tee<'a> {
    /// Fails where it would end if it is not the right blob.
    pub(super) inner: Box<dyn Read + Send>,
    pub(super) blob: Option<BlobCopy<'a>>,
}

impl Read for Tee<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.read_once(buf);
        if read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            // Whoever reads on may come to an end, of which this copy then lacks something.
            self.blob = None;
        }
        read
    }
}

impl Tee<'_> {
    fn read_once(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        if n > 0 {
            if let Some(blob) = &mut self.blob {
                blob.write_all(&buf[..n])?;
            }
        } else if !buf.is_empty()
            && let Some(blob) = self.blob.take()
        {
            blob.commit_verified().map_err(io::Error::other)?;
        }
        Ok(n)
    }
}

/// A reader that tells how far it is, and ends when the user asks to stop.
pub(crate) struct Counted<'a> {
    pub(crate) inner: Box<dyn Read + Send + 'a>,
    pub(crate) count: u64,
    pub(crate) report: &'a (dyn Fn(u64) + Sync),
    pub(crate) cancel: &'a Cancel,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_canceled() {
            return Err(io::Error::other("canceled"));
        }
        let n = self.inner.read(buf)?;
        self.count += n as u64;
        (self.report)(self.count);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::store::Store;

    /// Fails once, and then is at its end.
    struct Failing(bool);

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            match std::mem::replace(&mut self.0, true) {
                false => Err(io::Error::other("broken")),
                true => Ok(0),
            }
        }
    }

    #[test]
    fn a_copy_that_lacks_something_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let digest = Digest::of(b"content");
        let blob = || Some(store.new_copy(&digest).unwrap());
        let mut broken = Tee { inner: Box::new(Failing(false)), blob: blob() };
        let mut buf = [0; 16];
        assert!(broken.read(&mut buf).is_err());
        assert_eq!(broken.read(&mut buf).unwrap(), 0);
        assert_eq!(store.blob_size(&digest), None);
        let mut whole = Tee { inner: Box::new(&b"content"[..]), blob: blob() };
        io::copy(&mut whole, &mut io::sink()).unwrap();
        assert_eq!(store.blob_size(&digest), Some(7));
    }
}
