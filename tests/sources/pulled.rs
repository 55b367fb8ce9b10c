//! Images from a registry, when it does not give all of one at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fake::{Fake, Reply, Seen};
use crate::support::Kiln;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn digests(document: &serde_json::Value) -> Vec<String> {
    let digest = |descriptor: &serde_json::Value| descriptor["digest"].as_str().unwrap().to_owned();
    document.as_array().unwrap().iter().map(digest).collect()
}

fn blob(layout: &Path, digest: &str) -> Vec<u8> {
    std::fs::read(layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))).unwrap()
}

/// Serves the one image of a layout as `x:1`, without its layers while `broken`.
fn serve(layout: &Path, broken: Arc<AtomicBool>) -> Fake {
    let index = std::fs::read(layout.join("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let manifest = blob(layout, &digests(&index["manifests"])[0]);
    let document: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layers = digests(&document["layers"]);
    let layout = layout.to_owned();
    Fake::start(move |seen: &Seen| {
        let last = seen.path.rsplit('/').next().unwrap();
        if seen.path.starts_with("/v2/x/manifests/") {
            return Reply::new(200, manifest.clone()).header("content-type", MANIFEST);
        }
        if !seen.path.starts_with("/v2/x/blobs/") {
            return Reply::new(200, "{}");
        }
        match broken.load(Ordering::Acquire) && layers.iter().any(|layer| layer == last) {
            true => Reply::new(404, "{}"),
            false => Reply::new(200, blob(&layout, last)),
        }
    })
}

#[test]
fn an_image_whose_layers_never_came_is_asked_for_again() {
    let maker = Kiln::new();
    maker.file("file", "kept");
    let layout = maker.path("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let made = maker.build("FROM scratch\nCOPY file /kept\n", &["--output", &output]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);

    let broken = Arc::new(AtomicBool::new(true));
    let registry = serve(&layout, Arc::clone(&broken));
    let kiln = Kiln::new();
    let text = format!("FROM {}/x:1\nCOPY busybox /more\n", registry.host());
    let failed = kiln.build(&text, &[]);
    assert_eq!(failed.code, Some(2), "{}", failed.stderr);

    broken.store(false, Ordering::Release);
    let names = |text: &str| -> Vec<String> {
        let tree = kiln.tree(text, &[]);
        tree.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    };
    assert_eq!(names(&text), ["kept", "more"]);

    // What is here whole is not asked for.
    drop(registry);
    assert_eq!(names(&format!("{text}COPY busybox /again\n")), ["again", "kept", "more"]);
}

/// Writes an image of one uncompressed layer as a layout, as others make it.
fn foreign_layout(layout: &Path, tar: &[u8]) {
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8]| {
        let digest = kiln::digest::Digest::of(bytes);
        std::fs::write(layout.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        serde_json::json!({"digest": digest.to_string(), "size": bytes.len()})
    };
    let of = |mut descriptor: serde_json::Value, kind: &str| {
        descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
        descriptor
    };
    let layer = of(put(tar), "layer.v1.tar");
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [layer["digest"]]});
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs});
    let config = of(put(config.to_string().as_bytes()), "config.v1+json");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
    });
    let manifest = of(put(manifest.to_string().as_bytes()), "manifest.v1+json");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [manifest]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn an_uncompressed_layer_may_have_its_files_in_any_order() {
    let kiln = Kiln::new();
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["z", "a"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, name.as_bytes()).unwrap();
    }
    let layout = kiln.path("layout");
    foreign_layout(&layout, &tar.into_inner().unwrap());
    let context = format!("base=oci-layout://{}", layout.display());
    // The second time nothing is unpacked any more.
    for to in ["first", "second"] {
        let text = format!("FROM scratch\nCOPY --from=base /a /{to}\nCOPY --from=base /z /z\n");
        let tree = kiln.tree(&text, &["--build-context", &context]);
        let contents: Vec<_> = tree.iter().map(|entry| entry.content.as_slice()).collect();
        assert_eq!(contents, [b"a", b"z"], "{to}");
    }
}
