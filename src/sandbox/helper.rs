//! Programs that give a network namespace a way out: pasta and slirp4netns.

use std::path::PathBuf;

use super::userns::find_program;

/// Returns the programs of this machine that do it, the preferred one first, by name.
pub fn network_helpers() -> Vec<(&'static str, PathBuf)> {
    let names = ["pasta", "slirp4netns"];
    names.into_iter().filter_map(|name| Some((name, find_program(name)?))).collect()
}
