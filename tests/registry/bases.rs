//! Builds on images that a registry has: what is pulled, when, and with whose rights.

use std::path::Path;

use serde_json::json;

use crate::server::{Registry, Setup, tool};
use crate::support::{BASE, Ended, Kiln};

/// Builds an image by itself and pushes it.
fn push(kiln: &Kiln, dockerfile: &str, (name, compression): (&str, &str), further: &[&str]) {
    let layout = kiln.path("pushed");
    let output = format!("type=oci,tar=false,dest={},compression={compression}", layout.display());
    let ended = kiln.build(dockerfile, &["--output", &output]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (from, to) = (format!("oci:{}", layout.display()), format!("docker://{name}"));
    let mut arguments = vec!["--insecure-policy", "copy", "--dest-tls-verify=false"];
    arguments.extend(further);
    arguments.extend([from.as_str(), to.as_str()]);
    tool("skopeo", "skopeo", &arguments);
    std::fs::remove_dir_all(layout).unwrap();
}

fn said(kiln: &Kiln, dockerfile: &str, args: &[&str]) -> (Ended, String) {
    let ended = kiln.build(dockerfile, &[&["-t", "built"], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ran = kiln.run(&["run", "built", "cat", "/said"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    (ended, ran.stdout)
}

#[test]
fn a_base_is_pulled_once_and_asked_for_again_with_pull() {
    let registry = Registry::start(&Setup::Plain);
    let pusher = Kiln::new();
    for compression in ["gzip", "zstd", "uncompressed"] {
        let kiln = Kiln::new();
        let name = format!("{}/base/{compression}:1", registry.host);
        let image = |word: &str| format!("{BASE}ENV WORD={word}\nRUN echo {word} > /word\n");
        let text = format!("FROM {name}\nRUN echo $WORD $(cat /word) > /said\n");
        push(&pusher, &image("old"), (&name, compression), &[]);
        let (first, old) = said(&kiln, &text, &[]);
        assert_eq!((old.as_str(), first.cached()), ("old old\n", 0));
        push(&pusher, &image("new"), (&name, compression), &[]);
        let (second, old) = said(&kiln, &text, &[]);
        assert_eq!((old.as_str(), second.stdout), ("old old\n", first.stdout));
        let (third, new) = said(&kiln, &text, &["--pull"]);
        assert_eq!((new.as_str(), third.cached()), ("new new\n", 0));
    }
}

#[test]
fn a_registry_that_is_gone_is_not_missed() {
    let registry = Registry::start(&Setup::Plain);
    let (pusher, kiln) = (Kiln::new(), Kiln::new());
    let name = format!("{}/base:1", registry.host);
    push(&pusher, BASE, (&name, "gzip"), &[]);
    let text = format!("FROM {name}\nRUN echo hello > /said\n");
    let first = said(&kiln, &text, &[]).0;
    drop(registry);
    let (second, hello) = said(&kiln, &text, &[]);
    assert_eq!((second.stdout, hello.as_str()), (first.stdout, "hello\n"));
    let (other, bye) = said(&kiln, &text.replace("hello", "bye"), &[]);
    assert_eq!((other.cached(), bye.as_str()), (1, "bye\n"));
}

#[test]
fn a_password_is_taken_from_dockers_configuration() {
    let registry = Registry::start(&Setup::Password("kate", "pass:word"));
    let (pusher, kiln) = (Kiln::new(), Kiln::new());
    let name = format!("{}/base:1", registry.host);
    push(&pusher, BASE, (&name, "gzip"), &["--dest-creds", "kate:pass:word"]);
    let build = |configuration: &Path| {
        kiln.file("Dockerfile", &format!("FROM {name}\nRUN echo hello\n"));
        let mut command = kiln.command(&["build", "--progress", "plain", "."]);
        crate::support::ended(command.env("DOCKER_CONFIG", configuration).output().unwrap())
    };
    let (none, wrong, right) = (kiln.path("none"), kiln.path("wrong"), kiln.path("right"));
    for (directory, auth) in [(&wrong, "a2F0ZTpub25zZW5zZQ=="), (&right, "a2F0ZTpwYXNzOndvcmQ=")] {
        std::fs::create_dir(directory).unwrap();
        let configuration = json!({ "auths": { registry.host.as_str(): { "auth": auth } } });
        std::fs::write(directory.join("config.json"), configuration.to_string()).unwrap();
    }
    for directory in [&none, &wrong] {
        let ended = build(directory);
        let message = format!("error: cannot find the base image `{name}`\n --> Dockerfile:1:1\n");
        assert!(ended.error().starts_with(&message) && ended.code == Some(2), "{}", ended.stderr);
        assert!(!ended.stderr.contains("nonsense"), "{}", ended.stderr);
    }
    assert_eq!(build(&right).code, Some(0));
}

#[test]
fn an_index_gives_the_image_of_the_platform() {
    let registry = Registry::start(&Setup::Plain);
    let (pusher, kiln) = (Kiln::new(), Kiln::new());
    let name = format!("{}/base:1", registry.host);
    let mut manifests = Vec::new();
    for platform in ["linux/amd64", "linux/arm64/v8"] {
        pusher.file("which", platform);
        let layout = pusher.path("layout");
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        let ended = pusher
            .build("FROM scratch\nCOPY which /\n", &["--platform", platform, "--output", &output]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let index = std::fs::read(layout.join("index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        manifests.push(index["manifests"][0].clone());
    }
    let layout = pusher.path("layout");
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let digest = kiln::digest::Digest::of(index.to_string().as_bytes());
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), index.to_string()).unwrap();
    let top = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "digest": digest.to_string(),
            "size": index.to_string().len(),
            "annotations": { "org.opencontainers.image.ref.name": "both" },
        }],
    });
    std::fs::write(layout.join("index.json"), top.to_string()).unwrap();
    let (from, to) = (format!("oci:{}:both", layout.display()), format!("docker://{name}"));
    let all = ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false", &from, &to];
    tool("skopeo", "skopeo", &all);
    let which = |text: &str, args: &[&str]| {
        let tree = kiln.tree(text, args);
        let entry = tree.iter().find(|entry| entry.path == b"which").unwrap();
        String::from_utf8(entry.content.clone()).unwrap()
    };
    let text = format!("FROM {name}\n");
    assert_eq!(which(&text, &["--platform", "linux/amd64"]), "linux/amd64");
    assert_eq!(which(&text, &["--platform", "linux/arm64"]), "linux/arm64/v8");
    let chosen = format!("FROM --platform=linux/arm64 {name}\n");
    assert_eq!(which(&chosen, &["--platform", "linux/amd64"]), "linux/arm64/v8");
    let ended = kiln.build(&text, &["--platform", "linux/s390x"]);
    assert!(ended.code == Some(2) && ended.error().contains("linux/s390x"), "{}", ended.stderr);
}
