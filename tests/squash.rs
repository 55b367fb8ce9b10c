//! The example of the lecture notes: packages installed and removed by a RUN each, and what squashing saves of it.
//!
//! A Debian with apt is made by mmdebstrap; the packages are made here and lie in the image's own repository, so that
//! nothing is downloaded by a build.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln::digest::Digest;
use serde_json::Value;
use support::{Kiln, debian, printed};

/// What the notes do, step by step.
const STEPS: [&str; 5] = [
    "apt-get update",
    "apt-get install -y --no-install-recommends compiler tool",
    "apt-get remove -y compiler",
    "apt-get clean",
    "rm -rf /var/lib/apt/lists/*",
];

/// Bytes that no compression makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let blocks =
        (0..size.div_ceil(32) as u64).flat_map(|n| *Digest::of(&n.to_le_bytes()).as_bytes());
    blocks.take(size).collect()
}

/// Makes a package with one file and enters it into the repository's index.
fn package(repository: &Path, name: &str, size: usize, index: &mut String) {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join(format!("usr/lib/{name}/data"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, noise(size)).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n\
         Description: {name} of the lecture notes\n"
    );
    fs::create_dir(root.path().join("DEBIAN")).unwrap();
    fs::write(root.path().join("DEBIAN/control"), &control).unwrap();
    let archive = format!("{name}_1_all.deb");
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "--build"]).arg(root.path()).arg(repository.join(&archive));
    printed("dpkg", &mut command);
    let bytes = fs::read(repository.join(&archive)).unwrap();
    let sum = Digest::of(&bytes).hex();
    *index += &format!("{control}Filename: ./{archive}\nSize: {}\nSHA256: {sum}\n\n", bytes.len());
}

/// Builds with these steps, and returns the layers as `kiln layers` tells them.
fn build(kiln: &Kiln, name: &str, steps: &str) -> Value {
    let ended = kiln.build(&format!("FROM local/apt\n{steps}"), &["--tag", name]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    layers(kiln, name)
}

fn layers(kiln: &Kiln, name: &str) -> Value {
    let ended = kiln.run(&["layers", "--format", "json", name]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The size of each layer above the base.
fn sizes(layers: &Value) -> Vec<u64> {
    let layers = layers["Layers"].as_array().unwrap();
    layers[2..].iter().map(|layer| layer["Size"].as_u64().unwrap()).collect()
}

#[test]
fn the_unoptimised_example_is_squashed_to_the_size_of_the_optimised_one() {
    let kiln = Kiln::new();
    let rootfs = debian::rootfs("apt", |_| Vec::new());
    fs::copy(rootfs.join("rootfs.tar.xz"), kiln.context().join("rootfs.tar.xz")).unwrap();
    let repository = kiln.context().join("repo");
    fs::create_dir(&repository).unwrap();
    let mut index = String::new();
    package(&repository, "compiler", 3_000_000, &mut index);
    package(&repository, "tool", 200_000, &mut index);
    kiln.file("repo/Packages", &index);
    // Copied, as packages from afar are, so that there is something to clean.
    kiln.file("local.list", "deb [trusted=yes] copy:/repo ./\n");
    kiln.file(
        "base",
        "FROM scratch\nADD rootfs.tar.xz /\nADD [\"repo\", \"/repo/\"]\nRUN rm -rf /etc/apt/sources.list \
         /etc/apt/sources.list.d/* /var/lib/apt/lists/* && mkdir -p /usr/lib/tool\n\
         COPY local.list /etc/apt/sources.list.d/\n",
    );
    // One layer for what is installed, so that the base is two: the root file system and the rest.
    let ended =
        kiln.run(&["build", "--progress", "plain", "--file", "base", "-t", "local/parts", "."]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = kiln.run(&["squash", "local/parts", "--from", "1", "-t", "local/apt"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let each = STEPS.map(|step| format!("RUN {step}\n")).concat();
    let unoptimised = build(&kiln, "local/unoptimised", &each);
    let optimised = build(&kiln, "local/optimised", &format!("RUN {}\n", STEPS.join(" && ")));
    let ended =
        kiln.run(&["squash", "local/unoptimised", "--from", "local/apt", "-t", "local/squashed"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let squashed = layers(&kiln, "local/squashed");

    assert_eq!(sizes(&unoptimised).len(), STEPS.len());
    assert_eq!(sizes(&squashed), sizes(&optimised), "to the byte");
    // The package as installed and as fetched.
    assert!(unoptimised["Wasted"]["Bytes"].as_u64().unwrap() > 6_000_000, "{unoptimised}");
    assert_eq!(squashed["Wasted"], optimised["Wasted"]);
    let base = |layers: &Value| layers["Layers"].as_array().unwrap()[..2].to_vec();
    let digests =
        |layers: &Value| base(layers).iter().map(|it| it["Digest"].clone()).collect::<Vec<_>>();
    assert_eq!(digests(&squashed), digests(&unoptimised));

    let diff = |old: &str, new: &str| {
        let ended = kiln.run(&["diff", "--files", "--format", "json", old, new]);
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        let line = |it: &Value| format!("{} {} {}", it["Change"], it["Path"], it["Aspects"]);
        found["Files"].as_array().unwrap().iter().map(line).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    assert_eq!(diff("local/unoptimised", "local/squashed"), none);
    // Logs say when something was done; nothing else differs.
    let logs = ["/var/log/apt/history.log", "/var/log/apt/term.log", "/var/log/dpkg.log"];
    let logs = logs.map(|path| format!("\"C\" \"{path}\" [\"content\"]"));
    let found = diff("local/optimised", "local/squashed");
    assert!(found.iter().all(|line| logs.contains(line)), "{found:#?}");
    let ended = kiln.run(&["run", "local/squashed", "cat", "/usr/lib/tool/data"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = kiln.run(&["run", "local/squashed", "ls", "/usr/lib/compiler"]);
    assert_eq!(ended.code, Some(2), "{}", ended.stdout);
}
