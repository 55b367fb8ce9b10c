//! Each check over its seeds in `testdata/fuzz`, whole and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use super::checks::{Check, TARGETS};
use super::mutate::mutate;
use super::rng::Rng;

/// How many damaged inputs each target gets.
const DAMAGED: usize = 1500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Calls a check; where it panics, says with which bytes.
fn call(name: &str, check: Check, data: &[u8]) {
    if std::panic::catch_unwind(|| check(data)).is_err() {
        panic!("{name} with \"{}\"", data.escape_ascii());
    }
}

/// Runs a check over every seed and over damaged ones in turn.
fn run(name: &str, check: Check) {
    let files = files(&root().join("testdata/fuzz").join(name));
    assert!(!files.is_empty(), "{name} has no seeds");
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, seed) in files.iter().zip(&seeds) {
        assert!(seed.len() <= 16 << 10, "{} is long for a seed", file.display());
        call(name, check, seed);
    }
    let mut rng = Rng::new(13);
    for seed in seeds.iter().cycle().take(DAMAGED) {
        call(name, check, &mutate(seed, &mut rng));
    }
}

fn run_named(name: &str) {
    let (_, check) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    run(name, *check);
}

#[test]
fn archive() {
    run_named("archive");
}

#[test]
fn configuration() {
    run_named("configuration");
}

#[test]
fn document() {
    run_named("document");
}

#[test]
fn dockerfile() {
    run_named("dockerfile");
}

#[test]
fn ignore() {
    run_named("ignore");
}

#[test]
fn reference() {
    run_named("reference");
}

#[test]
fn unpack() {
    run_named("unpack");
}

#[test]
fn word() {
    run_named("word");
}

/// A target that nothing builds, or seeds that nothing reads, would be worth nothing.
#[test]
fn targets_sources_and_seeds_are_the_same() {
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let stems = |dir: &str| -> Vec<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        files(&root().join(dir)).into_iter().map(stem).collect()
    };
    assert_eq!(stems("fuzz/fuzz_targets"), names);
    let with_seeds = stems("testdata/fuzz").into_iter().filter(|name| name != "README");
    assert_eq!(with_seeds.collect::<Vec<_>>(), names);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not built");
    }
}
