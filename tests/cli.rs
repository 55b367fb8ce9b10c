//! The program as it is started by people and scripts: exact text and exit codes of what needs no build.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs kiln in `folder` with nothing in its environment but a home.
fn kiln(folder: &Path, words: &[&str], stdin: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without having read everything.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    told(&child.wait_with_output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn fails(words: &[&str], stdin: &[u8], code: i32, message: &str) {
    let (actual, stdout, stderr) = kiln(folder().path(), words, stdin);
    assert_eq!((actual, stdout.as_str(), stderr.as_str()), (code, "", message), "{words:?}");
}

#[test]
fn help_lists_commands_and_flags() {
    let (code, stdout, stderr) = kiln(folder().path(), &["--help"], b"");
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("\n  build ") && stdout.contains("--root <DIR>"), "{stdout}");
    let (code, stdout, _) = kiln(folder().path(), &["build", "--help"], b"");
    assert_eq!(code, 0);
    let flags = [
        "--file",
        "--target",
        "--build-arg",
        "--build-context",
        "--platform",
        "--secret",
        "--ssh",
        "--tag",
        "--output",
        "--load",
        "--label",
        "--squash",
        "--squash-all",
        "--iidfile",
        "--metadata-file",
        "--no-cache",
        "--no-cache-filter",
        "--pull",
        "--jobs",
        "--network",
        "--add-host",
        "--shm-size",
        "--ulimit",
        "--progress",
        "--quiet",
        "--root",
        "--force-rm",
        "--push",
    ];
    for flag in flags {
        assert!(stdout.contains(flag), "{flag}");
    }
    assert!(!stdout.contains("sandbox-init"));
}

#[test]
fn version() {
    let expected = format!("kiln {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(kiln(folder().path(), &["--version"], b""), (0, expected, String::new()));
}

#[test]
fn usage_errors_are_the_users() {
    for words in
        [&["build", "--nonsense", "."][..], &["nonsense"], &["build"], &["build", ".", "."], &[]]
    {
        let (code, stdout, stderr) = kiln(folder().path(), words, b"");
        assert_eq!((code, stdout.as_str()), (2, ""), "{words:?}");
        assert!(!stderr.is_empty());
    }
    let (_, _, stderr) = kiln(folder().path(), &["build", "--taget=x", "."], b"");
    assert!(stderr.starts_with("error: unexpected argument '--taget' found\n"), "{stderr}");
    assert!(stderr.contains("'--target'"), "{stderr}");
}

#[test]
fn a_missing_context() {
    let message = "\
error: the build context `nowhere` does not exist
  hint: the context is a directory, a tar archive, or `-` for standard input
";
    fails(&["build", "nowhere"], b"", 2, message);
}

#[test]
fn a_context_without_a_dockerfile() {
    let message = "\
error: there is no Dockerfile in `.`
  hint: give its path with `-f`; tried Dockerfile, dockerfile, Containerfile
";
    fails(&["build", "."], b"", 2, message);
}

#[test]
fn everything_from_standard_input() {
    let message = "\
error: the context and the Dockerfile cannot both come from standard input
  hint: give a directory as context, or drop `-f -`
";
    fails(&["build", "-f", "-", "-"], b"FROM scratch", 2, message);
}

#[test]
fn a_remote_context() {
    let message = "\
error: a context from a URL is not supported yet: `https://example.org/x.git#main`
  hint: clone or download it and give the directory or the archive
";
    fails(&["build", "https://example.org/x.git#main"], b"", 2, message);
}

#[test]
fn flags_that_are_not_supported_yet() {
    let message = "\
error: `--cache-from` is not supported yet
  hint: the cache of the state root is always used; keep that directory between builds

error: `--policy` is not supported yet
";
    let words = ["build", "--policy", "x", "--cache-from", "type=gha", "--rm", "-"];
    fails(&words, b"FROM scratch", 2, message);
}

#[test]
fn a_check_builds_nothing() {
    let found = "\
warning: StageNameCasing: Stage name 'Foo' should be lowercase
 --> Dockerfile:1:1
  |
1 | FROM scratch AS Foo
  | ^^^^^^^^^^^^^^^^^^^
  Stage names should be lowercase
  see https://docs.docker.com/go/dockerfile/rule/stage-name-casing/

Check complete, 1 warning has been found!
";
    for flag in ["--check", "--call=check"] {
        let folder = folder();
        std::fs::write(folder.path().join("Dockerfile"), "FROM scratch AS Foo\nCOPY nope /\n")
            .unwrap();
        let ended = kiln(folder.path(), &["build", flag, "."], b"");
        assert_eq!(ended, (1, found.to_owned(), String::new()));
        std::fs::write(folder.path().join("Dockerfile"), "FROM scratch AS foo\nCOPY nope /\n")
            .unwrap();
        let ended = kiln(folder.path(), &["build", flag, "."], b"");
        let clean = "Check complete, no warnings found.\n";
        assert_eq!(ended, (0, clean.to_owned(), String::new()));
    }
}

#[test]
fn quiet_and_progress() {
    let message = "error: `--quiet` and `--progress` exclude each other\n";
    fails(&["build", "-q", "--progress=plain", "-"], b"FROM scratch", 2, message);
}

#[test]
fn a_broken_output() {
    let message = "\
error: unknown output type `ocl`
  hint: the types are registry, oci, docker, local, tar and image
";
    fails(&["build", "-o", "type=ocl,dest=x", "-"], b"FROM scratch", 2, message);
}

#[test]
fn a_failed_build_leaves_no_old_image_id() {
    let folder = folder();
    std::fs::write(folder.path().join("id"), "sha256:old").unwrap();
    let words = ["build", "--iidfile", "id", "-"];
    let (code, stdout, _) = kiln(folder.path(), &words, b"NONSENSE");
    assert_ne!(code, 0);
    assert_eq!(stdout, "");
    assert!(!folder.path().join("id").exists());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kiln"))
        .args(["build", "--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(told(&child.wait_with_output().unwrap()), (0, String::new(), String::new()));
}
