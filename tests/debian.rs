//! A C project on Debian, as people build it: packages, a compiler, stages; read and run by everybody else's programs.
//!
//! The root file system is that of [`support::debian`].

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::docker::Docker;
use support::{Ended, Kiln, printed, tool};

/// The project: two programs from several sources, one of them built with the mathematics library as a shared one.
const FILES: [(&str, &str); 6] = [
    ("Makefile", include_str!("debian/Makefile")),
    ("src/greet.h", include_str!("debian/greet.h")),
    ("src/main.c", include_str!("debian/main.c")),
    ("src/hypotenuse.c", include_str!("debian/hypotenuse.c")),
    ("src/word.c", include_str!("debian/word.c")),
    ("Dockerfile", include_str!("debian/Dockerfile")),
];

/// What the root file system has besides the essential packages.
const PACKAGES: &str = "gcc,libc6-dev,passwd";

/// What they print.
const SAYS: &str = "Hello, world! The hypotenuse of 3 and 4 is 5.0.\n";

/// A folder with Debian's essential packages and a C compiler as `rootfs.tar.xz`, and with the package of `make`.
fn debian() -> PathBuf {
    support::debian::rootfs(PACKAGES, |at| {
        let download = "APT_CONFIG=\"$MMDEBSTRAP_APT_CONFIG\" apt-get --quiet download make";
        vec![format!("--customize-hook=cd '{at}' && {download} && mv make_*.deb make.deb")]
    })
}

fn build(kiln: &Kiln, file: &str, args: &[&str]) -> Ended {
    let all = [&["build", "--progress", "plain", "--file", file][..], args, &["."]].concat();
    let ended = kiln.run(&all);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// Runs an image with kiln and returns what it prints.
fn run(kiln: &Kiln, args: &[&str]) -> String {
    let ended = kiln.run(&[&["run"][..], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stdout
}

/// Unpacks the image with umoci and runs its process with runc.
fn run_by_runc(kiln: &Kiln) -> String {
    let [bundle, state] = ["bundle", "runc"].map(|name| kiln.path(name));
    let image = format!("{}:1", kiln.path("layout").display());
    tool("umoci", "umoci", &["unpack", "--image", &image, bundle.to_str().unwrap()]);
    let config = bundle.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    fs::write(config, spec.to_string()).unwrap();
    let name = format!("kiln-{}", std::process::id());
    let mut command = Command::new("runc");
    command.arg("--root").arg(state).args(["run", "--bundle"]).arg(bundle).arg(name);
    printed("runc", &mut command)
}

#[test]
fn a_c_project_is_built_shipped_and_run() {
    let kiln = Kiln::new();
    for (name, content) in FILES {
        kiln.file(name, content);
    }
    for name in ["rootfs.tar.xz", "make.deb"] {
        fs::copy(debian().join(name), kiln.context().join(name)).unwrap();
    }
    kiln.file("base", "FROM scratch\nADD rootfs.tar.xz /\nCMD [\"sh\"]\n");
    build(&kiln, "base", &["--tag", "local/debian"]);

    let [layout, archive] = ["layout", "app.tar"].map(|name| kiln.path(name).display().to_string());
    let outputs = [
        format!("--output=type=oci,tar=false,dest={layout}"),
        format!("--output=type=docker,dest={archive}"),
        "--output=type=image".to_owned(),
    ];
    let args = ["--tag", "local/greet:1", &outputs[0], &outputs[1], &outputs[2]];
    let first = build(&kiln, "Dockerfile", &args);
    let again = build(&kiln, "Dockerfile", &args);
    assert_eq!(again.stdout, first.stdout);
    // Below the two layers that ship nothing is looked at.
    assert_eq!((first.cached(), again.cached()), (0, 2), "{}", again.stderr);
    kiln.file("src/unused.c", "int unused;\n");
    let changed = build(&kiln, "Dockerfile", &args);
    // Three steps run and make the same programs, so what ships is found.
    assert_eq!((changed.cached(), &changed.stdout), (7, &first.stdout), "{}", changed.stderr);

    assert_eq!(run(&kiln, &["local/greet:1"]), SAYS);
    assert_eq!(run(&kiln, &["local/greet:1", "C"]), SAYS.replace("world", "C"));
    let said = run(&kiln, &["--entrypoint", "/bin/greet-static", "local/greet:1"]);
    assert_eq!(said, SAYS.replace("world", "nobody"));

    let manifest = tool("skopeo", "skopeo", &["inspect", "--raw", &format!("oci:{layout}:1")]);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["config"]["digest"], first.stdout.trim());
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    assert_eq!(run_by_runc(&kiln), SAYS);
    let docker = Docker::start();
    docker.load(Path::new(&archive), "local/greet:1");
    assert_eq!(docker.run(&["run", "--rm", "--network=none", "local/greet:1"]), SAYS);
}
