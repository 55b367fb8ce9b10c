//! `kiln manifest` against real registries, and what skopeo, podman and docker make of its lists.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod lists;
mod moved;
mod refused;
#[path = "../registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use kiln::digest::Digest;
use kiln::oci::{Descriptor, Family, Index, Manifest, MediaType, Platform};
use serde_json::{Value, json};

use server::{Registry, tool};
use support::Kiln;

/// Says of which platform it is, and runs.
const DOCKERFILE: &str = "FROM scratch\nARG TARGETPLATFORM\nENV FOR=$TARGETPLATFORM\nCOPY busybox /bin/\n\
    COPY which /\nCMD [\"/bin/busybox\", \"cat\", \"/which\"]\n";

const EPOCH: u64 = 1_700_000_000;

const FOREIGN: &str = "linux/s390x";

fn host() -> String {
    Platform::host().to_string()
}

/// Runs kiln, which must succeed and say nothing else, and returns its answer.
fn said(kiln: &Kiln, args: &[&str]) -> String {
    let ended = kiln.run(args);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
    ended.stdout
}

/// Runs kiln, which must fail with this code, and returns what it reports.
fn failed(kiln: &Kiln, args: &[&str], code: i32) -> String {
    let ended = kiln.run(args);
    let context = format!("{args:?}: {}", ended.stderr);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{context}");
    ended.error()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Builds an image for a platform into a layout, and returns its manifest's descriptor.
fn layout(kiln: &Kiln, platform: &str, family: Family, directory: &Path) -> Descriptor {
    kiln.file("which", &format!("{platform}\n"));
    // The same files make the same layers, whenever they are made.
    for name in ["which", "busybox"] {
        let file = std::fs::File::options().write(true).open(kiln.context().join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(EPOCH)).unwrap();
    }
    let epoch = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let oci = family == Family::Oci;
    let output = format!("type=oci,tar=false,oci-mediatypes={oci},dest={}", directory.display());
    let args = ["--platform", platform, "--build-arg", &epoch, "--output", &output];
    let ended = kiln.build(DOCKERFILE, &args);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let index = std::fs::read(directory.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let found = &index["manifests"][0];
    let text = |name: &str| found[name].as_str().unwrap();
    let size = found["size"].as_u64().unwrap();
    Descriptor::new(text("mediaType").into(), text("digest").parse().unwrap(), size)
}

/// Builds an image and copies it to a registry, by skopeo and byte for byte.
fn push_image(registry: &Registry, name: &str, platform: &str, family: Family) -> Descriptor {
    let (kiln, directory) = (Kiln::new(), tempfile::tempdir().unwrap());
    let pushed = layout(&kiln, platform, family, directory.path());
    copy(directory.path(), &format!("{}/{name}", registry.host));
    pushed
}

fn copy(layout: &Path, name: &str) {
    let (from, to) = (format!("oci:{}", layout.display()), format!("docker://{name}"));
    let how = ["--insecure-policy", "copy", "--all", "--preserve-digests"];
    let args = [&how[..], &["--dest-tls-verify=false", &from, &to]].concat();
    tool("skopeo", "skopeo", &args);
}

/// Pushes an index of an image for each platform, of which each has an attestation; returns what the index names.
fn push_attested(registry: &Registry, name: &str, platforms: &[&str]) -> Vec<Descriptor> {
    let (kiln, directory) = (Kiln::new(), tempfile::tempdir().unwrap());
    let put = |kind: MediaType, bytes: &[u8]| {
        let made = Descriptor::of(kind, bytes);
        std::fs::write(directory.path().join("blobs/sha256").join(made.digest.hex()), bytes)
            .unwrap();
        made
    };
    let (mut images, mut attestations) = (Vec::new(), Vec::new());
    for platform in platforms {
        let mut image = layout(&kiln, platform, Family::Oci, directory.path());
        image.platform = Some(Platform::parse(platform).unwrap());
        let statement = json!({ "subject": image.digest.to_string() }).to_string();
        let statement = put("application/vnd.in-toto+json".into(), statement.as_bytes());
        let rootfs = json!({ "type": "layers", "diff_ids": [statement.digest.to_string()] });
        let config =
            json!({ "architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs });
        let config = put(MediaType::ImageConfig, config.to_string().as_bytes());
        let manifest = Manifest::new(Family::Oci, config, vec![statement]);
        let mut attestation = put(MediaType::ImageManifest, &manifest.to_bytes());
        let unknown = || "unknown".to_owned();
        let platform = Platform { os: unknown(), architecture: unknown(), ..Platform::default() };
        attestation.platform = Some(platform);
        attestation.annotations = [
            ("vnd.docker.reference.digest".to_owned(), image.digest.to_string()),
            ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
        ]
        .into();
        images.push(image);
        attestations.push(attestation);
    }
    images.append(&mut attestations);
    let index = put(MediaType::ImageIndex, &Index::new(Family::Oci, images.clone()).to_bytes());
    let top = Index::new(Family::Oci, vec![index]).to_bytes();
    std::fs::write(directory.path().join("index.json"), top).unwrap();
    copy(directory.path(), &format!("{}/{name}", registry.host));
    images
}

/// What a registry has under a name, byte for byte.
fn raw(name: &str) -> String {
    let name = format!("docker://{name}");
    tool("skopeo", "skopeo", &["inspect", "--raw", "--tls-verify=false", &name])
}

/// The blobs that a registry's image is made of besides its config.
fn layers(name: &str) -> Vec<Digest> {
    let manifest = json(&raw(name));
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect()
}

/// Whether a local store has a blob.
fn has(kiln: &Kiln, blob: &Digest) -> bool {
    kiln.path("state/blobs/sha256").join(blob.hex()).exists()
}
