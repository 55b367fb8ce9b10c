//! What a registry is asked: the tags of a repository, what there is about an image.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
mod support;

use kiln::digest::Digest;
use serde_json::{Value, json};
use server::{Registry, Setup};
use support::{Ended, Kiln};

fn ok(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// Builds an image and pushes it under these tags of the repository `app`.
fn pushed(kiln: &Kiln, registry: &Registry, tags: &[&str]) -> String {
    let names = tags.iter().map(|tag| format!("{}/app:{tag}", registry.host));
    let names: Vec<_> = names.flat_map(|name| ["-t".to_owned(), name]).collect();
    let flags: Vec<_> = names.iter().map(String::as_str).chain(["--push"]).collect();
    ok(kiln.build("FROM scratch\nCOPY busybox /\n", &flags));
    let name = format!("{}/app:{}", registry.host, tags[0]);
    ok(kiln.run(&["inspect", "-f", "{{.Digest}}", &name])).stdout.trim().to_owned()
}

#[test]
fn all_tags_are_listed_and_pulled() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    pushed(&kiln, &registry, &["b", "a", "c"]);
    let repository = format!("{}/app", registry.host);
    let sorted = |ended: Ended| {
        let mut lines: Vec<_> = ok(ended).stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(kiln.run(&["search-tags", &repository])), ["a", "b", "c"]);
    let other = Kiln::new();
    let pulled = ok(other.run(&["pull", "--quiet", "--all-tags", &repository]));
    let ids: Vec<_> = pulled.stdout.lines().collect();
    assert!(ids.len() == 3 && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let listed = other.run(&["images", "--format", "{{.Tag}}", &repository]);
    assert_eq!(sorted(listed), ["a", "b", "c"]);
    let ended = other.run(&["pull", "--all-tags", &format!("{repository}:a")]);
    let expected =
        format!("error: `{repository}:a` is more than a repository\n  hint: give `{repository}`\n");
    assert_eq!((ended.code, ended.error()), (Some(2), expected));
}

/// Makes an OCI layout with an artifact that is about something, and returns the artifact's digest.
fn artifact(kiln: &Kiln, subject: &Value) -> String {
    let layout = kiln.path("layout");
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "digest": digest.to_string(), "size": bytes.len() })
    };
    let of = |kind: &str, mut it: Value| {
        it["mediaType"] = kind.into();
        it
    };
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "artifactType": "application/spdx+json",
        "config": of("application/vnd.oci.empty.v1+json", put(b"{}")),
        "layers": [of("application/spdx+json", put(b"{\"spdx\":1}"))],
        "subject": subject,
    });
    let manifest = of(manifest_type, put(manifest.to_string().as_bytes()));
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    manifest["digest"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_about_an_image_is_found() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let digest = pushed(&kiln, &registry, &["1"]);
    let name = format!("{}/app:1", registry.host);
    let none = ok(kiln.run(&["referrers", &name])).stdout;
    assert_eq!(none, "DIGEST   ARTIFACT TYPE   SIZE\n");
    let image = ok(kiln.run(&["inspect", "--raw", &name])).stdout;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let subject = json!({ "mediaType": kind, "digest": digest, "size": image.len() });
    let about = artifact(&kiln, &subject);
    // An artifact is pulled, kept, and pushed like an image.
    let place = format!("{}/app@{about}", registry.host);
    let from = format!("oci:{}", kiln.path("layout").display());
    ok(kiln.run(&["copy", "--quiet", &from, &format!("docker://{}/app:bom", registry.host)]));
    let pulled = ok(Kiln::new().run(&["pull", "--quiet", &place])).stdout;
    assert_eq!(pulled.trim(), about);
    let found = ok(kiln.run(&["referrers", "--format", "json", &name])).stdout;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["Subject"], digest);
    assert_eq!(found["Referrers"][0]["digest"], about);
    assert_eq!(found["Referrers"][0]["artifactType"], "application/spdx+json");
    let other = kiln.run(&["referrers", "--artifact-type", "text/plain", &name]);
    assert_eq!(ok(other).stdout, "DIGEST   ARTIFACT TYPE   SIZE\n");
    let used = kiln.run(&["run", &place]);
    let expected = format!("`{about}` is no image but an artifact of type `application/spdx+json`");
    assert!(used.code == Some(2) && used.stderr.contains(&expected), "{}", used.stderr);
}

#[test]
fn what_is_pulled_keeps_to_the_limit() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    pushed(&kiln, &registry, &["1"]);
    let other = Kiln::new();
    std::fs::write(other.path("config.toml"), "keep-storage = \"64KB\"\n").unwrap();
    let config = other.path("config.toml").display().to_string();
    let pull = |name: &str| other.run(&["--config-file", &config, "pull", "--quiet", name]);
    let name = format!("{}/app:1", registry.host);
    let id = ok(pull(&name)).stdout.trim().to_owned();
    // What has a name stays, whatever the limit is.
    ok(other.run(&["inspect", &name]));
    ok(other.run(&["tag", &name, "kept"]));
    ok(other.run(&["rmi", &name]));
    ok(pull(&name));
    ok(other.run(&["rmi", "kept", &name]));
    ok(kiln.build("FROM scratch\nCOPY Dockerfile /\n", &["-t", &name, "--push"]));
    ok(pull(&name));
    assert_eq!(other.run(&["inspect", &id]).code, Some(2), "the other image is gone");
    ok(other.run(&["inspect", &name]));
}

#[test]
fn a_pulled_image_is_whole_though_its_layers_were_known_in_another_compression() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let (first, second) = (format!("{}/a:1", registry.host), format!("{}/b:2", registry.host));
    ok(kiln.build("FROM scratch\nCOPY busybox /\n", &["-t", &first, "--push"]));
    let zstd = ["--compression", "zstd", "--force-compression"];
    ok(kiln.run(&[&["push", "--quiet"][..], &zstd, &[&first, &second]].concat()));
    let other = Kiln::new();
    ok(other.run(&["pull", "--quiet", &first]));
    ok(other.run(&["pull", "--quiet", &second]));
    drop(registry);
    let archive = other.path("second.tar").display().to_string();
    ok(other.run(&["save", "--quiet", "--format", "oci-archive", "-o", &archive, &second]));
    let place = format!("oci-archive:{archive}");
    let raw = server::tool("skopeo", "skopeo", &["inspect", "--raw", &place]);
    assert!(raw.contains("application/vnd.oci.image.layer.v1.tar+zstd"), "{raw}");
}
