//! kiln reads what skopeo pushed, and skopeo reads what kiln pushed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kiln::digest::{DiffId, Digest};
use kiln::oci::{
    CONFIG_LIMIT, Compression, Content, Descriptor, Document, Family, ImageConfig, Index, Manifest,
    Platform, media_type,
};
use kiln::registry::agent::{AgentOptions, Certificates, Roots};
use kiln::registry::{BlobSource, Credential, Payload, Placed, RegistryError};

use crate::server::{Registry, Setup, tool};
use crate::{client, client_of, password, reference};

/// An image in memory: what it is made of, by digest.
struct Image {
    blobs: BTreeMap<Digest, Vec<u8>>,
    config: Descriptor,
    layer: Descriptor,
    manifest: Descriptor,
    index: Descriptor,
}

fn image(family: Family) -> Image {
    let name = |content| media_type(content, family).unwrap();
    let layer_bytes = vec![0; 10240];
    let mut config = ImageConfig::scratch(&Platform::parse("linux/arm64").unwrap());
    config.rootfs.diff_ids = vec![DiffId::from_bytes(*Digest::of(&layer_bytes).as_bytes())];
    let config_bytes = config.to_bytes();
    let layer = Descriptor::of(name(Content::Layer(Compression::None)), &layer_bytes);
    let config = Descriptor::of(name(Content::Config), &config_bytes);
    let manifest_bytes = Manifest::new(family, config.clone(), vec![layer.clone()]).to_bytes();
    let mut manifest = Descriptor::of(name(Content::Manifest), &manifest_bytes);
    manifest.platform = Some(Platform::parse("linux/arm64").unwrap());
    let index_bytes = Index::new(family, vec![manifest.clone()]).to_bytes();
    let index = Descriptor::of(name(Content::Index), &index_bytes);
    let all = [layer_bytes, config_bytes, manifest_bytes, index_bytes];
    let blobs = all.into_iter().map(|bytes| (Digest::of(&bytes), bytes)).collect();
    Image { blobs, config, layer, manifest, index }
}

/// Writes an OCI layout in which the index has the tag `t`.
fn write_layout(image: &Image, directory: &Path) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for (digest, bytes) in &image.blobs {
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
    }
    let mut entry = image.index.clone();
    entry.annotations.insert("org.opencontainers.image.ref.name".into(), "t".into());
    fs::write(directory.join("index.json"), Index::new(Family::Oci, vec![entry]).to_bytes())
        .unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn skopeo_push(image: &Image, name: &str, further: &[&str]) {
    let layout = tempfile::tempdir().unwrap();
    write_layout(image, layout.path());
    let from = format!("oci:{}:t", layout.path().display());
    let to = format!("docker://{name}");
    let mut arguments =
        vec!["--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false"];
    arguments.extend(further);
    arguments.extend([from.as_str(), to.as_str()]);
    tool("skopeo", "skopeo", &arguments);
}

#[test]
fn what_skopeo_pushed_is_read() {
    let registry = Registry::start(&Setup::Plain);
    let image = image(Family::Oci);
    let name = format!("{}/some/image:1", registry.host);
    skopeo_push(&image, &name, &[]);
    let client = client(None);
    let tagged = reference(&name);
    let fetched = client.resolve(&tagged).unwrap();
    assert_eq!(fetched.descriptor, image.index);
    assert_eq!(client.head(&tagged).unwrap().unwrap(), image.index);
    let Document::Index(index) = fetched.document else { panic!("an index was pushed") };
    let chosen = index.select(&Platform::parse("linux/arm64").unwrap()).unwrap();
    assert_eq!(chosen, &image.manifest);
    let fetched = client.resolve(&tagged.with_digest(chosen.digest)).unwrap();
    let Document::Manifest(manifest) = fetched.document else { panic!("a manifest was pushed") };
    let config = client.blob_bytes(&tagged, &manifest.config, CONFIG_LIMIT).unwrap();
    assert_eq!(ImageConfig::parse(&config).unwrap().architecture, "arm64");
    let layer = client.blob_bytes(&tagged, &manifest.layers[0], 1 << 20).unwrap();
    assert_eq!(&layer, &image.blobs[&image.layer.digest]);
    let missing = client.resolve(&reference(&format!("{}/some/image:2", registry.host)));
    assert!(matches!(missing, Err(RegistryError::NotFound(_))));
}

#[test]
fn what_kiln_pushed_is_read_by_skopeo() {
    let registry = Registry::start(&Setup::Plain);
    for (family, repository) in [(Family::Oci, "oci"), (Family::Docker, "docker")] {
        let image = image(family);
        let name = format!("{}/{repository}:1", registry.host);
        let (client, target) = (client(None), reference(&name));
        for blob in [&image.config, &image.layer] {
            assert!(!client.has_blob(&target, blob.digest).unwrap());
            let bytes = image.blobs[&blob.digest].clone();
            let (from, progress) = (None, &|_| ());
            let source = BlobSource { descriptor: blob, content: &bytes, from, progress };
            assert_eq!(client.push_blob(&target, &source).unwrap(), Placed::Uploaded);
            assert_eq!(client.push_blob(&target, &source).unwrap(), Placed::Present);
            assert!(client.has_blob(&target, blob.digest).unwrap());
        }
        let push = |to: &_, document: &Descriptor| {
            let bytes = &image.blobs[&document.digest];
            client.put_manifest(to, &document.media_type, bytes).unwrap()
        };
        push(&target.repository(), &image.manifest);
        assert_eq!(push(&target, &image.index), image.index.digest);
        let raw = tool(
            "skopeo",
            "skopeo",
            &["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")],
        );
        assert_eq!(raw.as_bytes(), image.blobs[&image.index.digest]);
        let layout = tempfile::tempdir().unwrap();
        let (from, to) = (format!("docker://{name}"), format!("oci:{}:t", layout.path().display()));
        let copy = ["--insecure-policy", "copy", "--all", "--src-tls-verify=false", &from, &to];
        tool("skopeo", "skopeo", &copy);
        let other = reference(&format!("{}/other-{repository}", registry.host));
        let (descriptor, from) = (&image.layer, Some(&target));
        let source = BlobSource { descriptor, content: &Failing, from, progress: &|_| () };
        assert_eq!(client.push_blob(&other, &source).unwrap(), Placed::Mounted);
        assert!(client.has_blob(&other, image.layer.digest).unwrap());
    }
}

/// A blob that cannot be read.
struct Failing;

impl Payload for Failing {
    fn open(&self, _: u64) -> std::io::Result<Box<dyn std::io::Read + Send + '_>> {
        Err(std::io::Error::other("gone"))
    }
}

#[test]
fn wrong_bytes_are_not_uploaded() {
    let registry = Registry::start(&Setup::Plain);
    let image = image(Family::Oci);
    let (client, target) = (client(None), reference(&format!("{}/x", registry.host)));
    let push = |content: &dyn Payload| {
        let (descriptor, from) = (&image.layer, None);
        let source = BlobSource { descriptor, content, from, progress: &|_| () };
        client.push_blob(&target, &source).unwrap_err()
    };
    let wrong = vec![1; 10240];
    let actual = Digest::of(&wrong);
    let error = push(&wrong);
    assert_eq!(error.to_string(), format!("cannot read `{}` to upload it", image.layer.digest));
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, format!("it has the digest `{actual}`"));
    let error = push(&vec![0; 17]);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "it is shorter than it was");
    let error = push(&Failing);
    assert_eq!(error.to_string(), format!("cannot read `{}` to upload it", image.layer.digest));
    assert!(!client.has_blob(&target, image.layer.digest).unwrap());
}

#[test]
fn a_password_opens_the_registry() {
    let registry = Registry::start(&Setup::Password("user", "pass:word"));
    let name = format!("{}/x:1", registry.host);
    skopeo_push(&image(Family::Oci), &name, &["--dest-creds=user:pass:word"]);
    let target = reference(&name);
    client(password("user", "pass:word")).resolve(&target).unwrap();
    for wrong in [None, password("user", "wrong"), Some(Credential::IdentityToken("t".into()))] {
        let error = client(wrong).resolve(&target).unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("access to `{}/x` denied", registry.host)));
    }
}

#[test]
fn a_certificate_must_be_trusted() {
    let registry = Registry::start(&Setup::Tls);
    let name = format!("{}/x:1", registry.host);
    skopeo_push(&image(Family::Oci), &name, &[]);
    let target = reference(&name);
    let roots = Roots::Paths { file: Some(registry.certificate()), directories: Vec::new() };
    let certificates = Certificates { roots, ..Certificates::default() };
    let trusting = AgentOptions { certificates, ..AgentOptions::default() };
    client_of(trusting, None).resolve(&target).unwrap();
    let error = client(None).resolve(&target).unwrap_err();
    assert!(error.hint().unwrap().starts_with("install ca-certificates"), "{error:?}");
}
