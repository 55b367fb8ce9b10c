//! Layers whose files are elsewhere: they are packed into a blob of the store, read by some threads and written by
//! another.

use std::io::{self, Write};
use std::path::Path;

use super::{CompressedBlob, CompressedLayer, LayerId, Recipe, Report, Result, Snapshots};
use crate::digest::DiffId;
use crate::fs::PathError;
use crate::layer::{
    Changes, Compression, Contents, PackOptions, Stoppable, behind, pack, packed_size,
};
use crate::store::BlobWriter;

/// Nobody hears of less.
const LARGE: u64 = 16 << 20;

impl Snapshots<'_> {
    /// Keeps a layer whose files are elsewhere, by packing them; its diff id is known at once.
    pub fn commit_packed(&self, changes: &Changes, contents: &dyn Contents) -> Result<LayerId> {
        let blob = self.store.new_blob()?;
        let path = blob.path().to_owned();
        let blob = self.pack_behind(changes, contents, blob, &path)?;
        let (digest, _) = blob.commit()?;
        self.place(changes, None, Some(DiffId::from_bytes(*digest.as_bytes())))
    }

    /// The same, and the layer is compressed while it is packed: what will be asked for is then there.
    pub fn commit_compressed(
        &self,
        changes: &Changes,
        contents: &dyn Contents,
        compression: Compression,
    ) -> Result<LayerId> {
        let plain = self.store.new_blob()?;
        let path = plain.path().to_owned();
        let compressed = CompressedBlob::new(self.store, compression)?;
        let both = Both { plain, compressed };
        let both = self.pack_behind(changes, contents, both, &path)?;
        let (digest, size) = both.compressed.commit()?;
        let diff_id = DiffId::from_bytes(*both.plain.commit()?.0.as_bytes());
        let made = CompressedLayer { digest, size, diff_id };
        self.remember_compressed(&Recipe { diff_id, compression, latest: None }, &made)?;
        self.place(changes, None, Some(diff_id))
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

/// Writes what comes to the layer's tar and to the compressed one.
struct Both<'a> {
    plain: BlobWriter<'a>,
    compressed: CompressedBlob<'a>,
}

impl Write for Both<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.plain.write(buf)?;
        self.compressed.write_all(&buf[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
