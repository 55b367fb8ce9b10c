//! Images on their way: from kiln to registries and archives, through skopeo, podman, docker, umoci and buildah, and
//! back; and what comes back damaged or hostile.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod archives;
mod artifacts;
mod copies;
#[path = "../registry/fake.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod fake;
mod hostile;
mod names;
mod registries;
mod roots;
#[path = "../registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod users;
mod wrong;

use std::path::Path;

use support::podman::Podman;
use support::{BASE, Ended, Kiln, ended};

/// What is built: modes, owners and links, and a command that shows that all of it is there.
const TREE: &str = "RUN mkdir -p /srv/x /tmp && chmod 1777 /tmp && echo hello > /srv/x/hello && ln /srv/x/hello /srv/x/hard \
                    && ln -s hello /srv/x/soft && chown 7:8 /srv/x/hard && chmod 4750 /srv/x/hard\n\
                    RUN rm /bin/ar && mkfifo /srv/pipe\n\
                    ENV GREETING=moin\nLABEL of=trips\n\
                    CMD [\"/bin/sh\", \"-c\", \"cat /srv/x/soft && echo $GREETING\"]\n";

/// What it says when it is run.
const SAID: &str = "hello\nmoin\n";

/// A store with that image as `app`.
fn built() -> Kiln {
    let kiln = Kiln::new();
    let ended = kiln.build(&format!("{BASE}{TREE}"), &["-t", "app"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    kiln
}

/// A store with an index of three small images as `multi`.
fn built_for_several() -> Kiln {
    let kiln = Kiln::new();
    kiln.file("what", "the same for all\n");
    let flags = ["--platform", "linux/amd64,linux/arm64,linux/arm/v7", "-t", "multi"];
    let ended = kiln.build("FROM scratch\nARG TARGETARCH\nCOPY what /of-$TARGETARCH\n", &flags);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    kiln
}

/// Runs kiln with nothing of this machine's configuration, and a home that is the test's own.
fn run(kiln: &Kiln, args: &[&str]) -> Ended {
    ended(clean(kiln, args).output().unwrap())
}

fn clean(kiln: &Kiln, args: &[&str]) -> std::process::Command {
    let mut command = kiln.command(args);
    kiln.isolate(&mut command);
    command
}

/// Runs kiln, whose success is expected, and returns its answer.
fn done(kiln: &Kiln, args: &[&str]) -> String {
    let ended = run(kiln, args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
    ended.stdout
}

/// Runs kiln, which is expected to end with this code, and returns its report.
fn fails(kiln: &Kiln, code: i32, args: &[&str]) -> String {
    let ended = run(kiln, args);
    assert_eq!(ended.code, Some(code), "{args:?}: {}{}", ended.stdout, ended.stderr);
    ended.error()
}

/// The whole id of an image.
fn id(kiln: &Kiln, name: &str) -> String {
    done(kiln, &["images", "--quiet", "--no-trunc", name]).trim().to_owned()
}

/// All images of a store, and what their names mean.
fn everything(kiln: &Kiln) -> String {
    done(kiln, &["images", "-a", "--format", "{{.ID}} {{.Repository}}:{{.Tag}} {{.Digest}}"])
}

/// The digest of what a name means.
fn digest(kiln: &Kiln, name: &str) -> String {
    done(kiln, &["images", "--format", "{{.Digest}}", name]).trim().to_owned()
}

/// Tests' path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Podman's `run` as it works without CAP_SYS_RESOURCE.
fn podman_runs(podman: &Podman, image: &str) -> String {
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let words = [&["--runtime", "runc", "run", "--rm", "--network=none"], &limits[..], &[image]];
    podman.run(&words.concat())
}

/// Runs skopeo, whose success is expected, and returns what it prints.
fn skopeo(args: &[&str]) -> String {
    support::tool("skopeo", "skopeo", &[&["--insecure-policy"], args].concat())
}
