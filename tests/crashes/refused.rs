//! A machine that refuses: reads that fail, file systems that cannot be written to, limits. The error says what and
//! where, and what to try; afterwards the store is sound and the same command works.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::prepared::{Prepared, copy};
use crate::support::{Ended, ended, tool};

/// Something mounted, as long as this value.
struct Mounted(PathBuf);

impl Mounted {
    fn new(args: &[&str], at: &Path) -> Self {
        tool("mount", "mount", &[args, &[at.to_str().unwrap()]].concat());
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What settles the store may still have a file open.
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

fn assert_refused(ended: &Ended, cause: &str, hint: &str, why: &str) {
    let error = ended.error();
    assert_eq!(ended.code, Some(3), "{why}: {}", ended.stderr);
    assert!(error.contains(cause), "{why}: {error}");
    assert!(error.contains(&format!("\n  hint: {hint}")), "{why}: {error}");
}

/// A build under limits of the shell.
fn limited(store: &Prepared, limit: &str) -> Ended {
    let build = store.command(&["build", "--progress", "plain", "-t", "app", "."]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$@\""), "sh"]);
    command.arg(build.get_program()).args(build.get_args());
    command.current_dir(store.kiln.context()).env("SOURCE_DATE_EPOCH", "100");
    ended(command.output().unwrap())
}

#[test]
fn few_files_may_be_open() {
    let store = Prepared::new();
    let mut refused = 0;
    for limit in (8..).step_by(4) {
        drop(std::fs::remove_dir_all(store.state()));
        let ended = limited(&store, &format!("ulimit -n {limit}"));
        if ended.code == Some(0) {
            break;
        }
        let hint = "raise the limit of open files: `ulimit -n`";
        assert_refused(&ended, "Too many open files", hint, &format!("with {limit}"));
        store.assert_builds(&format!("after {limit}"));
        refused += 1;
    }
    assert!(refused > 0);
}

#[test]
fn files_may_not_be_large() {
    let store = Prepared::new();
    for blocks in [0, 1, 8, 1000] {
        drop(std::fs::remove_dir_all(store.state()));
        let ended = limited(&store, &format!("ulimit -f {blocks}"));
        let hint = "files may not be as large as that here: see `ulimit -f`";
        assert_refused(&ended, "File too large", hint, &format!("with {blocks}"));
        store.assert_builds(&format!("after {blocks}"));
    }
}

#[test]
fn the_store_can_only_be_read() {
    let store = Prepared::new();
    drop(std::fs::remove_dir_all(store.state()));
    std::fs::create_dir(store.state()).unwrap();
    let disk = Mounted::new(&["-t", "tmpfs", "tmpfs"], &store.state());
    let from = format!("{}/.", store.kiln.path("pristine").display());
    tool("coreutils", "cp", &["--archive", &from, disk.0.to_str().unwrap()]);
    let remount = |how| tool("mount", "mount", &["-o", how, disk.0.to_str().unwrap()]);
    remount("remount,ro");
    for args in [
        &["build", "."][..],
        &["tag", "app", "other"],
        &["rmi", "app"],
        &["run", "app", "true"],
        &["images"],
        &["du"],
        &["prune", "--force"],
        &["check-store"],
        &["check-store", "--dry-run"],
    ] {
        let hint = "the file system can only be read: name another place";
        assert_refused(&store.kiln.run(args), "Read-only file system", hint, args[0]);
    }
    remount("remount,rw");
    store.assert_builds("once it can be written to");
}

#[test]
fn reads_fail() {
    let store = Prepared::new();
    // What a process has at its address 0 cannot be read by anybody: so reading fails as on a broken disk.
    let broken = format!("/proc/{}/mem", std::process::id());
    let tar =
        std::fs::read_to_string(store.files(&store.layer("copied")).with_file_name("diff-id"));
    let (key, (record, _)) = store.records("step").pop_first().unwrap();
    let blob = tar.unwrap();
    let name = blob.trim_start_matches("sha256:");
    let layer = store.layer("last");
    let changes = store.files(&layer).with_file_name("changes");
    let cases = [
        (store.blob(&blob), format!("blob {name}: cannot be read")),
        (record, format!("step {key}: cannot be read")),
        (changes, format!("layer {layer}: cannot be read")),
    ];
    for (path, said) in cases {
        let mounted = Mounted::new(&["--bind", &broken], &path);
        let looked = store.check(&["--dry-run"]);
        let line = format!("{said}: input/output error: would be removed");
        assert!(looked.stdout.lines().any(|it| it == line), "{line}: {}", looked.stdout);
        drop(mounted);
        store.assert_sound(&said);
    }
    let mounted = Mounted::new(&["--bind", &broken], &store.blob(&blob));
    let out = store.kiln.path("out.tar").display().to_string();
    let hint = "the disk fails: `kiln check-store` finds what of the store it has damaged";
    let saved = store.kiln.run(&["save", "app", "-o", &out]);
    assert_refused(&saved, "Input/output error", hint, "save");
    drop(mounted);
    assert_eq!(store.kiln.run(&["save", "app", "-o", &out]).code, Some(0));
}

#[test]
fn something_lies_where_a_file_should() {
    let store = Prepared::new();
    for name in ["guard", "tmp", "locks", "snapshots", "blobs", "records/tag"] {
        store.restore();
        let path = store.state().join(name);
        let aside = store.kiln.path("aside");
        std::fs::rename(&path, &aside).unwrap();
        match name {
            "guard" => std::fs::create_dir(&path).unwrap(),
            _ => std::fs::write(&path, "").unwrap(),
        }
        let built = store.build();
        assert_eq!(built.code, Some(3), "{name}: {}", built.stderr);
        assert!(built.error().contains(path.to_str().unwrap()), "{name}: {}", built.error());
        match path.is_dir() {
            true => std::fs::remove_dir(&path).unwrap(),
            false => std::fs::remove_file(&path).unwrap(),
        }
        std::fs::rename(&aside, &path).unwrap();
        store.assert_builds(name);
    }
    copy(&store.kiln.path("pristine"), &store.state());
}
