//! What is no image: an OCI artifact goes the same ways.

use std::fs;
use std::path::Path;

use kiln::digest::Digest;
use serde_json::{Value, json};

use crate::server::{Registry, Setup};
use crate::support::Kiln;
use crate::{arg, digest, done, fails, skopeo};

fn blob(layout: &Path, bytes: &[u8], kind: &str) -> Value {
    let digest = Digest::of(bytes);
    fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
    json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()})
}

/// Writes a layout with an artifact about something else, named `sbom`; returns the artifact's digest.
fn write(layout: &Path) -> String {
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "artifactType": "application/spdx+json",
        "config": blob(layout, b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [blob(layout, b"{\"spdx\": true}", "application/spdx+json")],
        "subject": {"mediaType": manifest_type, "digest": Digest::of(b"subject").to_string(), "size": 7},
        "annotations": {"about": "an image"},
    });
    let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
    let mut root = blob(layout, &bytes, manifest_type);
    let digest = root["digest"].as_str().unwrap().to_owned();
    root["annotations"] = json!({"org.opencontainers.image.ref.name": "sbom"});
    let index = json!({"schemaVersion": 2, "manifests": [root]});
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    digest
}

#[test]
fn an_artifact_goes_everywhere_unchanged() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), Kiln::new());
    let layout = kiln.path("layout");
    let artifact = write(&layout);
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    let copy = |from: &str, to: &str| done(&kiln, &["copy", from, to]).trim().to_owned();
    let from = format!("oci:{}:sbom", layout.display());
    assert_eq!(copy(&from, &format!("docker://{}", name("sbom:1"))), artifact);
    // Skopeo takes it along as well, and kiln what skopeo took.
    let to = format!("docker://{}", name("sbom:2"));
    let flags = ["--src-tls-verify=false", "--dest-tls-verify=false", "--quiet"];
    let first = format!("docker://{}", name("sbom:1"));
    skopeo(&[&["copy"], &flags[..], &[&first, &to]].concat());
    assert_eq!(done(&kiln, &["pull", &name("sbom:2")]).trim(), artifact);
    let pushed = done(&kiln, &["push", &name("sbom:2"), &name("other/sbom")]);
    assert_eq!(pushed, format!("{}@{artifact}\n", name("other/sbom")));
    let archive = kiln.path("sbom.tar");
    done(&kiln, &["save", "--format", "oci-archive", "-o", arg(&archive), &name("sbom:2")]);
    let other = Kiln::new();
    assert_eq!(
        done(&other, &["load", "-i", arg(&archive)]),
        format!("Loaded image: {}\n", name("sbom:2"))
    );
    done(&other, &["push", &name("sbom:2"), &name("sbom:3")]);
    let raw = skopeo(&[
        "inspect",
        "--tls-verify=false",
        "--raw",
        &format!("docker://{}", name("sbom:3")),
    ]);
    assert_eq!(Digest::of(raw.as_bytes()).to_string(), artifact);
    // It is no image, and nothing is made of it that needs one.
    assert_eq!(digest(&other, ""), "");
    let error = fails(&other, 2, &["run", &name("sbom:2")]);
    assert!(
        error.contains("is no image but an artifact of type `application/spdx+json`"),
        "{error}"
    );
    assert_eq!(
        done(&other, &["rmi", &name("sbom:2")]).lines().next(),
        Some(format!("Untagged: {}", name("sbom:2")).as_str())
    );
}
