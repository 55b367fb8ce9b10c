//! Removing what nobody needs: by people, by a limit, and beside builds.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod beside;
mod cap;
mod chosen;
mod compressed;
mod rights;
mod sizes;

use std::path::Path;

use support::{Ended, Kiln, tool};

/// What the file system says of a directory, in bytes.
fn du(path: &Path) -> u64 {
    let printed = tool("coreutils", "du", &["-s", "-B1", path.to_str().unwrap()]);
    printed.split_whitespace().next().unwrap().parse().unwrap()
}

fn ok(ended: Ended) -> Ended {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

/// What `kiln du --format json` lists.
fn listed(kiln: &Kiln, args: &[&str]) -> Vec<serde_json::Value> {
    let ended = ok(kiln.run(&[&["du", "--format", "json"], args].concat()));
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The sum of its sizes.
fn total(kiln: &Kiln) -> u64 {
    listed(kiln, &[]).iter().map(|item| item["Size"].as_u64().unwrap()).sum()
}

/// Prunes, and returns what was removed and how much came back.
fn prune(kiln: &Kiln, args: &[&str]) -> (Vec<serde_json::Value>, u64) {
    let ended = ok(kiln.run(&[&["prune", "--force", "--format", "json"], args].concat()));
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    (answer["Deleted"].as_array().unwrap().clone(), answer["SpaceReclaimed"].as_u64().unwrap())
}

/// Waits until nobody but kiln's users touches the state root: what flushes it writes a mark.
fn settled(kiln: &Kiln) {
    ok(kiln.run(&["settle"]));
}
