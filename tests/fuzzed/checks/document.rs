//! Documents of images: what was read is written as something that reads the same, and writing it again changes
//! nothing, because digests are taken over the bytes.

use kiln::layer::Changes;
use kiln::oci::{Content, Document, Family, ImageConfig, Index, Manifest, Platform};

/// Checks bytes as a config, as a manifest or index, as a layout's index and as the changes of a layer.
pub(crate) fn check(data: &[u8]) {
    if let Ok(config) = ImageConfig::parse(data) {
        let written = config.to_bytes();
        let again = ImageConfig::parse(&written).expect("what was written is read");
        assert_eq!(again.to_bytes(), written);
        let base = again.into_base();
        assert!(base.created.is_none());
        assert_eq!(base.platform().normalized(), base.platform());
    }
    match Document::parse(data) {
        Ok(Document::Manifest(manifest)) => check_manifest(&manifest),
        Ok(Document::Index(index)) => check_index(&index),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(index) = Index::parse(data) {
        check_index(&index);
    }
    if let Ok(changes) = Changes::decode(data) {
        assert_eq!(changes.encode(), data);
    }
}

fn check_manifest(manifest: &Manifest) {
    let written = manifest.to_bytes();
    let Ok(Document::Manifest(again)) = Document::parse(&written) else {
        panic!("what was written is no manifest: {}", String::from_utf8_lossy(&written));
    };
    assert_eq!(again, *manifest);
    for layer in &manifest.layers {
        let converted = layer.in_family(Family::Oci);
        assert_eq!(converted.is_some(), layer.content() != Content::Other);
    }
}

fn check_index(index: &Index) {
    let again = Index::parse(&index.to_bytes()).expect("what was written is read");
    assert_eq!(again, *index);
    match index.select(&Platform::host()) {
        Ok(selected) => {
            assert!(index.manifests.contains(selected));
            assert!(matches!(selected.content(), Content::Manifest | Content::Index));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
