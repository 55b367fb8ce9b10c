//! One Dockerfile built as root, as a user with a range of subordinate ids and as a user without: one image.
//!
//! CI is root, so the test makes its users itself: system accounts `kiln-<process id>-range` and `kiln-<process id>-single`
//! with no home and no shell. They, and what useradd writes to /etc/subuid and /etc/subgid for the first, are removed
//! again when the test ends, however it ends.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use support::tool;
use support::users::User;
use support::{BASE, Ended, ended};

/// What is built. The steps change modes, links and what lies below, and give nothing to another user: with a single
/// id there is none.
const STEPS: &str = "COPY --chmod=4750 tool /bin/tool\n\
    COPY tree /tree\n\
    COPY --chmod=u=rwX,go=rX tree /shared\n\
    WORKDIR /work\n\
    RUN umask 027 && mkdir -p d/sub && echo one > d/one && ln d/one d/two && ln d/one d/sub/three && ln -s ../one d/sub/link \
        && mkfifo d/pipe && chmod 1777 d/sub && chmod 2711 d\n\
    RUN rm /tree/gone && rm -r /tree/dir && mkdir /tree/dir && echo new > /tree/dir/new\n\
    RUN echo more >> /tree/kept && chmod 600 /tree/script && ln /tree/script /tree/again && mv /shared /moved\n\
    RUN tail -n 1 /proc/self/uid_map && id -u && id -g && test \"$(stat -c %u:%g /work/d/one /tree/kept /bin/tool | sort -u)\" = 0:0\n\
    FROM scratch\n\
    COPY --from=0 / /\n\
    COPY --from=0 --chmod=711 /work/d /picked\n\
    USER 7:8\n";

/// A context whose files belong to the user who builds.
fn make_context(context: &Path, (uid, gid): (u32, u32)) {
    for directory in ["", "tree", "tree/dir"] {
        fs::create_dir(context.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", context.join("busybox")).expect("apt-get install busybox-static");
    let files = [
        ("Dockerfile", format!("{BASE}{STEPS}"), 0o600),
        ("tool", "tool".into(), 0o755),
        ("tree/gone", "gone".into(), 0o644),
        ("tree/kept", "kept\n".into(), 0o640),
        ("tree/script", "script".into(), 0o4755),
        ("tree/dir/old", "old".into(), 0o400),
    ];
    for (name, content, mode) in files {
        let path = context.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::symlink("kept", context.join("tree/link")).unwrap();
    for entry in walkdir::WalkDir::new(context) {
        std::os::unix::fs::lchown(entry.unwrap().path(), Some(uid), Some(gid)).unwrap();
    }
}

/// Builds as this user and group (0: root), and returns the report and the lines of the layers' listings.
fn build(owner: (u32, u32)) -> (Ended, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    // Neither the program nor the state root may lie where only root can look.
    let kiln = home.join("kiln");
    fs::copy(env!("CARGO_BIN_EXE_kiln"), &kiln).unwrap();
    chown(home, Some(owner.0), Some(owner.1)).unwrap();
    make_context(&home.join("context"), owner);
    let mut command = Command::new(kiln);
    command.args(["--root", "state", "build", "--progress", "plain"]);
    command.args(["--build-arg", "SOURCE_DATE_EPOCH=1000000000"]);
    command.args(["--output", "type=oci,tar=false,dest=layout,rewrite-timestamp=true", "context"]);
    command.current_dir(home).env("HOME", home).env_remove("KILN_ROOT");
    if owner.0 != 0 {
        // This also gives up root's further groups.
        command.uid(owner.0).gid(owner.1);
    }
    let ended = ended(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "as user {owner:?}: {}", ended.stderr);
    let listing = list(&home.join("layout"));
    std::fs::remove_dir_all(home).unwrap();
    (ended, listing)
}

/// Every entry of every layer, in order, and last the digest of the manifest.
fn list(layout: &Path) -> Vec<String> {
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
    };
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&index["manifests"][0]));
    let layers = manifest["layers"].as_array().unwrap().iter().flat_map(|layer| {
        let path = blob(layer);
        let flags = ["--list", "--verbose", "--gzip", "--numeric-owner", "--full-time", "--file"];
        let listed = tool("tar", "tar", &[&flags[..], &[path.to_str().unwrap()]].concat());
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    layers.chain([digest]).collect()
}

/// How many ids the last line of the map has that a step saw.
fn last_mapped(build: &Ended) -> &str {
    let lines = build.stderr.lines().filter(|line| !line.contains("RUN"));
    let mut words = lines.map(|line| line.split_whitespace().rev().take(3).collect::<Vec<_>>());
    let is_map = |words: &Vec<&str>| {
        words.len() == 3 && words.iter().all(|word| word.parse::<u32>().is_ok())
    };
    words.find(is_map).expect("a step shows its map")[0]
}

#[test]
fn one_image_at_every_level_of_rights() {
    let range = User::new("range").with_range();
    let single = User::new("single");
    let (as_root, expected) = build((0, 0));
    assert_eq!(last_mapped(&as_root), "4294967295");
    let listed = |line: &str| expected.iter().any(|entry| entry.contains(line));
    assert!(listed("work/d/two link to work/d/one") && listed("-rwsr-x--- 0/0"), "{expected:#?}");
    for (user, ids) in [(&range, "65536"), (&single, "1")] {
        let (ended, listing) = build((user.uid, user.gid));
        assert_eq!(listing, expected, "as {}: {}", user.name, ended.stderr);
        assert_eq!(last_mapped(&ended), ids, "{}", ended.stderr);
    }
}
