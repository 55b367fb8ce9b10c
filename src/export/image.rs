//! Putting an image together: layers, config, history, manifest.
//!
//! Times follow the reference: an entry of the history that made a layer has the layer's time, the others that of
//! the layer before (the first ones that of the first new layer). Entries of the base are left alone.

use super::blob::{self, Existing, Wanted};
use super::{CompressionKind, Exporter, Output, OutputKind, Result};
use crate::digest::DiffId;
use crate::layer::Compression;
use crate::oci::{
    Content, Descriptor, Family, History, ImageConfig, Manifest, MediaType, media_type,
};
use crate::snapshot::LayerId;

/// The comment of history entries that no instruction stands for.
const EXPORTER_COMMENT: &str = "buildkit.exporter.image.v0";

/// A layer of an image that is being put together.
#[derive(Debug, Clone)]
pub struct ImageLayer {
    /// Which.
    pub id: LayerId,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The blob that it came in, if it is a base's.
    pub blob: Option<Descriptor>,
    /// When it was made, in nanoseconds; `None` for a base's.
    pub created: Option<i64>,
}

/// An image put together, before any output.
#[derive(Debug, Clone)]
pub struct Image {
    /// The config, with layers and times.
    pub config: ImageConfig,
    /// Lowest first.
    pub layers: Vec<ImageLayer>,
    /// SOURCE_DATE_EPOCH
    pub epoch: Option<i64>,
}

/// An image as one output wrote it.
#[derive(Debug, Clone)]
pub struct FinishedImage {
    /// The manifest.
    pub manifest: Descriptor,
    /// The config.
    pub config: Descriptor,
    /// The layers as written.
    pub layers: Vec<Descriptor>,
}

impl Image {
    /// Puts an image together.
    pub fn new(mut config: ImageConfig, layers: Vec<ImageLayer>, epoch: Option<i64>) -> Self {
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        complete_history(&mut config.history, layers.len());
        let times: Vec<Option<jiff::Timestamp>> =
            layers.iter().map(|layer| layer.created.and_then(time)).collect();
        fill_times(&mut config.history, &times);
        config.created = config.history.iter().rev().find_map(|entry| entry.created);
        if let Some(epoch) = epoch.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()) {
            config.created = Some(config.created.map_or(epoch, |created| created.min(epoch)));
        }
        Self { config, layers, epoch }
    }
}

pub(super) fn time(nanoseconds: i64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()
}

/// Makes the number of entries with layers that of the layers.
fn complete_history(history: &mut Vec<History>, layers: usize) {
    let described = history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in described..layers {
        // A base without a history comes before everything that was done to it.
        let entry = History { comment: EXPORTER_COMMENT.to_owned(), ..History::default() };
        history.insert(0, entry);
    }
    let mut surplus = described.saturating_sub(layers);
    for entry in history.iter_mut().rev().filter(|entry| !entry.empty_layer) {
        if surplus == 0 {
            break;
        }
        entry.empty_layer = true;
        surplus -= 1;
    }
}

/// Fills in the times of entries that have none.
fn fill_times(history: &mut [History], layers: &[Option<jiff::Timestamp>]) {
    let with_layers = history.iter_mut().filter(|entry| !entry.empty_layer);
    for (entry, time) in with_layers.zip(layers) {
        if entry.created.is_none() {
            entry.created = *time;
        }
    }
    // What comes before the first new layer gets its time, not that of the base's last.
    let mut current = None;
    let mut missing = false;
    for entry in history.iter() {
        match entry.created {
            Some(created) => {
                current = Some(created);
                if missing {
                    break;
                }
            }
            None => missing = true,
        }
    }
    let mut missing = false;
    for entry in history {
        match entry.created {
            Some(created) if missing => current = Some(created),
            Some(_) => {}
            None => {
                missing = true;
                entry.created = current;
            }
        }
    }
}

/// Returns how an output wants its layers.
pub fn wanted(output: &Output) -> Wanted {
    let level =
        |default: u32| output.level.map_or(default, |level| u32::try_from(level).unwrap_or(0));
    let compression = match (output.compression, output.kind) {
        (Some(CompressionKind::Gzip), _) => {
            Compression::Gzip { level: level(Compression::GZIP_LEVEL) }
        }
        (Some(CompressionKind::Zstd), _) => {
            Compression::Zstd { level: level(Compression::ZSTD_LEVEL) }
        }
        (Some(CompressionKind::Uncompressed), _) => Compression::Uncompressed,
        (None, OutputKind::Image) if !output.push => Compression::Uncompressed,
        (None, _) => Compression::Gzip { level: level(Compression::GZIP_LEVEL) },
    };
    // What other images of the local store are based on is not compressed either.
    let existing = match (output.force_compression, compression) {
        (true, _) => Existing::Same,
        (false, Compression::Uncompressed) => Existing::Any,
        (false, Compression::Gzip { .. } | Compression::Zstd { .. }) => Existing::Compressed,
    };
    Wanted { compression, existing, rewrite: output.rewrite_timestamp }
}

pub(super) fn family(output: &Output) -> Family {
    match (output.kind, output.oci_media_types) {
        (_, Some(true)) | (OutputKind::Oci { .. } | OutputKind::Image, None) => Family::Oci,
        (_, Some(false)) => Family::Docker,
        (OutputKind::Docker { .. } | OutputKind::Local | OutputKind::Tar, None) => Family::Oci,
    }
}

/// Makes the blobs, the config and the manifest of an output, all in the store.
pub(super) fn finish(
    exporter: &Exporter<'_>,
    image: &Image,
    output: &Output,
) -> Result<FinishedImage> {
    let family = family(output);
    let wanted = wanted(output);
    let mut config = image.config.clone();
    let mut layers = Vec::with_capacity(image.layers.len());
    for (index, layer) in image.layers.iter().enumerate() {
        let epoch = image.epoch.filter(|_| wanted.rewrite && layer.created.is_some());
        let made = blob::layer(exporter, layer, &wanted, epoch)?;
        config.rootfs.diff_ids[index] = made.diff_id;
        let named = made.descriptor.in_family(family);
        layers.push(named.ok_or_else(|| {
            super::ExportError::Format(
                "zstd layers need OCI media types: leave out `oci-mediatypes=false`".to_owned(),
            )
        })?);
    }
    let bytes = config.to_bytes();
    exporter.store.put_blob(&bytes)?;
    let config_type = media_type(Content::Config, family).unwrap_or(MediaType::ImageConfig);
    let config = Descriptor::of(config_type, &bytes);
    let manifest = Manifest::new(family, config.clone(), layers.clone());
    let bytes = manifest.to_bytes();
    exporter.store.put_blob(&bytes)?;
    let manifest_type = media_type(Content::Manifest, family).unwrap_or(MediaType::ImageManifest);
    let mut manifest = Descriptor::of(manifest_type, &bytes);
    manifest.platform = Some(image.config.platform());
    Ok(FinishedImage { manifest, config, layers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(created: Option<i64>, empty_layer: bool) -> History {
        History { created: created.and_then(time), empty_layer, ..History::default() }
    }

    #[test]
    fn times_are_filled_from_the_layers() {
        let mut history = vec![
            entry(Some(1), false),
            entry(None, true),
            entry(None, false),
            entry(None, true),
            entry(None, false),
        ];
        fill_times(&mut history, &[None, time(5), time(9)]);
        let times: Vec<_> = history.iter().map(|e| e.created.unwrap().as_nanosecond()).collect();
        assert_eq!(times, [1, 5, 5, 5, 9]);
    }

    #[test]
    fn history_and_layers_are_made_to_agree() {
        let mut history = vec![entry(None, true), entry(None, false)];
        complete_history(&mut history, 2);
        assert_eq!(history.iter().map(|e| e.empty_layer).collect::<Vec<_>>(), [false, true, false]);
        complete_history(&mut history, 1);
        assert_eq!(history.iter().map(|e| e.empty_layer).collect::<Vec<_>>(), [false, true, true]);
    }
}
