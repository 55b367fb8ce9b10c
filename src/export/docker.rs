//! An archive that `docker load` and `podman load` read: an OCI layout with docker's `manifest.json` beside it.

use serde::Serialize;

use super::image::{Finished, Image};
use super::layout::{self, Entry, EntryContent};
use super::{Exporter, Output, Result, image};
use crate::oci::Reference;

/// One image of `manifest.json` (Docker image specification 1.2, "Combined Image JSON").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn export(
    exporter: &Exporter<'_>,
    image: &Image,
    (output, tar): (&Output, bool),
    names: &[Reference],
) -> Result<Finished> {
    let finished = image::finish(exporter, image, output)?;
    let mut entries = layout::blobs(exporter, image, &finished)?;
    entries.extend(layout::index(&finished, names, layout::created(image)));
    let blob = |hex: String| format!("blobs/sha256/{hex}");
    let tags: Vec<String> = names.iter().map(|name| name.clone().or_latest().familiar()).collect();
    let saved = Saved {
        config: blob(finished.config.digest.hex()),
        repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
        layers: finished.layers.iter().map(|layer| blob(layer.digest.hex())).collect(),
    };
    let bytes = serde_json::to_vec(&[saved]).expect("strings always serialise");
    entries.push(Entry { name: "manifest.json".into(), content: EntryContent::Bytes(bytes) });
    layout::write(exporter, output, tar, &entries)?;
    Ok(finished)
}
