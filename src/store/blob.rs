//! Blobs: bytes by their SHA-256.
//!
//! A blob that is there is whole and has that digest: it is hashed while it is written, or while it is read from
//! where it is copied from, and renamed into place only when the hash is known. Putting the same bytes twice is the same
//! as once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::{Result, Store, StoreError};
use crate::digest::{Digest, HashingReader, HashingWriter};
use crate::fs::{self, PathError};

/// Manifests, indexes and configs larger than this are refused.
pub const SMALL_BLOB_LIMIT: u64 = 16 << 20;

/// A blob in the making.
pub struct BlobWriter<'a> {
    store: &'a Store,
    path: PathBuf,
    file: HashingWriter<tempfile::NamedTempFile>,
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter<'_> {
    /// Returns where the bytes are until then; for error messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the blob in its place, whatever its digest is; returns digest and size.
    pub fn commit(self) -> Result<(Digest, u64)> {
        self.commit_if(|_| Ok(()))
    }

    /// Puts the blob in its place if it has the digest that was announced.
    pub fn commit_as(self, expected: &Digest) -> Result<u64> {
        let expected = *expected;
        let committed = self.commit_if(|actual| match actual == expected {
            true => Ok(()),
            false => Err(StoreError::Mismatch { expected, actual }),
        });
        committed.map(|(_, size)| size)
    }

    fn commit_if(self, check: impl FnOnce(Digest) -> Result<()>) -> Result<(Digest, u64)> {
        let (file, hasher, size) = self.file.into_parts();
        let digest = hasher.digest();
        check(digest)?;
        self.store.put_file(&digest, file)?;
        Ok((digest, size))
    }
}

/// A copy of a blob in the making, of bytes that are verified where they are read: they are not hashed again.
pub struct BlobCopy<'a> {
    store: &'a Store,
    file: tempfile::NamedTempFile,
    digest: Digest,
}

impl Write for BlobCopy<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobCopy<'_> {
    /// Returns where the bytes are until then; for error messages.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts the blob in its place. To be called only when the reader of all these bytes has come to its end, and has
    /// found that they have the digest.
    pub fn commit_verified(self) -> Result<()> {
        self.store.put_file(&self.digest, self.file)
    }
}

fn blob_place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Store {
    /// Returns where the blob is or will be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join(blob_place(digest))
    }

    fn hold_blob(&self, digest: &Digest) -> bool {
        self.hold(&blob_place(digest), "")
    }

    /// Returns the size of the blob, `None` if it is not there. One that is there is held until this process ends.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        if !self.hold_blob(digest) {
            return None;
        }
        std::fs::metadata(self.blob_path(digest)).ok().map(|meta| meta.len())
    }

    /// Opens a blob that is known to be there.
    pub fn open_blob(&self, digest: &Digest) -> Result<File> {
        self.hold_blob(digest);
        fs::open_unmarked(&self.blob_path(digest))?.ok_or(StoreError::Missing(*digest))
    }

    /// Reads a small blob whole and verifies it.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let file = self.open_blob(digest)?;
        let mut reader = HashingReader::new(file.take(SMALL_BLOB_LIMIT + 1));
        let mut bytes = Vec::new();
        let path = self.blob_path(digest);
        reader.read_to_end(&mut bytes).map_err(PathError::of("read", &path))?;
        let actual = reader.into_parts().1.digest();
        if actual != *digest {
            return Err(StoreError::Mismatch { expected: *digest, actual });
        }
        Ok(bytes)
    }

    /// Starts a blob.
    pub fn new_blob(&self) -> Result<BlobWriter<'_>> {
        let file = self.new_file()?;
        let path = file.path().to_owned();
        Ok(BlobWriter { store: self, path, file: HashingWriter::new(file) })
    }

    /// Starts a copy of a blob, which will be read through something that verifies it.
    pub fn new_copy(&self, digest: &Digest) -> Result<BlobCopy<'_>> {
        Ok(BlobCopy { store: self, file: self.new_file()?, digest: *digest })
    }

    fn new_file(&self) -> Result<tempfile::NamedTempFile> {
        // Blobs hold nothing that their image does not hold; the root's own mode guards them.
        let file = fs::new_file_in(&self.scratch, "b");
        Ok(file.map_err(PathError::of("create a file in", &self.scratch))?)
    }

    fn put_file(&self, digest: &Digest, file: tempfile::NamedTempFile) -> Result<()> {
        if self.hold_blob(digest) {
            return Ok(());
        }
        let place = self.blob_path(digest);
        let put = || file.persist(&place);
        let placed = self.place(&blob_place(digest), put);
        placed.map(drop).map_err(|error| PathError::of("write", &place)(error.error).into())
    }

    /// Puts bytes that are already in memory.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.blob_size(&digest).is_some() {
            return Ok(digest);
        }
        let mut writer = self.new_blob()?;
        let path = writer.path().to_owned();
        writer.write_all(bytes).map_err(PathError::of("write", &path))?;
        writer.commit_as(&digest)?;
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_verified_going_in_and_coming_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let digest = store.put_blob(b"hello").unwrap();
        assert_eq!(store.put_blob(b"hello").unwrap(), digest);
        assert_eq!(store.read_blob(&digest).unwrap(), b"hello");

        let mut writer = store.new_blob().unwrap();
        writer.write_all(b"other").unwrap();
        let refused = writer.commit_as(&digest).unwrap_err();
        assert!(matches!(refused, StoreError::Mismatch { .. }));

        std::fs::write(store.blob_path(&digest), b"hellO").unwrap();
        assert!(matches!(store.read_blob(&digest), Err(StoreError::Mismatch { .. })));
        let absent = Digest::of(b"absent");
        assert!(matches!(store.read_blob(&absent), Err(StoreError::Missing(_))));
    }
}
