//! Layers that come with wrong bytes, and layers that are wrong themselves.

use std::sync::Mutex;

use kiln::digest::{DiffId, Digest};
use kiln::event::Cancel;
use kiln::graph::{ImageLocation, ImageRequest};
use kiln::oci::{
    Compression, Content, Descriptor, Family, ImageConfig, Manifest, Platform, media_type,
};
use kiln::registry::RegistryError;
use kiln::source::image::Images;
use kiln::source::{SourceError, names};
use kiln::store::Store;

use crate::fake::{Fake, Reply};
use crate::{client, reference};

fn tar() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(100_000);
    header.set_mode(0o644);
    builder.append_data(&mut header, "file", [7; 100_000].as_slice()).unwrap();
    builder.into_inner().unwrap()
}

/// Fetches an image of one layer; `served` is what comes for the layer at each request. How it ended, how often the layer
/// was asked for, and whether the store has it.
fn fetch(layer: &[u8], served: Vec<Vec<u8>>) -> (Result<(), SourceError>, usize, bool) {
    let mut config = ImageConfig::scratch(&Platform::host());
    config.rootfs.diff_ids = vec![DiffId::from_bytes(*Digest::of(&tar()).as_bytes())];
    let config = config.to_bytes();
    let named = |content| media_type(content, Family::Oci).unwrap();
    let layers = vec![Descriptor::of(named(Content::Layer(Compression::Zstd)), layer)];
    let described = Descriptor::of(named(Content::Config), &config);
    let manifest = Manifest::new(Family::Oci, described, layers).to_bytes();
    let (path, served) = (format!("/v2/x/blobs/{}", Digest::of(layer)), Mutex::new(served));
    let blob = path.clone();
    let fake = Fake::start(move |seen| match seen.path.as_str() {
        "/v2/x/manifests/1" => Reply::new(200, manifest.clone()),
        path if path == blob => Reply::new(200, served.lock().unwrap().remove(0)),
        _ => Reply::new(200, config.clone()),
    });
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let name = reference(&format!("{}/x:1", fake.host()));
    // What the name meant before.
    let older = store.put_blob(b"{}").unwrap();
    names::set_tag(&store, &name, &older).unwrap();
    let location = ImageLocation::Reference(name.clone());
    let request = ImageRequest { location, platform: Platform::host() };
    let images = Images::new(&store, client(None), true, Cancel::new());
    images.resolve(&request).unwrap();
    let meant = || names::tag(&store, &name).unwrap().unwrap();
    assert_eq!(meant(), older, "a name leads to no image without layers");
    let outcome = images.fetch(&request, &|_, _, _| ()).map(drop);
    assert_eq!(meant() == older, outcome.is_err());
    let asked = fake.seen().iter().filter(|seen| seen.path == path).count();
    (outcome, asked, store.blob_size(&Digest::of(layer)).is_some())
}

fn spoilt(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x40;
    bytes
}

#[test]
fn a_layer_that_was_spoilt_on_the_way_is_fetched_again() {
    let layer = zstd::encode_all(tar().as_slice(), 1).unwrap();
    for at in [0, 5, layer.len() / 2, layer.len() - 1] {
        let (outcome, asked, kept) = fetch(&layer, vec![spoilt(&layer, at), layer.clone()]);
        outcome.unwrap();
        assert_eq!((asked, kept), (2, true));
    }
    let (outcome, asked, kept) = fetch(&layer, vec![spoilt(&layer, 5), spoilt(&layer, 6)]);
    let error = outcome.unwrap_err();
    assert!(matches!(error, SourceError::Registry(RegistryError::Digest { .. })), "{error:?}");
    assert!(error.hint().unwrap().contains("sent wrong bytes"));
    assert_eq!((asked, kept), (2, false));
}

#[test]
fn a_layer_that_is_wrong_itself_is_fetched_once() {
    let right = zstd::encode_all(tar().as_slice(), 1).unwrap();
    let malformed = spoilt(&right, 5);
    let (outcome, asked, _) = fetch(&malformed, vec![malformed.clone()]);
    let error = outcome.unwrap_err();
    assert!(matches!(error, SourceError::BadLayer { .. }), "{error:?}");
    assert_eq!(asked, 1);
    let other = zstd::encode_all([0; 10_240].as_slice(), 1).unwrap();
    let (outcome, asked, _) = fetch(&other, vec![other.clone()]);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("has the diff id"), "{error}");
    assert_eq!(asked, 1);
}
