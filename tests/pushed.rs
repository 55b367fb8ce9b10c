//! What a build makes on its way out: `--push` into registries, `--load` into another program.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
mod support;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use server::{Registry, Setup, tool};
use support::{BASE, Ended, Kiln};

fn raw(name: &str) -> Value {
    let name = format!("docker://{name}");
    let said = tool("skopeo", "skopeo", &["inspect", "--raw", "--tls-verify=false", &name]);
    serde_json::from_str(&said).unwrap()
}

fn metadata(kiln: &Kiln) -> Value {
    serde_json::from_slice(&std::fs::read(kiln.path("metadata.json")).unwrap()).unwrap()
}

fn build(kiln: &Kiln, dockerfile: &str, args: &[&str]) -> Ended {
    let file = kiln.path("metadata.json").display().to_string();
    kiln.build(dockerfile, &[&["--metadata-file", &file], args].concat())
}

#[test]
fn a_build_is_pushed_to_all_its_names() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let names = ["a:1", "b/c:2"].map(|name| format!("{}/{name}", registry.host));
    let dockerfile = format!("{BASE}RUN echo hello > /hello\nCMD [\"cat\", \"/hello\"]\n");
    let flags = ["-t", &names[0], "-t", &names[1], "--push"];
    let first = build(&kiln, &dockerfile, &flags);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let digest = metadata(&kiln)["containerimage.digest"].clone();
    for name in &names {
        let manifest = raw(name);
        let layers = manifest["layers"].as_array().unwrap();
        let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert!(layers.len() == 3 && layers.iter().all(|layer| layer["mediaType"] == gzip));
        assert_eq!(manifest["config"]["digest"], first.stdout.trim());
        let name = format!("docker://{name}");
        let format = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name];
        assert_eq!(tool("skopeo", "skopeo", &format).trim(), digest);
    }
    // The local store has what was pushed, under the digest that it has there.
    assert_eq!(kiln.run(&["inspect", "-f", "{{.Digest}}", &names[0]]).stdout.trim(), digest);
    let other = Kiln::new();
    let ran = other.run(&["run", &names[1]]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "hello\n"), "{}", ran.stderr);
}

#[test]
fn layers_are_sent_while_later_steps_run() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let name = format!("{}/early:1", registry.host);
    // The last step waits until somebody has seen the layers of the earlier ones in the registry.
    let dockerfile = format!(
        "{BASE}RUN --mount=type=cache,id=seen,target=/c echo one > /one\n\
         RUN --mount=type=cache,id=seen,target=/c until [ -e /c/go ]; do sleep 0.1; done\n"
    );
    let layers = registry.data().join("docker/registry/v2/repositories/early/_layers/sha256");
    let mounts = kiln.path("state/mounts");
    let ended = std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let count = || std::fs::read_dir(&layers).map_or(0, Iterator::count);
            // Should they never come, the build fails: its step runs into the limit of the loop.
            for _ in 0..600 {
                if count() == 3 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            let found = count();
            for mount in std::fs::read_dir(&mounts).unwrap() {
                let _ = std::fs::write(mount.unwrap().path().join("go"), "");
            }
            found
        });
        let ended = build(&kiln, &dockerfile, &["-t", &name, "--push"]);
        assert_eq!(seen.join().unwrap(), 3, "{}", ended.stderr);
        ended
    });
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(raw(&name)["layers"].as_array().unwrap().len(), 4);
}

#[test]
fn an_index_is_pushed_with_its_images() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let name = format!("{}/multi:1", registry.host);
    let dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY busybox /$TARGETARCH\n";
    let flags = ["-t", &name, "--platform", "linux/amd64,linux/arm64", "--push"];
    let ended = build(&kiln, dockerfile, &flags);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let index = raw(&name);
    let images = index["manifests"].as_array().unwrap();
    let platforms: Vec<_> = images.iter().map(|it| &it["platform"]["architecture"]).collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
    for image in images {
        let digest = image["digest"].as_str().unwrap();
        assert_eq!(raw(&format!("{}/multi@{digest}", registry.host))["schemaVersion"], 2);
    }
}

#[test]
fn outputs_say_how_they_are_pushed() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let host = &registry.host;
    let dockerfile = "FROM scratch\nCOPY busybox /\n";
    let output = format!("type=image,name={host}/quiet,push=true,push-by-digest=true");
    let ended = build(&kiln, dockerfile, &["-o", &output]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let written = metadata(&kiln);
    assert_eq!(written["image.name"], format!("{host}/quiet"));
    let digest = written["containerimage.digest"].as_str().unwrap();
    assert_eq!(raw(&format!("{host}/quiet@{digest}"))["schemaVersion"], 2);
    let tags = kiln.run(&["search-tags", &format!("{host}/quiet")]);
    assert_eq!((tags.code, tags.stdout.as_str()), (Some(2), ""), "no tag was made");
    let output = format!("type=registry,name={host}/small:z,compression=zstd");
    let ended = build(&kiln, dockerfile, &["-o", &output, "-t", &format!("{host}/small:t")]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for tag in ["z", "t"] {
        let layer = raw(&format!("{host}/small:{tag}"))["layers"][0]["mediaType"].clone();
        assert_eq!(layer, "application/vnd.oci.image.layer.v1.tar+zstd");
    }
    let secret = Registry::start(&Setup::TlsPassword("user", "right"));
    let output = format!("type=registry,name={}/x,registry.insecure=true", secret.host);
    let ended = build(&kiln, dockerfile, &["-o", &output, "--creds", "user:right"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn zstd_makes_oci_manifests_of_dockers() {
    let (kiln, registry) = (Kiln::new(), Registry::start(&Setup::Plain));
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    let docker = ["-t", "app:1", "-o", "type=image,oci-mediatypes=false"];
    let flags = [&platforms[..], &docker].concat();
    let ended = build(&kiln, "FROM scratch\nCOPY busybox /\n", &flags);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let name = format!("{}/app:zstd", registry.host);
    let pushed = kiln.run(&["push", "--compression", "zstd", "app:1", &name]);
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    let index = raw(&name);
    let oci = |what: &str| format!("application/vnd.oci.image.{what}.v1+json");
    assert_eq!(index["mediaType"], oci("index"));
    assert_eq!(index["manifests"][1]["mediaType"], oci("manifest"));
    let digest = index["manifests"][1]["digest"].as_str().unwrap();
    let manifest = raw(&format!("{}/app@{digest}", registry.host));
    assert_eq!(manifest["mediaType"], oci("manifest"));
    assert_eq!(manifest["config"]["mediaType"], oci("config"));
    let (from, to) = (format!("docker://{name}"), kiln.path("read").display().to_string());
    let copy = ["copy", "--all", "--src-tls-verify=false", &from, &format!("dir:{to}")];
    tool("skopeo", "skopeo", &[&["--insecure-policy"], &copy[..]].concat());
}

#[test]
fn what_cannot_be_pushed_is_said() {
    let kiln = Kiln::new();
    let dockerfile = "FROM scratch\nCOPY busybox /\n";
    let ended = build(&kiln, dockerfile, &["--push"]);
    let expected =
        "error: there is no name to push the image to\n  hint: name it with `--tag NAME`\n";
    assert_eq!((ended.code, ended.error().as_str()), (Some(2), expected));
    let output = "type=registry,name=x:1,push-by-digest=true";
    let ended = build(&kiln, dockerfile, &["-o", output]);
    let expected = "error: `x:1` has a tag, and the image is to be pushed by digest\n  hint: leave the tag out, or `push-by-digest`\n";
    assert_eq!((ended.code, ended.error().as_str()), (Some(2), expected));
    let secret = Registry::start(&Setup::Password("user", "right"));
    let name = format!("{}/x:1", secret.host);
    let ended = build(&kiln, dockerfile, &["-t", &name, "--push", "--creds", "user:wrong"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.error().starts_with("error: cannot push the image: access to"),
        "{}",
        ended.error()
    );
    assert!(!ended.stderr.contains("wrong"), "{}", ended.stderr);
}

/// A program of that name on a PATH of its own; it notes its arguments and keeps what it is given.
fn program(kiln: &Kiln, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = kiln.path("bin").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn load(kiln: &Kiln, path: &Path) -> Ended {
    kiln.file("Dockerfile", "FROM scratch\nCOPY busybox /\n");
    let mut command: Command = kiln.command(&["build", "-t", "app:1", "--load", "."]);
    support::ended(command.env("PATH", path).output().unwrap())
}

#[test]
fn an_image_is_loaded_into_docker_or_else_podman() {
    let kiln = Kiln::new();
    let archive = kiln.path("archive.tar");
    let takes = format!(
        "case $1 in info) exit 0;; load) [ \"$2\" = --quiet ] && exec /bin/cat > {};; esac",
        archive.display()
    );
    program(&kiln, "docker", "exit 1");
    program(&kiln, "podman", &takes);
    let ended = load(&kiln, &kiln.path("bin"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.ends_with("  loaded    into podman\n"), "{}", ended.stderr);
    let place = format!("docker-archive:{}", archive.display());
    let id = tool("skopeo", "skopeo", &["inspect", "--config", "--raw", &place]);
    assert!(id.contains("\"diff_ids\""));
    program(&kiln, "docker", &takes);
    let ended = load(&kiln, &kiln.path("bin"));
    assert!(ended.stderr.ends_with("  loaded    into docker\n"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_loaded_is_said() {
    let kiln = Kiln::new();
    let ended = load(&kiln, &kiln.path("bin"));
    let expected = "error: there is neither a docker nor a podman to load the image into\n  \
                    hint: start docker's daemon or install podman; without `--load` the image is kept \
                    in kiln's own store\n";
    assert_eq!((ended.code, ended.error().as_str()), (Some(3), expected));
    program(&kiln, "docker", "[ $1 = info ] && exit; echo it is full >&2; exit 4");
    let ended = load(&kiln, &kiln.path("bin"));
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.error().contains("`docker load` failed: exit status: 4"), "{}", ended.error());
    assert!(ended.error().contains("it is full"), "{}", ended.error());
}
