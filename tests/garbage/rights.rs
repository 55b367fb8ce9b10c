//! As an ordinary user: files of steps may belong to ids that only a namespace has.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::users::User;
use crate::support::{BASE, ended};

/// Builds, looks and prunes as this user.
fn in_turn(user: &User, owners: &str) {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    for folder in [home.to_owned(), home.join("context")] {
        std::fs::create_dir_all(&folder).unwrap();
        chown(&folder, Some(user.uid), Some(user.gid)).unwrap();
    }
    std::fs::copy(env!("CARGO_BIN_EXE_kiln"), home.join("kiln")).unwrap();
    std::fs::copy("/bin/busybox", home.join("context/busybox")).unwrap();
    let text = format!(
        "{BASE}RUN --mount=type=cache,target=/c mkdir -p /d/e /c/e && echo f > /d/e/f && {owners} && chmod 0 /d/e /c/e\n"
    );
    std::fs::write(home.join("context/Dockerfile"), text).unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(home.join("kiln"));
        command.args(["--root", "state"]).args(args).current_dir(home);
        command.env("HOME", home).env_remove("KILN_ROOT").uid(user.uid).gid(user.gid);
        let ended = ended(command.output().unwrap());
        assert_eq!(ended.code, Some(0), "as {}: {}", user.name, ended.stderr);
        ended.stdout
    };
    run(&["build", "--quiet", "context"]);
    run(&["settle"]);
    let checked = run(&["check-store", "--progress", "quiet"]);
    assert!(checked.ends_with(" read: all is well\n"), "as {}: {checked}", user.name);
    let sizes = run(&["du", "--format", "json"]);
    let size = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["Size"].as_u64().unwrap()
    };
    let before = super::du(&home.join("state"));
    assert_eq!(sizes.lines().map(size).sum::<u64>(), before);
    let answer = run(&["prune", "--all", "--force", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let after = super::du(&home.join("state"));
    assert_eq!(answer["SpaceReclaimed"].as_u64(), Some(before - after));
    let left = ["snapshots", "mounts", "blobs/sha256", "tmp"]
        .map(|name| std::fs::read_dir(home.join("state").join(name)).unwrap().count());
    assert_eq!(left, [0; 4]);
}

#[test]
fn with_and_without_a_range_of_ids() {
    in_turn(&User::new("many").with_range(), "chown -R 7:8 /d /c/e");
    in_turn(&User::new("one"), "true");
}
