//! How much the files of images are.

use super::{Library, Result};
use crate::digest::{DiffId, Digest};
use crate::layer::{Limits, decoder, file_bytes};
use crate::oci::Descriptor;
use crate::parallel;
use crate::snapshot::{LayerId, Snapshots};
use crate::source::image::Image;
use crate::source::{SourceError, names};
use crate::store::RecordKind;

/// How many layers are measured at once.
const PARALLEL: usize = 4;

/// Under which name of [`RecordKind::Blob`] the files of a layer are noted.
fn record_name(diff_id: DiffId) -> String {
    format!("files-{}", diff_id.hex())
}

impl Library {
    /// Returns for each layer of an image, lowest first, the bytes of the files in it, as docker counts them: see
    /// [`Changes::file_bytes`](crate::layer::Changes::file_bytes). A layer that was not unpacked is read for it, and
    /// what was found is noted; one that is not here counts nothing.
    pub fn layer_sizes(&self, image: &Image) -> Result<Vec<u64>> {
        let diff_ids = &image.config.rootfs.diff_ids;
        let known = names::known_chain(&self.store, diff_ids)?;
        let layers = diff_ids.iter().zip(&image.manifest.layers).enumerate();
        let layers: Vec<_> =
            layers.map(|(at, (diff_id, blob))| (*diff_id, blob, known.get(at).copied())).collect();
        parallel::map(PARALLEL, &layers, |(diff_id, blob, id)| self.layer_size(*diff_id, blob, *id))
    }

    fn layer_size(&self, diff_id: DiffId, blob: &Descriptor, id: Option<LayerId>) -> Result<u64> {
        let name = record_name(diff_id);
        let noted = self.store.record(RecordKind::Blob, &name)?;
        let noted = noted.and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse().ok());
        if let Some(bytes) = noted {
            return Ok(bytes);
        }
        let bytes = match id {
            Some(id) => {
                let changes = Snapshots::new(&self.store).changes(id);
                changes.map_err(SourceError::from)?.file_bytes()
            }
            None => match self.measured(&[Digest::from_bytes(*diff_id.as_bytes()), blob.digest])? {
                Some(bytes) => bytes,
                None => return Ok(0),
            },
        };
        // It only saves the work the next time.
        let _ = self.store.put_record(RecordKind::Blob, &name, format!("{bytes}\n").as_bytes());
        Ok(bytes)
    }

    /// Reads the first of some blobs that is here; `None` if none is, or it is no layer.
    fn measured(&self, blobs: &[Digest]) -> Result<Option<u64>> {
        let Some(here) = blobs.iter().find(|blob| self.store.blob_size(blob).is_some()) else {
            return Ok(None);
        };
        let blob = self.store.open_blob(here)?;
        let bytes = decoder(blob).ok().map(|tar| file_bytes(tar, Limits::default()));
        Ok(bytes.and_then(std::result::Result::ok))
    }
}
