//! Images in an OCI layout directory.

use std::path::{Path, PathBuf};

use super::{Image, Images, Origin, SourceError};
use crate::digest::Digest;
use crate::fs;
use crate::graph::ImageLocation;
use crate::oci::{self, Descriptor, Platform};
use crate::source::blobs::check_digest;

impl Images<'_> {
    pub(super) fn by_layout(
        &self,
        (path, selector): (&Path, Option<&str>),
        platform: &Platform,
        location: &ImageLocation,
    ) -> Result<Image, SourceError> {
        let index = path.join("index.json");
        let bytes = fs::read_regular(&index, oci::MANIFEST_LIMIT + 1)?;
        let index = oci::Index::parse(&bytes)?;
        let missing = || SourceError::ImageNotFound {
            reference: location.familiar(),
            hint: Some("look into the layout's `index.json` for the names that it has".into()),
        };
        let names = |descriptor: &Descriptor, wanted: &str| {
            let keys = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];
            keys.iter()
                .any(|key| descriptor.annotations.get(*key).is_some_and(|name| name == wanted))
        };
        let chosen = match selector {
            Some(text) => {
                index.manifests.iter().find(|d| d.digest.to_string() == text || names(d, text))
            }
            None if index.manifests.len() == 1 => index.manifests.first(),
            None => index
                .manifests
                .iter()
                .find(|d| names(d, "latest"))
                .or_else(|| index.select(platform).ok()),
        };
        // A digest may also name a manifest inside a nested index.
        let digest =
            chosen.map(|d| d.digest).or_else(|| selector?.parse().ok()).ok_or_else(missing)?;
        let read = |digest: &Digest| read_blob(path, digest);
        self.image_of(digest, platform, Origin::Layout(path.to_owned()), &read)
    }
}

/// Returns where a blob is.
pub(super) fn blob(path: &Path, digest: &Digest) -> PathBuf {
    path.join("blobs/sha256").join(digest.hex())
}

fn read_blob(layout: &Path, digest: &Digest) -> Result<Vec<u8>, SourceError> {
    let path = blob(layout, digest);
    let bytes = fs::read_regular(&path, oci::CONFIG_LIMIT + 1)?;
    check_digest(&bytes, digest)?;
    Ok(bytes)
}
