//! Layers as blobs, compressed as an output wants them, each made at most once.

use std::io::{self, Read, Write};
use std::path::Path;

use super::image::ImageLayer;
use super::{ExportError, Exporter, Result};
use crate::digest::{DiffId, Digest, Sha256Hasher};
use crate::event::Cancel;
use crate::fs::PathError;
use crate::layer::{Compression, PackOptions, decoder};
use crate::oci::{self, Content, Descriptor, Family, media_type};
use crate::snapshot::{CompressedBlob, CompressedLayer, Recipe, Snapshots};

/// How layers are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How layers are compressed that are made.
    pub compression: Compression,
    /// Which blobs are taken as they are.
    pub existing: Existing,
    /// File times later than SOURCE_DATE_EPOCH become it.
    pub rewrite: bool,
}

impl Wanted {
    /// Returns whether any of these blobs is a layer that would be made again.
    pub fn changes<'a>(&self, mut blobs: impl Iterator<Item = &'a Descriptor>) -> bool {
        let wanted = Content::Layer(of(self.compression));
        let is_layer = |blob: &Descriptor| matches!(blob.content(), Content::Layer(_));
        blobs.any(|blob| is_layer(blob) && !self.existing.takes(blob, wanted))
    }
}

/// Which blobs of layers are taken as they are, instead of being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Any.
    Any,
    /// Those that are compressed somehow: what goes to a registry.
    Compressed,
    /// Those that are compressed as is wanted.
    Same,
}

impl Existing {
    pub(super) fn takes(self, there: &Descriptor, wanted: Content) -> bool {
        match self {
            Self::Any => true,
            Self::Compressed => there.content() != Content::Layer(oci::Compression::None),
            Self::Same => there.content() == wanted,
        }
    }
}

/// A layer as a blob of the store.
#[derive(Debug, Clone)]
pub struct Made {
    /// The blob, under its name in the OCI family.
    pub descriptor: Descriptor,
    /// The digest of its tar; another than the layer's if file times were rewritten.
    pub diff_id: DiffId,
}

/// Returns a layer's blob, making it if it is not there.
pub fn layer(
    exporter: &Exporter<'_>,
    layer: &ImageLayer,
    wanted: &Wanted,
    epoch: Option<i64>,
) -> Result<Made> {
    let content = Content::Layer(of(wanted.compression));
    if let Some(descriptor) = &layer.blob
        && exporter.store.blob_size(&descriptor.digest).is_some()
        && wanted.existing.takes(descriptor, content)
    {
        return Ok(Made { descriptor: descriptor.clone(), diff_id: layer.diff_id });
    }
    let media = media_type(content, Family::Oci).expect("every compression has an OCI name");
    if let (Compression::Uncompressed, None) = (wanted.compression, epoch) {
        // The tar itself: named by its diff id, and written only if something reads it.
        let digest = Digest::from_bytes(*layer.diff_id.as_bytes());
        let size = tar_size(exporter, layer)?;
        return Ok(Made {
            descriptor: Descriptor::new(media, digest, size),
            diff_id: layer.diff_id,
        });
    }
    let recipe = Recipe { diff_id: layer.diff_id, compression: wanted.compression, latest: epoch };
    let snapshots = Snapshots::new(exporter.store);
    let made = match snapshots.compressed(&recipe)? {
        Some(made) => made,
        None => {
            let made = make(exporter, layer, &recipe)?;
            snapshots.remember_compressed(&recipe, &made)?;
            made
        }
    };
    let descriptor = Descriptor::new(media, made.digest, made.size);
    Ok(Made { descriptor, diff_id: made.diff_id })
}

pub(super) fn of(compression: Compression) -> oci::Compression {
    match compression {
        Compression::Uncompressed => oci::Compression::None,
        Compression::Gzip { .. } => oci::Compression::Gzip,
        Compression::Zstd { .. } => oci::Compression::Zstd,
    }
}

/// The size of a layer's tar, without writing it if it is not there.
fn tar_size(exporter: &Exporter<'_>, layer: &ImageLayer) -> Result<u64> {
    let digest = Digest::from_bytes(*layer.diff_id.as_bytes());
    match exporter.store.blob_size(&digest) {
        Some(size) => Ok(size),
        None => Ok(Snapshots::new(exporter.store).tar_size(layer.id)?),
    }
}

fn make(exporter: &Exporter<'_>, layer: &ImageLayer, recipe: &Recipe) -> Result<CompressedLayer> {
    let out = CompressedBlob::new(exporter.store, recipe.compression)?;
    let what = layer.diff_id.hex()[..12].to_owned();
    let total = tar_size(exporter, layer)?;
    let report = |done| (exporter.progress)(&what, done, total);
    let cancel = exporter.cancel;
    let mut plain = Plain { out, hasher: Sha256Hasher::new(), count: 0, report: &report, cancel };
    let written = write_plain(exporter, layer, recipe.latest, &mut plain);
    if exporter.cancel.is_canceled() {
        return Err(ExportError::Canceled);
    }
    written?;
    let diff_id = plain.hasher.diff_id();
    if recipe.latest.is_none() && diff_id != layer.diff_id {
        return Err(crate::store::StoreError::Mismatch {
            expected: Digest::from_bytes(*layer.diff_id.as_bytes()),
            actual: Digest::from_bytes(*diff_id.as_bytes()),
        }
        .into());
    }
    let (digest, size) = plain.out.commit()?;
    Ok(CompressedLayer { digest, size, diff_id })
}

fn write_plain(
    exporter: &Exporter<'_>,
    layer: &ImageLayer,
    epoch: Option<i64>,
    out: &mut dyn Write,
) -> Result<()> {
    let tar = Digest::from_bytes(*layer.diff_id.as_bytes());
    if epoch.is_none() && exporter.store.blob_size(&tar).is_some() {
        let path = exporter.store.blob_path(&tar);
        let mut file = exporter.store.open_blob(&tar)?;
        return copy(&mut file, out, &path);
    }
    // Packed again, a layer that kiln did not make would be another one.
    if let (None, Some(blob)) = (epoch, &layer.blob)
        && exporter.store.blob_size(&blob.digest).is_some()
    {
        let path = exporter.store.blob_path(&blob.digest);
        let failed = PathError::of("read", &path);
        let mut plain = decoder(exporter.store.open_blob(&blob.digest)?).map_err(&failed)?;
        return copy(&mut plain, out, &path);
    }
    Snapshots::new(exporter.store).pack(layer.id, &PackOptions { latest: epoch }, out)?;
    Ok(())
}

fn copy(from: &mut dyn Read, out: &mut dyn Write, path: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = from.read(&mut buffer).map_err(PathError::of("read", path))?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..n]).map_err(PathError::of("compress", path))?;
    }
}

/// The uncompressed side of an encoder.
struct Plain<'a, W> {
    out: W,
    hasher: Sha256Hasher,
    count: u64,
    report: &'a dyn Fn(u64),
    cancel: &'a Cancel,
}

impl<W: Write> Write for Plain<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.cancel.is_canceled() {
            return Err(io::Error::other("canceled"));
        }
        let n = self.out.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.count += n as u64;
        (self.report)(self.count);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
