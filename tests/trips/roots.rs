//! Root file systems: tars that become images, and images that become tars.

use std::fs::File;
use std::path::Path;

use crate::support::podman::Podman;
use crate::support::tars::entries;
use crate::support::{Kiln, tool};
use crate::{arg, built, done, fails, id};

/// What a tool puts into every container: mount points, and the root itself.
const THEIRS: &[&str] = &[
    "",
    "dev",
    "etc",
    "proc",
    "run",
    "sys",
    ".dockerenv",
    "dev/console",
    "dev/pts",
    "dev/shm",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/mtab",
    "run/.containerenv",
    "run/secrets",
];

/// Lists a tar by names, sorted: kind, mode, owner, links, size and time; hard links by the names they join.
pub(crate) fn listing(tar: &Path) -> Vec<String> {
    let entries = entries(File::open(tar).unwrap());
    let name = |path: &[u8]| {
        let path = String::from_utf8(path.to_vec()).unwrap();
        path.trim_start_matches("./").trim_matches('/').to_owned()
    };
    // Which of several names is the file and which are links to it is the writer's choice.
    let first = |entry: &crate::support::tars::Entry| match entry.kind {
        'h' => name(&entry.target),
        _ => name(&entry.path),
    };
    let mut lines = Vec::new();
    for entry in &entries {
        let path = name(&entry.path);
        if THEIRS.contains(&path.as_str()) {
            continue;
        }
        let group = entries.iter().filter(|other| first(other) == first(entry));
        let mut names: Vec<_> = group.clone().map(|other| name(&other.path)).collect();
        names.sort();
        let file = group.clone().find(|other| other.kind != 'h').unwrap();
        let (uid, gid) = file.owner;
        let target = String::from_utf8_lossy(&file.target);
        let size = file.content.len();
        let mode = if file.kind == 'l' { 0 } else { file.mode & 0o7777 };
        let kind = file.kind;
        lines.push(format!(
            "{path}: {kind} {mode:o} {uid}:{gid} {size} {target} {names:?} {}",
            file.mtime
        ));
    }
    lines.sort();
    lines
}

#[test]
fn an_export_is_what_podman_exports() {
    let (kiln, podman) = (built(), Podman::new());
    let (ours, theirs, archive) =
        (kiln.path("ours.tar"), kiln.path("theirs.tar"), kiln.path("app.tar"));
    done(&kiln, &["export", "-o", arg(&ours), "app"]);
    done(&kiln, &["save", "-o", arg(&archive), "app"]);
    podman.load(&archive, "docker.io/library/app:latest");
    podman.run(&["create", "--network=none", "--name", "made", "app"]);
    podman.run(&["export", "--output", arg(&theirs), "made"]);
    let listed = listing(&ours);
    assert_eq!(listed, listing(&theirs));
    assert!(listed.iter().any(|line| line.starts_with("srv/x/hard: - 4750 7:8 6 ")), "{listed:#?}");
}

#[test]
fn an_import_is_configured() {
    let kiln = built();
    let tar = kiln.path("root.tar");
    done(&kiln, &["export", "-o", arg(&tar), "app"]);
    tool("gzip", "gzip", &["--keep", arg(&tar)]);
    let gz = kiln.path("root.tar.gz");
    let flags = [
        "--source-date-epoch",
        "1000000000",
        "-c",
        "ENTRYPOINT [\"cat\"]",
        "--change",
        "CMD [\"/srv/x/soft\"]",
        "-c",
        "ENV A=b",
        "-c",
        "USER 7:8",
        "-c",
        "WORKDIR /srv/x",
        "-m",
        "from a tar",
    ];
    let first = done(&kiln, &[&["import"], &flags[..], &[arg(&gz), "made:1"]].concat());
    assert_eq!(done(&kiln, &["run", "made:1"]), "hello\n");
    assert_eq!(done(&kiln, &["run", "made:1", "hello"]), "hello\n");
    // The same from standard input, and without a name.
    let mut words = [&["import"], &flags[..], &["-"]].concat();
    let mut command = crate::clean(&kiln, &words);
    let ended = crate::support::ended(command.stdin(File::open(&tar).unwrap()).output().unwrap());
    assert_eq!((ended.code, ended.stdout), (Some(0), first.clone()), "{}", ended.stderr);
    assert_eq!(first.trim(), id(&kiln, "made:1"));
    let history = done(&kiln, &["history", "--format", "{{.Comment}}", "made:1"]);
    assert_eq!(history, "from a tar\n");

    words.truncate(1);
    let bad = |change: &str| fails(&kiln, 2, &[&words[..], &["-c", change, arg(&tar)]].concat());
    let error = bad("RUN true");
    assert!(
        error.starts_with("error: `RUN true` is no instruction that changes a config\n"),
        "{error}"
    );
    assert!(bad("CMD a\nRUN b").contains("is no instruction that changes a config"));
    assert!(bad("EXPOSE x").starts_with("error: "));
    let error = fails(&kiln, 2, &["import", "nowhere.tar"]);
    assert!(error.starts_with("error: cannot open `nowhere.tar`\n"), "{error}");
    kiln.file("text", &"no tar\n".repeat(1000));
    let error = fails(&kiln, 2, &["import", "text"]);
    assert_eq!(
        error,
        "error: cannot use `text`\n  caused by: malformed archive: a header has the wrong checksum\n"
    );
    assert!(fails(&kiln, 2, &["import", arg(&tar), "UPPER"]).contains("must be lowercase"));
    let other = Kiln::new();
    assert!(fails(&other, 2, &["export", "app"]).contains("there is no image `app`"));
}
