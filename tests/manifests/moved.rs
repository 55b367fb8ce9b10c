//! Where the layers of a list's images are, and how they get to where the list goes.

use kiln::oci::Family;

use crate::server::{Registry, Setup};
use crate::support::Kiln;
use crate::support::podman::Podman;
use crate::{FOREIGN, failed, has, host, json, layers, push_attested, push_image, raw, said};

/// Pushes a list and returns what kiln says of it.
fn push(kiln: &Kiln, args: &[&str]) -> (String, String) {
    let ended = kiln.run(&[&["manifest", "push", "--progress", "plain"], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    (ended.stdout, ended.stderr.lines().last().unwrap().to_owned())
}

/// What podman has of an image for a platform when it pulled it, and the platform that its config says.
fn pulled(podman: &Podman, name: &str, platform: &str) -> String {
    podman.run(&["pull", "-q", "--tls-verify=false", "--platform", platform, name]);
    podman.run(&["image", "inspect", "--format", "{{.Os}}/{{.Architecture}} {{.Config.Env}}", name])
}

#[test]
fn within_a_registry_no_layer_is_moved() {
    let registry = Registry::start(&Setup::Plain);
    let at = |name: &str| format!("{}/{name}", registry.host);
    push_image(&registry, "app:here", &host(), Family::Oci);
    push_image(&registry, "app:there", FOREIGN, Family::Oci);
    let kiln = Kiln::new();
    let list = at("app:1");
    let made = said(&kiln, &["manifest", "create", &list, &at("app:here"), &at("app:there")]);
    // What the store was not told to keep it has forgotten.
    said(&kiln, &["prune", "--all", "--force", "--filter", "until=0s"]);
    let digests = kiln.path("digest");
    let file = ["--digestfile", digests.to_str().unwrap()];
    let there = format!("pushed: {list}, no blob had to be sent");
    assert_eq!(push(&kiln, &[&list, file[0], file[1]]), (made.clone(), there));
    assert_eq!(std::fs::read_to_string(digests).unwrap(), made.trim());
    assert_eq!(push(&kiln, &[&list]).1, format!("up to date: {list}"));
    let other = at("team/other:2");
    let (digest, said_last) = push(&kiln, &[&list, &format!("docker://{other}")]);
    // Two configs, a layer that both images have, and one of each.
    assert_eq!(said_last, format!("pushed: {other}, 5 blobs mounted"));
    assert_eq!(digest, made);
    for name in [&list, &other] {
        assert_eq!(raw(name), said(&kiln, &["manifest", "inspect", &list]));
    }
    for name in ["app:here", "app:there"] {
        assert!(layers(&at(name)).iter().all(|layer| !has(&kiln, layer)));
    }
    let podman = Podman::new();
    podman.run(&["manifest", "create", "read"]);
    let from = format!("docker://{other}");
    podman.run(&["manifest", "add", "--all", "--tls-verify=false", "read", &from]);
    let read = json(&podman.run(&["manifest", "inspect", "read"]));
    assert_eq!(read["manifests"], json(&raw(&list))["manifests"]);
    for platform in [&host(), FOREIGN] {
        let expected = format!(
            "{platform} [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin FOR={platform}]\n"
        );
        assert_eq!(pulled(&podman, &other, platform), expected);
    }
}

#[test]
fn what_another_registry_has_goes_straight_from_there() {
    let (from, to) = (Registry::start(&Setup::Plain), Registry::start(&Setup::Plain));
    let name = format!("{}/app:1", from.host);
    let images = push_attested(&from, "app:1", &[&host(), FOREIGN]);
    let kiln = Kiln::new();
    let built = kiln.build(
        "FROM scratch\nENV FOR=arm\nCOPY busybox /\n",
        &["-t", "mine", "--platform", "linux/arm64"],
    );
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let local = said(&kiln, &["manifest", "create", "list", "mine", &name]);
    said(&kiln, &["prune", "--all", "--force"]);
    let target = format!("{}/app:2", to.host);
    let (digest, said_last) = push(&kiln, &["--purge", "list", &target]);
    // Five configs, three layers and two statements that are there, and the layer that is here.
    assert_eq!(said_last, format!("pushed: {target}, 11 blobs uploaded"));
    assert!(!has(&kiln, &layers(&format!("{}/app@{}", from.host, images[0].digest))[0]));
    assert_eq!(failed(&kiln, &["manifest", "exists", "list"], 1), "");
    // What was built here was compressed for the push; what was elsewhere stays as it is.
    assert_ne!(digest, local);
    let pushed = json(&raw(&target))["manifests"].clone();
    for (at, image) in images.iter().enumerate() {
        assert_eq!(pushed[at + 1], json(&raw(&name))["manifests"][at], "{}", image.digest);
    }
    drop(from);
    let podman = Podman::new();
    for (platform, word) in
        [(host().as_str(), host().as_str()), (FOREIGN, FOREIGN), ("linux/arm64", "arm")]
    {
        let expected = format!(
            "{platform} [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin FOR={word}]\n"
        );
        assert_eq!(pulled(&podman, &target, platform), expected);
    }
}

#[test]
fn a_part_that_nobody_has_is_named() {
    let (from, to) = (Registry::start(&Setup::Plain), Registry::start(&Setup::Plain));
    let image = push_image(&from, "app:1", FOREIGN, Family::Oci);
    let name = format!("{}/app:1", from.host);
    let layer = layers(&name)[0];
    let kiln = Kiln::new();
    said(&kiln, &["manifest", "create", "list", &name]);
    let target = format!("{}/app:1", to.host);
    let push = ["manifest", "push", "-q", "list", &target];
    drop(from);
    let gone = failed(&kiln, &push, 3);
    assert!(gone.contains(&format!("error: cannot read `{}` to upload it\n", layer)), "{gone}");
    assert!(gone.contains(&name[..name.len() - "/app:1".len()]), "{gone}");
    for record in std::fs::read_dir(kiln.path("state/records/blob")).unwrap() {
        std::fs::remove_file(record.unwrap().path()).unwrap();
    }
    let expected = format!(
        "error: the layer `{layer}` of {} ({FOREIGN}) in `list` is neither here nor in a registry that is known to have it\n  \
         hint: pull or build the image again, or remove it from the list by `kiln manifest remove`\n",
        image.digest
    );
    assert_eq!(failed(&kiln, &push, 2), expected);
}

#[test]
fn a_list_of_images_that_are_elsewhere_can_be_used() {
    let registry = Registry::start(&Setup::Plain);
    let name = format!("{}/app:1", registry.host);
    let images = push_attested(&registry, "app:1", &[FOREIGN, &host()]);
    push_image(&registry, "foreign:1", FOREIGN, Family::Docker);
    let kiln = Kiln::new();
    said(&kiln, &["manifest", "create", "list", &name]);
    said(&kiln, &["manifest", "create", "foreign", &format!("{}/foreign:1", registry.host)]);
    let shown = said(&kiln, &["images", "--format", "{{.Repository}} {{.Platforms}} {{.Size}}"]);
    let mut lines: Vec<_> = shown.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, [format!("foreign {FOREIGN} 0B"), format!("list {FOREIGN},{} 0B", host())]);
    assert_eq!(said(&kiln, &["inspect", "-f", "{{.Architecture}}", "foreign"]), "s390x\n");
    said(&kiln, &["prune", "--all", "--force"]);
    let du = said(&kiln, &["du"]);
    assert!(du.contains("\nReclaimable:   0B\n") && du.contains("\nat-"), "{du}");
    let layout = kiln.path("layout");
    let copied = kiln.run(&["copy", "-q", "--all", "list", &format!("oci:{}", layout.display())]);
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    for layer in layers(&format!("{}/app@{}", registry.host, images[0].digest)) {
        assert!(layout.join("blobs/sha256").join(layer.hex()).exists());
    }
    // Not only `manifest push` sends all of it.
    let pushed = said(&kiln, &["push", "-q", "list", &format!("{}/other:1", registry.host)]);
    let digest = kiln::digest::Digest::of(said(&kiln, &["manifest", "inspect", "list"]).as_bytes());
    assert_eq!(pushed, format!("{}/other@{digest}\n", registry.host));
    let run = kiln.run(&["run", "list"]);
    assert_eq!((run.code, run.stdout), (Some(0), format!("{}\n", host())), "{}", run.stderr);
    let built = kiln.build("FROM list\nENV A=b\n", &["-t", "built"]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    assert_eq!(said(&kiln, &["rmi", "list"]), "Untagged: list:latest\n");
    said(&kiln, &["manifest", "rm", "foreign"]);
    assert_eq!(said(&kiln, &["images", "--format", "{{.Repository}}"]), "built\n");
}
