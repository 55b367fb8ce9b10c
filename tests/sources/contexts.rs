//! Where files come from besides the directory: archives, standard input, further contexts by name.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::tars::{self, Entry};
use crate::support::{BASE, Ended, Kiln, ended};

const TEXT: &str = "FROM scratch\nCOPY . /all\nCOPY sub/* /some/\n";

/// Packs what is in the context, busybox left out; `flags` choose the compression.
fn pack(kiln: &Kiln, flags: &[&str]) -> Vec<u8> {
    let mut tar = Command::new("tar");
    tar.args(["c", "--owner=7", "--group=8", "--exclude=busybox"]).args(flags).arg(".");
    let output = tar.current_dir(kiln.context()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Builds with something on standard input, and returns the image's entries too.
fn build_with_stdin(kiln: &Kiln, args: &[&str], input: &[u8]) -> (Ended, Vec<String>) {
    let (file, out) = (kiln.path("stdin"), kiln.path("tree.tar"));
    std::fs::write(&file, input).unwrap();
    let dest = format!("type=tar,dest={}", out.display());
    let all = [&["build", "--progress", "plain", "--output", &dest], args].concat();
    let stdin = Stdio::from(std::fs::File::open(file).unwrap());
    let ended = ended(kiln.command(&all).stdin(stdin).output().unwrap());
    let entries = std::fs::File::open(out).map(tars::entries).unwrap_or_default();
    (ended, lines(&entries))
}

fn lines(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(Entry::line).collect()
}

/// A context with an ignore file, which counts for directories only.
fn with_files() -> Kiln {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", TEXT);
    kiln.file("sub/a", "a");
    kiln.file("sub/b", "b");
    kiln.file(".dockerignore", "**/b\nbusybox\n");
    kiln
}

const UNPACKED: [&str; 9] = [
    "d 755 0:0 all/",
    "- 644 7:8 all/.dockerignore",
    "- 644 7:8 all/Dockerfile",
    "d 755 7:8 all/sub/",
    "- 644 7:8 all/sub/a",
    "- 644 7:8 all/sub/b",
    "d 755 0:0 some/",
    "- 644 7:8 some/a",
    "- 644 7:8 some/b",
];

#[test]
fn an_archive_on_standard_input_is_the_context() {
    for flags in [&[][..], &["--gzip"], &["--xz"], &["--zstd"], &["--bzip2"]] {
        let kiln = with_files();
        let (ended, found) = build_with_stdin(&kiln, &["-"], &pack(&kiln, flags));
        assert_eq!(
            (ended.code, &*found),
            (Some(0), &UNPACKED.map(String::from)[..]),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn an_archive_is_the_context_as_a_file_as_well() {
    let kiln = with_files();
    kiln.file("other/File", "FROM scratch\nCOPY sub/a /\n");
    for (name, flags) in [("plain", &[][..]), ("packed.tar.gz", &["--gzip"])] {
        let path = kiln.path(name);
        std::fs::write(&path, pack(&kiln, flags)).unwrap();
        let path = path.display().to_string();
        let (ended, found) = build_with_stdin(&kiln, &["-f", "other/File", &path], b"");
        assert_eq!(
            (ended.code, found),
            (Some(0), vec!["- 644 7:8 a".to_owned()]),
            "{}",
            ended.stderr
        );
        let (ended, found) =
            build_with_stdin(&kiln, &["-f", "-", &path], b"FROM scratch\nCOPY sub/b /\n");
        assert_eq!(
            (ended.code, found),
            (Some(0), vec!["- 644 7:8 b".to_owned()]),
            "{}",
            ended.stderr
        );
    }
    let missing = kiln.run(&["build", "-f", "none", &kiln.path("plain").display().to_string()]);
    assert_eq!(missing.error().lines().next(), Some("error: there is no Dockerfile `none`"));
    assert_eq!(missing.code, Some(2));
}

#[test]
fn what_is_in_an_archive_decides_what_is_cached() {
    let kiln = with_files();
    kiln.file("Dockerfile", "FROM scratch\nCOPY sub/* /some/\nCOPY . /all\n");
    let cached = |kiln: &Kiln| build_with_stdin(kiln, &["-"], &pack(kiln, &[])).0.cached();
    assert_eq!((cached(&kiln), cached(&kiln)), (0, 2));
    kiln.file("sub/a", "other");
    assert_eq!(cached(&kiln), 0);
    kiln.file("more", "not among sub/*");
    assert_eq!(cached(&kiln), 1);
}

#[test]
fn a_lone_dockerfile_on_standard_input_has_no_context() {
    let kiln = with_files();
    let text = b"FROM scratch\nCOPY <<EOF /file\nhello\nEOF\n";
    let (ended, found) = build_with_stdin(&kiln, &["-"], text);
    assert_eq!(
        (ended.code, found),
        (Some(0), vec!["- 644 0:0 file".to_owned()]),
        "{}",
        ended.stderr
    );
    let (ended, _) = build_with_stdin(&kiln, &["-"], b"FROM scratch\nCOPY sub/a /\n");
    let report = "error: `/sub/a` is not in the build context\n --> <stdin>:2:1\n  |\n2 | COPY sub/a /\n  | ^^^^^^^^^^^^\n  \
                  hint: check the path, and whether an ignore file leaves it out\n";
    assert_eq!((ended.error().as_str(), ended.code), (report, Some(2)));
}

#[test]
fn a_dockerfile_on_standard_input_goes_with_a_directory() {
    let kiln = with_files();
    let (ended, found) = build_with_stdin(&kiln, &["-f", "-", "."], TEXT.as_bytes());
    let expected = [
        "d 755 0:0 all/",
        "- 644 0:0 all/.dockerignore",
        "- 644 0:0 all/Dockerfile",
        "d 755 0:0 all/sub/",
        "- 644 0:0 all/sub/a",
        "d 755 0:0 some/",
        "- 644 0:0 some/a",
    ];
    assert_eq!(
        (ended.code, &*found),
        (Some(0), &expected.map(String::from)[..]),
        "{}",
        ended.stderr
    );
    let (ended, _) = build_with_stdin(&kiln, &["-f", "-", "."], b"FROM scratch\nRNU x\n");
    let first = "error: unknown instruction `RNU`\n --> <stdin>:2:1\n";
    assert!(ended.error().starts_with(first) && ended.code == Some(2), "{}", ended.stderr);
    let (ended, _) = build_with_stdin(&kiln, &["-f", "-", "."], b"");
    assert_eq!(ended.error().lines().next(), Some("error: the Dockerfile `<stdin>` is empty"));
}

/// Builds with a further context.
fn with_context(kiln: &Kiln, context: &str, dockerfile: &str) -> Vec<String> {
    lines(&kiln.tree(dockerfile, &["--build-context", context]))
}

fn further_directory(kiln: &Kiln) -> std::path::PathBuf {
    let other = kiln.path("other");
    std::fs::create_dir_all(other.join("d")).unwrap();
    for name in ["d/x", "d/hidden", "y"] {
        std::fs::write(other.join(name), name).unwrap();
    }
    std::fs::write(other.join(".dockerignore"), "**/hidden\n.dockerignore\n").unwrap();
    other
}

#[test]
fn a_directory_by_name() {
    let kiln = Kiln::new();
    kiln.file("y", "of the main context");
    let context = format!("more={}", further_directory(&kiln).display());
    let found = with_context(
        &kiln,
        &context,
        "FROM scratch\nCOPY --from=more d /d\nCOPY --from=more . /e/\n",
    );
    let expected = [
        "d 755 0:0 d/",
        "- 644 0:0 d/x",
        "d 755 0:0 e/",
        "d 755 0:0 e/d/",
        "- 644 0:0 e/d/x",
        "- 644 0:0 e/y",
    ];
    assert_eq!(found, expected);
    let found = with_context(&kiln, &context, "FROM more AS base\nCOPY y /z\n");
    assert_eq!(found, ["d 755 0:0 d/", "- 644 0:0 d/x", "- 644 0:0 y", "- 644 0:0 z"]);
    let mounted = format!(
        "{BASE}RUN --mount=from=more,target=/m cat /m/y > /read && ls /m /m/d >> /read\nFROM scratch\nCOPY --from=0 /read /\n"
    );
    let tree = kiln.tree(&mounted, &["--build-context", &context]);
    assert_eq!(String::from_utf8_lossy(&tree[0].content), "y/m:\nd\ny\n\n/m/d:\nx\n");
    std::fs::write(kiln.path("other/y"), "changed").unwrap();
    let tree = kiln.tree(&mounted, &["--build-context", &context]);
    assert!(tree[0].content.starts_with(b"changed"));
}

/// Keeps an image with one file and a variable, under a name and as a layout.
fn keep_image(kiln: &Kiln, layout: &Path) {
    kiln.file("file", "kept");
    let text = "FROM scratch\nCOPY file /kept\nENV FROM=kept\n";
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let args = ["-t", "local/kept:2", "--output", &output, "--output", "type=image"];
    assert_eq!(kiln.build(text, &args).code, Some(0));
}

#[test]
fn an_image_by_name() {
    let kiln = Kiln::new();
    let layout = kiln.path("layout");
    keep_image(&kiln, &layout);
    let values = [
        "docker-image://local/kept:2".to_owned(),
        format!("oci-layout://{}:2", layout.display()),
        format!("oci-layout://{}", layout.display()),
    ];
    for value in values {
        let context = format!("base={value}");
        let found = with_context(&kiln, &context, "FROM scratch\nCOPY --from=base /kept /copied\n");
        assert_eq!(found, ["- 644 0:0 copied"], "{value}");
        let text = "FROM base\nENV MORE=1\n";
        assert_eq!(with_context(&kiln, &context, text), ["- 644 0:0 kept"], "{value}");
        let config = kiln.image(text, &["--build-context", &context]).config();
        let env = &config["config"]["Env"];
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        assert_eq!(*env, serde_json::json!([path, "FROM=kept", "MORE=1"]), "{value}");
    }
}

#[test]
fn a_context_takes_the_place_of_images_and_stages() {
    let kiln = Kiln::new();
    keep_image(&kiln, &kiln.path("layout"));
    let kept = "docker-image://local/kept:2";
    for name in ["debian", "debian:latest", "docker.io/library/debian"] {
        let found =
            with_context(&kiln, &format!("{name}={kept}"), "FROM debian\nCOPY file /more\n");
        assert_eq!(found, ["- 644 0:0 kept", "- 644 0:0 more"], "{name}");
    }
    let staged = "FROM scratch AS first\nCOPY file /never\nRUN [\"/never\"]\nFROM first\nCOPY --from=first /kept /copied\n";
    let found = with_context(&kiln, &format!("first={kept}"), staged);
    assert_eq!(found, ["- 644 0:0 copied", "- 644 0:0 kept"]);
    let empty = with_context(&kiln, "debian=docker-image://scratch", "FROM debian\nCOPY file /f\n");
    assert_eq!(empty, ["- 644 0:0 f"]);
}

#[test]
fn contexts_that_are_not_there_are_refused_by_name() {
    let kiln = Kiln::new();
    std::fs::create_dir(kiln.path("empty")).unwrap();
    let empty = kiln.path("empty").display().to_string();
    let text = "FROM scratch\nCOPY --from=more / /\n";
    let cases = [
        (
            "more=nowhere".to_owned(),
            "error: the context `more` is `nowhere`, which is no directory",
        ),
        (
            "more=git://host/x".to_owned(),
            "error: the context `more` is `git://host/x`, a kind that is not supported yet",
        ),
        ("more=oci-layout:///nowhere/at/all".to_owned(), "error: cannot open `/nowhere/at/all`"),
        ("more".to_owned(), "error: invalid context `--build-context more`"),
    ];
    for (value, message) in cases {
        let ended = kiln.build(text, &["--build-context", &value]);
        assert_eq!((ended.error().lines().next(), ended.code), (Some(message), Some(2)));
    }
    let ended = kiln.build(text, &["--build-context", &format!("more=oci-layout://{empty}")]);
    assert!(ended.code == Some(2) && ended.error().contains(&empty), "{}", ended.stderr);
}

/// Makes a name of the context a pipe, or a link.
fn place(kiln: &Kiln, name: &str, what: &str) {
    let path = kiln.context().join(name);
    let _ = std::fs::remove_file(&path);
    match what {
        "pipe" => drop(crate::support::tool("coreutils", "mkfifo", &[path.to_str().unwrap()])),
        target => std::os::unix::fs::symlink(target, &path).unwrap(),
    }
}

#[test]
fn a_dockerfile_and_an_ignore_file_are_regular_files_of_the_context() {
    let kiln = Kiln::new();
    std::fs::write(kiln.path("beside"), "FROM scratch\nsecret of the host\n").unwrap();
    kiln.file("sub/Dockerfile", "FROM scratch\nCOPY sub /\n");
    kiln.file("sub/ignored", "busybox\n");
    let cause = "it is a link that leads nowhere, or out of";
    for what in ["pipe", "../beside", "/dev/zero", "/etc/passwd", "/proc/self/environ"] {
        place(&kiln, "Dockerfile", what);
        let ended = kiln.run(&["build", "."]);
        let error = ended.error();
        let expected =
            if what == "pipe" || what == "/dev/zero" { "not a regular file" } else { cause };
        assert!(error.contains(expected) && !error.contains("secret"), "{what}: {error}");
        assert_eq!(ended.code, Some(2), "{what}: {error}");
    }
    // Who gives a name is asked for the file, and no link of it may leave the context either.
    let named = kiln.run(&["build", "-f", "Dockerfile", "."]);
    assert!(named.error().contains(cause), "{}", named.error());
    place(&kiln, "Dockerfile", "sub/Dockerfile");
    assert_eq!(kiln.run(&["build", "."]).code, Some(0));
    for what in ["pipe", "../beside", "/dev/zero", "/etc/passwd"] {
        place(&kiln, ".dockerignore", what);
        let ended = kiln.run(&["build", "."]);
        let error = ended.error();
        let expected = if what == "pipe" { "not a regular file" } else { cause };
        assert!(error.contains(expected), "{what}: {error}");
        assert_eq!(ended.code, Some(2), "{what}: {error}");
    }
    place(&kiln, ".dockerignore", "/sub/ignored");
    assert_eq!(kiln.run(&["build", "."]).code, Some(0));
}
