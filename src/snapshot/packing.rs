//! Layers whose files are elsewhere: they are packed into a blob of the store, read by some threads and written by
//! another.

use std::io::{self, Write};
use std::path::Path;

use super::{CompressedBlob, CompressedLayer, LayerId, Made, Recipe, Report, Result, Snapshots};
use crate::digest::{DiffId, HashingWriter};
use crate::fs::PathError;
use crate::layer::{
    Changes, Compression, Contents, PackOptions, Stoppable, behind, pack, packed_size,
};

/// Nobody hears of less.
const LARGE: u64 = 16 << 20;

impl Snapshots<'_> {
    /// Keeps a layer whose files are elsewhere, by packing them; its diff id is known at once.
    pub fn commit_packed(&self, changes: &Changes, contents: &dyn Contents) -> Result<LayerId> {
        let blob = self.store.new_blob()?;
        let path = blob.path().to_owned();
        let blob = self.pack_behind(changes, contents, blob, &path)?;
        let (digest, _) = blob.commit()?;
        let diff_id = Some(DiffId::from_bytes(*digest.as_bytes()));
        self.place(changes, &Made { files: None, diff_id, compressed: None })
    }

    /// The same, but what is kept is the tar compressed, as it will be asked for: writing both takes longer than inflating
    /// it when a later build reads its files.
    pub fn commit_compressed(
        &self,
        changes: &Changes,
        contents: &dyn Contents,
        compression: Compression,
    ) -> Result<LayerId> {
        let compressed = CompressedBlob::new(self.store, compression)?;
        let path = compressed.path().to_owned();
        let plain = HashingWriter::new(compressed);
        let (compressed, hasher, _) =
            self.pack_behind(changes, contents, plain, &path)?.into_parts();
        let (digest, size) = compressed.commit()?;
        let diff_id = hasher.diff_id();
        let made = CompressedLayer { digest, size, diff_id };
        self.remember_compressed(&Recipe { diff_id, compression, latest: None }, &made)?;
        let made = Made { files: None, diff_id: Some(diff_id), compressed: Some(digest) };
        self.place(changes, &made)
    }

    /// Packs a layer; what is packed is written by a thread of its own.
    fn pack_behind<W: Write + Send>(
        &self,
        changes: &Changes,
        contents: &dyn Contents,
        out: W,
        path: &Path,
    ) -> Result<W> {
        let options = PackOptions::default();
        let report = self.report.filter(|_| changes.content_size() >= LARGE);
        let total = if report.is_some() { packed_size(changes)? } else { 0 };
        let out = Told { inner: out, done: 0, total, report };
        let (out, packed) = behind(out, |out| match self.cancel {
            Some(cancel) => pack(changes, &Stoppable::new(contents, cancel), &options, out),
            None => pack(changes, contents, &options, out),
        });
        let out = out.map_err(PathError::of("write", path))?;
        packed?;
        Ok(out.inner)
    }
}

/// Says how much was written.
struct Told<'a, W> {
    inner: W,
    done: u64,
    total: u64,
    report: Option<&'a Report<'a>>,
}

impl<W: Write> Write for Told<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.done += written as u64;
        if let Some(report) = self.report {
            report(self.done, self.total);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
