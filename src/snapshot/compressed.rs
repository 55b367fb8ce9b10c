//! Compressed layers: blobs that are made once, and written down under what they were made of and how.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Result, Snapshots};
use crate::digest::{DiffId, Digest};
use crate::fs::PathError;
use crate::layer::{Compression, Encoder};
use crate::parallel::processors;
use crate::store::{BlobWriter, RecordKind, Store};

/// What a compressed layer is made of, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// The layer's diff id.
    pub diff_id: DiffId,
    /// How it is compressed.
    pub compression: Compression,
    /// The time to which later ones are set back, in seconds since the Unix epoch.
    pub latest: Option<i64>,
}

impl Recipe {
    /// The name of the record.
    fn name(&self) -> String {
        let compression = match self.compression {
            Compression::Uncompressed => "tar".to_owned(),
            Compression::Gzip { level } => format!("gzip{level}"),
            Compression::Zstd { level } => format!("zstd{level}"),
        };
        let suffix = self.latest.map_or_else(String::new, |latest| format!("-{latest}"));
        format!("{}-{compression}{suffix}", self.diff_id.hex())
    }
}

/// A layer as a blob of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressedLayer {
    /// The blob's digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of the tar within; another than the layer's if times were set back.
    pub diff_id: DiffId,
}

impl Snapshots<'_> {
    /// Returns the blob of a recipe, if it was made and is there.
    pub fn compressed(&self, recipe: &Recipe) -> Result<Option<CompressedLayer>> {
        let Some(body) = self.store.record(RecordKind::Blob, &recipe.name())? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&body);
        let mut words = text.split(' ');
        let digest: Option<Digest> = words.next().and_then(|word| word.parse().ok());
        let size: Option<u64> = words.next().and_then(|word| word.parse().ok());
        let diff_id: Option<DiffId> = words.next().and_then(|word| word.parse().ok());
        let (Some(digest), Some(size), Some(diff_id)) = (digest, size, diff_id) else {
            return Ok(None);
        };
        let is_there = self.store.blob_size(&digest) == Some(size);
        Ok(is_there.then_some(CompressedLayer { digest, size, diff_id }))
    }

    /// Writes down what was made after a recipe.
    pub fn remember_compressed(&self, recipe: &Recipe, made: &CompressedLayer) -> Result<()> {
        let CompressedLayer { digest, size, diff_id } = made;
        let body = format!("{digest} {size} {diff_id}");
        Ok(self.store.put_record(RecordKind::Blob, &recipe.name(), body.as_bytes())?)
    }
}

/// A compressed blob in the making: a layer's tar goes in.
pub struct CompressedBlob<'a> {
    encoder: Encoder<BlobWriter<'a>>,
    path: PathBuf,
}

impl<'a> CompressedBlob<'a> {
    /// Starts one, to be compressed on all processors.
    pub fn new(store: &'a Store, compression: Compression) -> Result<Self> {
        let blob = store.new_blob()?;
        let path = blob.path().to_owned();
        let encoder = Encoder::new(blob, compression, processors());
        Ok(Self { encoder: encoder.map_err(PathError::of("write", &path))?, path })
    }

    /// Returns where the bytes are until then; for error messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place; returns digest and size.
    pub fn commit(self) -> Result<(Digest, u64)> {
        let blob = self.encoder.finish().map_err(PathError::of("write", &self.path))?;
        Ok(blob.commit()?)
    }
}

impl Write for CompressedBlob<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.encoder.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;
    use crate::layer::{Changes, Contents, Kind, Metadata, PackOptions, TreePath, pack};

    struct Zeros;

    impl Contents for Zeros {
        fn open(&self, _: &TreePath) -> crate::fs::Result<Box<dyn io::Read + Send + '_>> {
            Ok(Box::new(io::Read::take(io::repeat(0), 5_000_000)))
        }
    }

    #[test]
    fn a_layer_compressed_while_it_is_packed_is_the_one_that_is_compressed_later() {
        let mut changes = Changes::new();
        let content = ContentDigest::of(&vec![0; 5_000_000]);
        let kind = Kind::File { size: 5_000_000, content };
        changes.put(TreePath::clean("zeros").unwrap(), kind, Metadata::default());
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let snapshots = Snapshots::new(&store);
        for compression in [Compression::Zstd { level: 3 }, Compression::Gzip { level: 5 }] {
            let mut later = CompressedBlob::new(&store, compression).unwrap();
            pack(&changes, &Zeros, &PackOptions::default(), &mut later).unwrap();
            let (digest, size) = later.commit().unwrap();
            let id = snapshots.commit_packed(&changes, &Zeros).unwrap();
            let diff_id = snapshots.diff_id(id).unwrap();
            let recipe = Recipe { diff_id, compression, latest: None };
            assert_eq!(snapshots.compressed(&recipe).unwrap(), None);
            let same = snapshots.commit_compressed(&changes, &Zeros, compression).unwrap();
            assert_eq!(same, id);
            let made = snapshots.compressed(&recipe).unwrap();
            assert_eq!(made, Some(CompressedLayer { digest, size, diff_id }));
            assert_eq!(snapshots.compressed(&Recipe { latest: Some(0), ..recipe }).unwrap(), None);
            std::fs::remove_file(store.blob_path(&digest)).unwrap();
            assert_eq!(snapshots.compressed(&recipe).unwrap(), None);
        }
    }
}
