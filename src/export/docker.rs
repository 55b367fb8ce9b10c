//! An archive that `docker load` and `podman load` read: an OCI layout with docker's `manifest.json` beside it.

use serde::Serialize;

use super::layout::{self, Entry, EntryContent};
use super::product::{self, Finished, Product};
use super::{ExportError, Exporter, Output, Result};
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
    product: &Product,
    (output, tar): (&Output, bool),
    names: &[Reference],
) -> Result<Finished> {
    let finished = product::finish(exporter, product, output)?;
    let ([image], false) = (finished.images.as_slice(), product.is_index) else {
        return Err(ExportError::Format("`type=docker` holds one image, not an index".into()));
    };
    let mut entries = layout::blobs(exporter, product, &finished)?;
    entries.extend(layout::index(&finished, names, layout::created(product)));
    let blob = |hex: String| format!("blobs/sha256/{hex}");
    let tags: Vec<String> = names.iter().map(|name| name.clone().or_latest().familiar()).collect();
    let saved = Saved {
        config: blob(image.config.digest.hex()),
        repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
        layers: image.layers.iter().map(|layer| blob(layer.digest.hex())).collect(),
    };
    let bytes = serde_json::to_vec(&[saved]).expect("strings always serialise");
    entries.push(Entry { name: "manifest.json".into(), content: EntryContent::Bytes(bytes) });
    layout::write(exporter, output, tar, &entries)?;
    Ok(finished)
}
