//! kiln to a registry and from there into podman, docker and skopeo, and back.

use std::fs;

use crate::server::{Registry, Setup};
use crate::support::docker::Docker;
use crate::support::podman::Podman;
use crate::support::{Kiln, ended};
use crate::{SAID, arg, built, clean, digest, done, fails, id, podman_runs, run, skopeo};

/// Pulls into an empty store, and returns the image id; the image must run.
fn pulled(name: &str) -> String {
    let kiln = Kiln::new();
    let pulled = done(&kiln, &["pull", name]).trim().to_owned();
    assert_eq!(pulled, id(&kiln, name));
    assert_eq!(done(&kiln, &["run", name]), SAID);
    pulled
}

#[test]
fn what_is_there_is_not_sent() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), built());
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    let pushed = |to: &str| {
        let ended = run(&kiln, &["push", "app", &name(to)]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        (ended.stdout, ended.stderr.lines().last().unwrap().to_owned())
    };
    let (answer, summary) = pushed("app:1");
    let digest = answer.trim().rsplit('@').next().unwrap();
    assert_eq!(answer, format!("{}@{digest}\n", name("app")));
    assert_eq!(summary, format!("pushed: {}, 5 blobs uploaded", name("app:1")));
    assert_eq!(pushed("app:1").1, format!("up to date: {}", name("app:1")));
    assert_eq!(pushed("app:2").1, format!("pushed: {}, no blob had to be sent", name("app:2")));
    assert_eq!(pushed("x/app").1, format!("pushed: {}, 5 blobs mounted", name("x/app:latest")));
    // What was pulled from one repository is mounted into another as well.
    let other = Kiln::new();
    done(&other, &["pull", &name("app:1")]);
    let ended = run(&other, &["push", &name("app:1"), &name("y/app")]);
    assert!(ended.stderr.ends_with(", 5 blobs mounted\n"), "{}", ended.stderr);
    let again = run(&other, &["pull", &name("app:1")]);
    assert_eq!(
        again.stderr.lines().last().unwrap(),
        format!("up to date: {}@{digest}", name("app:1"))
    );
}

#[test]
fn to_podman_and_back() {
    let (registry, kiln, podman) = (Registry::start(&Setup::Plain), built(), Podman::new());
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    done(&kiln, &["push", "app", &name("app")]);
    let theirs = podman.run(&["pull", "--quiet", "--tls-verify=false", &name("app")]);
    assert_eq!(format!("sha256:{}", theirs.trim()), id(&kiln, "app"));
    assert_eq!(podman_runs(&podman, &name("app")), SAID);
    podman.run(&["tag", &name("app"), &name("back")]);
    podman.run(&["push", "--quiet", "--tls-verify=false", &name("back")]);
    assert_eq!(pulled(&name("back")), id(&kiln, "app"));
    // In docker's formats, and compressed otherwise, it is the same image.
    let flags = ["--tls-verify=false", "--format", "v2s2", "--quiet"];
    podman.run(&[&["push"], &flags[..], &[&name("app"), &name("v2s2")]].concat());
    pulled(&name("v2s2"));
    let flags = ["--tls-verify=false", "--compression-format", "zstd", "--quiet"];
    podman.run(&[&["push"], &flags[..], &[&name("app"), &name("zstd")]].concat());
    assert_eq!(pulled(&name("zstd")), id(&kiln, "app"));
    // A store that has the layers has them as they are pushed here, too.
    done(&kiln, &["pull", &name("zstd")]);
    let pushed = done(&kiln, &["push", &name("zstd"), &name("zstd/again")]);
    assert_eq!(pushed, format!("{}@{}\n", name("zstd/again"), digest(&kiln, &name("zstd"))));
}

#[test]
fn to_docker_and_back() {
    let (registry, kiln, docker) = (Registry::start(&Setup::Plain), built(), Docker::start());
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    let pushed = done(&kiln, &["push", "app", &name("app")]);
    docker.run(&["pull", "--quiet", &name("app")]);
    let inspected =
        |format: &str| docker.run(&["image", "inspect", "--format", format, &name("app")]);
    assert_eq!(inspected("{{index .RepoDigests 0}}"), pushed);
    assert_eq!(docker.run(&["run", "--rm", "--network=none", &name("app")]), SAID);
    docker.run(&["tag", &name("app"), &name("back")]);
    docker.run(&["push", "--quiet", &name("back")]);
    assert_eq!(pulled(&name("back")), id(&kiln, "app"));
    let archive = kiln.path("docker.tar");
    docker.run(&["save", "--output", arg(&archive), &name("app"), &name("back")]);
    let other = Kiln::new();
    let loaded = done(&other, &["load", "-i", arg(&archive)]);
    let line = |rest| format!("Loaded image: {}:latest\n", name(rest));
    let mut lines: Vec<_> = loaded.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.concat(), [line("app"), line("back")].concat().replace('\n', ""));
    assert_eq!(id(&other, &name("back")), id(&kiln, "app"));
    assert_eq!(done(&other, &["run", &name("back")]), SAID);
    // kiln's archives, and one of an image of docker's own making.
    for format in ["docker-archive", "oci-archive"] {
        let archive = kiln.path(format);
        done(&kiln, &["save", "--format", format, "-o", arg(&archive), "app"]);
        if format == "docker-archive" {
            docker.load(&archive, "app:latest");
            assert_eq!(docker.run(&["run", "--rm", "--network=none", "app"]), SAID);
        }
    }
    exported(&kiln, &docker);
}

/// What docker exports of a container is what kiln exports of the image, but for what docker puts into each; kiln makes
/// an image of it.
fn exported(kiln: &Kiln, docker: &Docker) {
    let (ours, theirs) = (kiln.path("ours.tar"), kiln.path("theirs.tar"));
    done(kiln, &["export", "-o", arg(&ours), "app"]);
    docker.run(&["create", "--name", "made", "app"]);
    docker.run(&["export", "--output", arg(&theirs), "made"]);
    assert_eq!(crate::roots::listing(&ours), crate::roots::listing(&theirs));
    let words = ["import", "-c", "CMD [\"cat\", \"/srv/x/soft\"]", arg(&theirs), "imported"];
    let imported = done(kiln, &words);
    assert_eq!(imported.trim(), id(kiln, "imported"));
    assert_eq!(done(kiln, &["run", "imported"]), "hello\n");
    let (listed, again) = (crate::roots::listing(&theirs), kiln.path("again.tar"));
    done(kiln, &["export", "-o", arg(&again), "imported"]);
    assert_eq!(crate::roots::listing(&again), listed);
}

#[test]
fn through_a_registry_with_a_certificate_and_a_password() {
    let registry = Registry::start(&Setup::TlsPassword("me", "secret"));
    let kiln = built();
    let certificates = kiln.path("certificates");
    fs::create_dir(&certificates).unwrap();
    fs::copy(registry.certificate(), certificates.join("ca.crt")).unwrap();
    let (name, trust) = (format!("{}/app:1", registry.host), ["--cert-dir", arg(&certificates)]);

    let error = fails(&kiln, 3, &["push", "app", &name]);
    assert!(error.contains("certificate"), "{error}");
    let error = fails(&kiln, 2, &with(&trust, &["push", "app", &name], &[]));
    assert!(
        error.starts_with(&format!("error: access to `{}/app` denied", registry.host)),
        "{error}"
    );
    let error = fails(&kiln, 2, &with(&trust, &["push", "app", &name], &["--creds", "me:other"]));
    assert!(error.contains("denied") && !error.contains("other"), "{error}");

    done(&kiln, &with(&trust, &["push", "app", &name], &["--creds", "me:secret"]));
    let mut login =
        clean(&kiln, &with(&trust, &["login", "-u", "me", "--password-stdin"], &[&registry.host]));
    let file = kiln.path("password");
    fs::write(&file, "secret\n").unwrap();
    let ended = ended(login.stdin(fs::File::open(&file).unwrap()).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = run(&kiln, &with(&trust, &["push", "app", &name], &[]));
    assert_eq!(ended.stderr.lines().last(), Some(format!("up to date: {name}").as_str()));

    let (creds, back) = ("--creds=me:secret", format!("docker://{}/back", registry.host));
    let their_trust = format!("--cert-dir={}", trust[1]);
    skopeo(&["inspect", &their_trust, creds, &format!("docker://{name}")]);
    let flags = [
        format!("--src-cert-dir={}", trust[1]),
        format!("--dest-cert-dir={}", trust[1]),
        "--src-creds=me:secret".to_owned(),
        "--dest-creds=me:secret".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    skopeo(&[&["copy", "--quiet"], &flags[..], &[&format!("docker://{name}"), &back]].concat());
    let podman = Podman::new();
    podman.run(&["pull", "--quiet", &their_trust, creds, &name]);
    assert_eq!(podman_runs(&podman, &name), SAID);
    let back = &back["docker://".len()..];
    done(&kiln, &with(&trust, &["pull", back], &[]));
    done(&kiln, &with(&trust, &["pull", &name], &[]));
    assert_eq!(digest(&kiln, back), digest(&kiln, &name));
    assert_eq!(id(&kiln, back), id(&kiln, "app"));
}

fn with<'a>(trust: &[&'a str], words: &[&'a str], further: &[&'a str]) -> Vec<&'a str> {
    [words, trust, further].concat()
}
