//! Docker's list of the images in an archive (Docker image specification 1.2, "Combined Image JSON"), by which
//! `docker load` and `podman load` of any age find them.

use serde::Serialize;

use super::archive::{Archived, Name};
use super::{ExportError, Result};
use crate::oci::{Content, Reference};

/// One image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Returns `manifest.json`; an error if what is listed is no single image.
pub(super) fn list(images: &[Archived]) -> Result<Vec<u8>> {
    let listed = images.iter().map(listed).collect::<Result<Vec<_>>>()?;
    Ok(serde_json::to_vec(&listed).expect("strings always serialise"))
}

fn listed(image: &Archived) -> Result<Listed> {
    let mut manifests = image.closure.manifests();
    let manifest = match (manifests.next(), image.closure.root.content()) {
        (Some((_, manifest)), Content::Manifest) => manifest,
        _ => {
            let message = "a docker archive holds single images, not an index";
            return Err(ExportError::Format(message.to_owned()));
        }
    };
    let blob = |hex: String| format!("blobs/sha256/{hex}");
    let tag = |name: &Name| match name {
        Name::Image(name) => Some(name.clone().or_latest()),
        Name::Bare(name) => Reference::parse(name).ok().map(Reference::or_latest),
    };
    let tags: Vec<String> =
        image.names.iter().filter_map(tag).map(|name| name.familiar()).collect();
    Ok(Listed {
        config: blob(manifest.config.digest.hex()),
        repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
        layers: manifest.layers.iter().map(|layer| blob(layer.digest.hex())).collect(),
    })
}
