//! What is not done: steps after a failure, and anything at all in a build of which nothing changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::support::{BASE, Kiln, ended};

#[test]
fn a_failure_stops_everything_else() {
    let kiln = Kiln::new();
    // The one fails once the other is known to run.
    let mount = "RUN --mount=type=cache,target=/c,sharing=shared";
    let text = format!(
        "{} AS long\n{mount} touch /c/started; sleep 7391\n\
         FROM base AS wrong\n{mount} until [ -e /c/started ]; do sleep 0.01; done; exit 9\n\
         FROM scratch\nCOPY --from=long / /\nCOPY --from=wrong / /\n",
        BASE.replacen("scratch", "scratch AS base", 1) + "FROM base",
    );
    let ended = kiln.build(&text, &["--jobs=2"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let how = |word: &str| ended.stderr.lines().filter(|line| line.contains(word)).count();
    assert_eq!(
        (how(" ERROR: "), how(" CANCELED"), how("[stage-4 ")),
        (1, 1, 0),
        "{}",
        ended.stderr
    );
    assert!(ended.error().contains("exited with code 9"), "{}", ended.stderr);
    let left = std::process::Command::new("pgrep").args(["-f", "sleep 7391"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout), "", "the other step's process is gone");
}

/// Everything of a directory but times of last use: inode, size, time of writing and of any other change.
fn state(top: &Path) -> BTreeMap<String, (u64, u64, i64, i64)> {
    let entries = walkdir::WalkDir::new(top).into_iter().map(|entry| {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        // Marking records, layers and blobs as used changes their times of last use and of change, and only these:
        // what is in them and when it was written stays.
        let path = entry.path().to_str().unwrap();
        let is_marked =
            path.contains("/records/") || path.contains("/blobs/") || path.ends_with("/changes");
        let changed = if is_marked { 0 } else { meta.ctime_nsec() };
        (entry.path().display().to_string(), (meta.ino(), meta.size(), meta.mtime_nsec(), changed))
    });
    // A lease comes and goes with every build, and with it the times of the directories that hold it; the first
    // build's process that flushes the disk may still be at it.
    let is_passing = |path: &str| {
        ["/tmp", "/locks"].iter().any(|it| path.ends_with(it)) || path.contains("/settled-")
    };
    entries.filter(|(path, _)| !is_passing(path)).collect()
}

#[test]
fn a_build_of_which_nothing_changed_reads_and_writes_nothing() {
    let kiln = Kiln::new();
    for name in ["src/a", "src/sub/b"] {
        kiln.file(name, name);
    }
    // Files that were written just now are not yet trusted to be the ones that were read.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let text = format!("{BASE}COPY src /src\nRUN cat /src/a > /copy\n");
    let first = kiln.build(&text, &["-t", "x"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let again = || {
        let ended = kiln.run(&["build", "--progress", "plain", "-t", "x", "."]);
        assert_eq!((ended.code, &ended.stdout), (Some(0), &first.stdout), "{}", ended.stderr);
    };
    // The Dockerfile was written after the context, so this build may still read it.
    again();
    let before = state(&kiln.path("state"));
    let watch = inotify::init(CreateFlags::NONBLOCK).unwrap();
    let seen = WatchFlags::OPEN | WatchFlags::ACCESS;
    for name in ["busybox", "src/a", "src/sub/b"] {
        inotify::add_watch(&watch, kiln.context().join(name), seen).unwrap();
    }
    // To the kernel a blob that is marked as used is accessed; what is read must be opened.
    inotify::add_watch(&watch, kiln.path("state/blobs/sha256"), WatchFlags::OPEN).unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    again();
    let names = |event: inotify::Event<'_>| format!("{:?} {:?}", event.file_name(), event.events());
    assert_eq!(events.next().map(names).ok(), None, "nothing is read");
    assert_eq!(state(&kiln.path("state")), before, "nothing is written");
    kiln.file("src/a", "changed");
    kiln.build(&text, &["-t", "x"]);
    assert!(events.next().is_ok(), "a file that changed would have been noticed");
}

#[test]
fn many_stages_and_layers_need_few_open_files() {
    const STAGES: usize = 100;
    let kiln = Kiln::new();
    let stage = |n| format!("FROM scratch AS s{n}\nCOPY <<f{n} /f{n}\n{n}\nf{n}\n");
    let copy = |n| format!("COPY --from=s{n} /f{n} /\n");
    let lines = |line: fn(usize) -> String| (0..STAGES).map(line).collect::<String>();
    kiln.file("Dockerfile", &format!("{}FROM scratch\n{}", lines(stage), lines(copy)));
    let out = kiln.path("out");
    let dest = format!("type=local,dest={}", out.display());
    // Steps, and an output that reads from every layer; what may be open besides layers is some twenty.
    let build = kiln.command(&["build", "--output", &dest, "."]);
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--nofile=64").arg(build.get_program()).args(build.get_args());
    let ended = ended(limited.current_dir(kiln.context()).output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(std::fs::read_to_string(out.join("f99")).unwrap(), "99\n");
    assert_eq!(std::fs::read_dir(out).unwrap().count(), STAGES);
}

#[test]
fn a_linked_copy_is_known_by_the_whole_that_it_came_to() {
    let kiln = Kiln::new();
    kiln.file("f", "same\n");
    for which in ["one", "two"] {
        let copied = format!("{BASE}RUN echo {which} > /which\nCOPY --link f /f\n");
        // At first nobody waits for it.
        assert_eq!(kiln.build(&copied, &[]).code, Some(0));
        let tree = kiln.tree(&format!("{copied}RUN cat /which > /out\n"), &[]);
        let out = tree.iter().find(|entry| entry.path == b"out").unwrap();
        assert_eq!(out.content, format!("{which}\n").into_bytes());
    }
}
