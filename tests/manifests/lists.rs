//! What a list says: as it is made, changed and shown.

use kiln::digest::Digest;
use kiln::oci::{Descriptor, Family};

use crate::server::{Registry, Setup};
use crate::support::{Kiln, printed};
use crate::{FOREIGN, failed, host, json, push_attested, push_image, raw, said};

const OCI: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What a list of images has for each of them.
fn entry(image: &Descriptor, platform: &str) -> String {
    let (os, architecture) = platform.split_once('/').unwrap();
    let Descriptor { media_type, digest, size, .. } = image;
    format!(
        r#"    {{
      "mediaType": "{media_type}",
      "digest": "{digest}",
      "size": {size},
      "platform": {{
        "architecture": "{architecture}",
        "os": "{os}"
      }}
    }}"#
    )
}

fn list(media_type: &str, entries: &[String]) -> String {
    let entries = entries.join(",\n");
    format!(
        "{{\n  \"schemaVersion\": 2,\n  \"mediaType\": \"{media_type}\",\n  \"manifests\": [\n{entries}\n  ]\n}}"
    )
}

/// The list as it is stored, whose digest the last command has printed.
fn stored(kiln: &Kiln, name: &str, printed: &str) -> String {
    let stored = said(kiln, &["manifest", "inspect", name]);
    assert_eq!(printed, format!("{}\n", Digest::of(stored.as_bytes())));
    stored
}

#[test]
fn a_list_is_of_the_family_of_its_images() {
    let registry = Registry::start(&Setup::Plain);
    let (docker, oci, host) = (Family::Docker, Family::Oci, host());
    let a = push_image(&registry, "a:docker", &host, docker);
    let b = push_image(&registry, "b:docker", FOREIGN, docker);
    let c = push_image(&registry, "c:oci", FOREIGN, oci);
    let at = |name: &str| format!("{}/{name}", registry.host);
    let kiln = Kiln::new();
    let made = said(&kiln, &["manifest", "create", "list", &at("a:docker"), &at("b:docker")]);
    let both = list(DOCKER, &[entry(&a, &host), entry(&b, FOREIGN)]);
    assert_eq!(stored(&kiln, "list", &made), both);
    let mixed = said(&kiln, &["manifest", "create", "--amend", "list", &at("c:oci")]);
    let expected = list(OCI, &[entry(&a, &host), entry(&b, FOREIGN), entry(&c, FOREIGN)]);
    assert_eq!(stored(&kiln, "list:latest", &mixed), expected);
    // What is there stays where and as it is.
    assert_eq!(said(&kiln, &["manifest", "add", "list", &at("b:docker"), &at("c:oci")]), mixed);
    assert_eq!(said(&kiln, &["manifest", "remove", "list", &c.digest.to_string()]), made);
    let only = said(&kiln, &["manifest", "remove", "list", &at("b:docker")]);
    assert_eq!(stored(&kiln, "list", &only), list(DOCKER, &[entry(&a, &host)]));
    // Only an OCI index can be annotated.
    let annotated =
        said(&kiln, &["manifest", "annotate", "list", "--index", "--annotation", "a=b=c"]);
    let annotated = json(&stored(&kiln, "list", &annotated));
    assert_eq!(
        (&annotated["mediaType"], &annotated["annotations"]["a"]),
        (&OCI.into(), &"b=c".into())
    );
    let empty = said(&kiln, &["manifest", "create", "empty"]);
    assert_eq!(
        stored(&kiln, "empty", &empty),
        format!(
            "{{\n  \"schemaVersion\": 2,\n  \"mediaType\": \"{OCI}\",\n  \"manifests\": []\n}}"
        )
    );
}

#[test]
fn what_is_said_of_an_image_is_what_was_annotated() {
    let registry = Registry::start(&Setup::Plain);
    let images = push_attested(&registry, "both:1", &[&host(), FOREIGN]);
    let name = format!("{}/both:1", registry.host);
    let kiln = Kiln::new();
    let before = said(&kiln, &["manifest", "create", "list", &name]);
    assert_eq!(stored(&kiln, "list", &before), raw(&name));
    let digest = images[1].digest.to_string();
    let words = ["manifest", "annotate", "list", &digest, "--arch", "arm64", "--variant", "v8"];
    let further =
        ["--os", "windows", "--os-version", "10.0.1", "--os-features", "x,y", "--os-features=x"];
    let annotation = ["--annotation", "org.example=1"];
    let changed = said(&kiln, &[&words[..], &further, &annotation].concat());
    let changed = json(&stored(&kiln, "list", &changed));
    let [host_image, image, attestation, last] = [0, 1, 2, 3].map(|at| &changed["manifests"][at]);
    let platform = r#"{"architecture":"arm64","os":"windows","os.version":"10.0.1","os.features":["x","y"],"variant":"v8"}"#;
    assert_eq!(image["platform"].to_string(), platform);
    assert_eq!(image["annotations"].to_string(), r#"{"org.example":"1"}"#);
    assert_eq!(image["digest"], digest);
    assert_eq!(*host_image, json(&raw(&name))["manifests"][0]);
    assert_eq!(
        (&attestation["digest"], &last["digest"]),
        (&images[2].digest.to_string().into(), &images[3].digest.to_string().into())
    );
    // An attestation goes with its image.
    said(&kiln, &["manifest", "remove", "list", &digest]);
    let left = json(&said(&kiln, &["manifest", "inspect", "list"]));
    let left: Vec<_> =
        left["manifests"].as_array().unwrap().iter().map(|it| it["digest"].clone()).collect();
    assert_eq!(left, [images[0].digest.to_string(), images[2].digest.to_string()]);
    // What is left of an index can be meant by its name.
    said(&kiln, &["manifest", "annotate", "list", &name, "--annotation", "a=b"]);
    let left = json(&said(&kiln, &["manifest", "inspect", "list"]));
    assert_eq!(left["manifests"][0]["annotations"].to_string(), r#"{"a":"b"}"#);
}

#[test]
fn images_of_the_local_store_come_first() {
    let registry = Registry::start(&Setup::Plain);
    let name = format!("{}/app:1", registry.host);
    let theirs = push_image(&registry, "app:1", FOREIGN, Family::Oci);
    let kiln = Kiln::new();
    let platforms = format!("{},linux/arm/v6", host());
    let built =
        kiln.build("FROM scratch\nCOPY busybox /\n", &["-t", &name, "--platform", &platforms]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let ours = said(&kiln, &["manifest", "inspect", &name]);
    let forced = format!("docker://{name}");
    assert_eq!(said(&kiln, &["manifest", "inspect", &forced]), raw(&name));
    said(&kiln, &["manifest", "create", "list", &name, &forced]);
    let list = json(&said(&kiln, &["manifest", "inspect", "list"]));
    let mut expected = json(&ours)["manifests"].as_array().unwrap().clone();
    assert_eq!(expected.len(), 2);
    expected.push(json(&entry(&theirs, FOREIGN)));
    assert_eq!(list["manifests"].as_array(), Some(&expected));
    // By its id, and by the beginning of it.
    let id = said(&kiln, &["inspect", "-f", "{{.Id}}", "--platform", "linux/arm/v6", &name]);
    let by_id = said(&kiln, &["manifest", "create", "by:id", id.trim()]);
    let beginning = &id["sha256:".len()..][..12];
    assert_eq!(said(&kiln, &["manifest", "create", "by:beginning", beginning]), by_id);
    assert_eq!(json(&stored(&kiln, "by:id", &by_id))["manifests"][0], json(&ours)["manifests"][1]);
    let lists = said(&kiln, &["images", "--format", "{{.Repository}} {{.Platforms}}"]);
    let expected = format!("list {0},linux/arm/v6,{FOREIGN}\n", host());
    assert!(lists.contains(&expected), "{lists}");
}

#[test]
fn docker_shows_the_same() {
    let registry = Registry::start(&Setup::Plain);
    let host = host();
    push_image(&registry, "a:1", &host, Family::Docker);
    push_image(&registry, "b:1", FOREIGN, Family::Docker);
    let at = |name: &str| format!("{}/{name}", registry.host);
    let kiln = Kiln::new();
    said(&kiln, &["manifest", "create", &at("list:1"), &at("a:1"), &at("b:1")]);
    said(&kiln, &["manifest", "push", "-q", &at("list:1")]);
    let docker = |args: &[&str]| {
        let mut command = std::process::Command::new("docker");
        let config = kiln.path("docker");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("config.json"), "{}").unwrap();
        command.env("DOCKER_CONFIG", config).args(["manifest", "inspect", "--insecure"]).args(args);
        printed("docker.io", &mut command)
    };
    assert_eq!(json(&docker(&[&at("list:1")])), json(&raw(&at("list:1"))));
    for name in ["list:1", "a:1"] {
        let name = at(name);
        let shown = said(&kiln, &["manifest", "inspect", "-v", &format!("docker://{name}")]);
        assert_eq!(shown, docker(&["-v", &name]));
    }
}

#[test]
fn lists_can_be_looked_for_and_removed() {
    let kiln = Kiln::new();
    let built = kiln.build("FROM scratch\nCOPY busybox /\n", &["-t", "app"]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    said(&kiln, &["manifest", "create", "one", "app"]);
    said(&kiln, &["manifest", "create", "two:2", "app"]);
    assert_eq!(said(&kiln, &["manifest", "exists", "two:2"]), "");
    for absent in ["two", "app"] {
        assert_eq!(failed(&kiln, &["manifest", "exists", absent], 1), "", "{absent}");
    }
    let ended = kiln.run(&["manifest", "rm", "one", "nope", "app", "two:2"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), "Untagged: one:latest\nUntagged: two:2\n")
    );
    let problems = "error: there is no image `nope` in the local store\n  hint: `kiln images` lists those that are there\n\
        \nerror: `app` is an image, not a list of images\n  hint: `kiln manifest create` makes a list\n";
    assert_eq!(ended.stderr, problems);
    assert_eq!(failed(&kiln, &["manifest", "exists", "one"], 1), "");
    assert_eq!(said(&kiln, &["images", "--format", "{{.Repository}}"]), "app\n");
}
