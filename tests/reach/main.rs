//! How registries are reached: mirrors, short names, credentials, certificates and proxies, as the files and variables
//! of docker and podman say, against real registries and with the real tools.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "../registry/fake.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod fake;
mod logins;
mod mirrors;
mod proxy;
#[path = "../registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod trust;

use std::path::Path;

use server::tool;
use support::{BASE, Ended, Kiln};

/// Builds busybox by itself and copies it to a registry, by skopeo.
fn push_base(name: &str, further: &[&str]) {
    let kiln = Kiln::new();
    let layout = kiln.path("pushed");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let ended = kiln.build(BASE, &["--output", &output]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let (from, to) = (format!("oci:{}", layout.display()), format!("docker://{name}"));
    let mut arguments = vec!["--insecure-policy", "copy", "--dest-tls-verify=false"];
    arguments.extend(further);
    arguments.extend([from.as_str(), to.as_str()]);
    tool("skopeo", "skopeo", &arguments);
}

/// Builds on a base, with these variables and with a home of its own.
fn build_on(kiln: &Kiln, base: &str, flags: &[&str], variables: &[(&str, &Path)]) -> Ended {
    kiln.file("Dockerfile", &format!("FROM {base}\nRUN echo hello\n"));
    let words = [&["build", "--progress", "plain", "-t", "built"], flags, &["."]].concat();
    with(kiln, &words, variables)
}

fn with(kiln: &Kiln, words: &[&str], variables: &[(&str, &Path)]) -> Ended {
    let mut command = kiln.command(words);
    kiln.isolate(&mut command);
    command.envs(variables.iter().copied());
    support::ended(command.output().unwrap())
}

/// A port on which nobody listens.
fn dead() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
