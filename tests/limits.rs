//! Limits on what the commands of a build may use, by the control groups of this machine.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use support::{BASE, Kiln, ended};

/// Where control groups are mounted.
fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap();
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        words.next()?.starts_with("cgroup").then(|| place.into())
    });
    lines.collect()
}

/// The groups of the runs of a kiln, and those whose name is given.
fn groups(name: &str) -> Vec<PathBuf> {
    let all = mounts().into_iter().flat_map(walkdir::WalkDir::new);
    // Groups come and go while they are listed.
    let found = all.filter_map(Result::ok).filter(|entry| {
        entry.file_type().is_dir() && entry.file_name().to_str().unwrap().starts_with(name)
    });
    found.map(walkdir::DirEntry::into_path).collect()
}

/// The first line of a file of any of the groups.
fn line(groups: &[PathBuf], files: &[&str]) -> Option<String> {
    let paths = groups.iter().flat_map(|group| files.iter().map(|file| group.join(file)));
    let text = paths.filter_map(|path| fs::read_to_string(path).ok()).next()?;
    Some(text.trim().to_owned())
}

#[test]
fn memory_is_limited_and_its_end_is_told() {
    let kiln = Kiln::new();
    // busybox's tail keeps all of it. No command may begin meanwhile: it could end for want of memory too.
    let step =
        format!("{BASE}RUN head -c 60000000 /dev/zero | tail -c 50000000 >/dev/null; echo $?\n");
    let build = kiln.build(&step, &["--memory", "16m", "--memory-swap", "16m"]);
    assert_eq!(build.code, Some(0), "the last command is what counts: {}", build.stderr);
    assert!(build.stderr.contains(" 137\n"), "{}", build.stderr);
    let step = format!("{BASE}RUN head -c 60000000 /dev/zero | tail -c 50000000 >/dev/null\n");
    let build = kiln.build(&step, &["-m", "16m", "--memory-swap", "16m"]);
    assert_eq!(build.code, Some(1), "{}", build.stderr);
    let told =
        "was killed by signal 9; memory had run out, of which `--memory` allows 16777216 bytes";
    assert!(build.error().contains(told), "{}", build.stderr);
    let build = kiln.build(&step, &["--resource", "memory=512m"]);
    assert_eq!(build.code, Some(0), "with more it does: {}", build.stderr);
    // What a step may use is no part of what it is.
    let build = kiln.build(&step, &["-m", "16m"]);
    assert_eq!((build.code, build.cached()), (Some(0), 3), "{}", build.stderr);
}

#[test]
fn processes_are_limited() {
    let kiln = Kiln::new();
    let step =
        format!("{BASE}RUN for i in 1 2 3 4 5 6 7 8; do tail -f /dev/null & done; echo all\n");
    let build = kiln.build(&step, &["--pids-limit", "5"]);
    assert_eq!(build.code, Some(1), "{}", build.stderr);
    assert!(build.stderr.contains("can't fork"), "{}", build.stderr);
    let build = kiln.build(&step, &["--pids-limit", "50"]);
    assert_eq!(build.code, Some(0), "{}", build.stderr);
}

#[test]
fn processors_are_chosen() {
    let kiln = Kiln::new();
    let step = format!("{BASE}RUN echo there are $(nproc)\n");
    let build = kiln.build(&step, &["--cpuset-cpus", "0"]);
    assert!(build.stderr.contains("there are 1\n"), "{}", build.stderr);
}

/// Starts a build whose step does not end, and waits for its groups.
fn endless(kiln: &Kiln, flags: &[&str]) -> (Child, Vec<PathBuf>) {
    kiln.file("Dockerfile", &format!("{BASE}RUN echo begun; tail -f /dev/null\n"));
    let args = [&["build", "--progress", "plain"], flags, &["."]].concat();
    let mut child = kiln.command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().ends_with(" begun")), "the step did not begin");
    let groups = groups(&format!("kiln-{}-", child.id()));
    assert!(!groups.is_empty());
    (child, groups)
}

#[test]
fn a_group_has_what_was_asked_for_and_goes_with_its_run() {
    let parent = format!("/kiln-test-{}/inner", std::process::id());
    let kiln = Kiln::new();
    let flags =
        ["--cpu-quota", "20000", "--cpu-period", "50000", "-m", "64m", "--cgroup-parent", &parent];
    let (mut child, made) = endless(&kiln, &flags);
    assert!(made.iter().all(|group| group.to_str().unwrap().contains(&parent)), "{made:?}");
    let quota = line(&made, &["cpu.max", "cpu.cfs_quota_us"]).unwrap();
    assert!(["20000 50000", "20000"].contains(&quota.as_str()), "{quota}");
    let memory = line(&made, &["memory.max", "memory.limit_in_bytes"]);
    assert_eq!(memory.as_deref(), Some("67108864"));
    // The keeper clears up after a kiln that cannot.
    child.kill().unwrap();
    child.wait().unwrap();
    while made.iter().any(|group| group.exists()) {
        std::thread::yield_now();
    }
    // What the user named stays.
    let mut named = groups(&format!("kiln-test-{}", std::process::id()));
    assert!(!named.is_empty());
    named.iter_mut().for_each(|group| {
        fs::remove_dir(group.join("inner")).unwrap();
        fs::remove_dir(group).unwrap();
    });
}

#[test]
fn what_was_left_is_removed_by_the_next_run() {
    let kiln = Kiln::new();
    let (mut child, made) = endless(&kiln, &["--pids-limit", "100"]);
    let left: Vec<_> = made
        .iter()
        .map(|group| group.with_file_name(format!("kiln-0-left-{}", std::process::id())))
        .collect();
    left.iter().for_each(|group| fs::create_dir(group).unwrap());
    let build = kiln.build(&format!("{BASE}RUN true\n"), &["--pids-limit", "100"]);
    assert_eq!(build.code, Some(0), "{}", build.stderr);
    assert!(left.iter().all(|group| !group.exists()), "{left:?}");
    assert!(made.iter().all(|group| group.exists()), "one that is in use stays");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(made.iter().all(|group| !group.exists()), "{made:?}");
}

#[test]
fn a_limit_that_cannot_be_set_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    for name in ["kiln", "busybox"] {
        let from = if name == "kiln" { env!("CARGO_BIN_EXE_kiln") } else { "/bin/busybox" };
        fs::copy(from, home.path().join(name)).unwrap();
    }
    fs::write(home.path().join("Dockerfile"), format!("{BASE}RUN true\n")).unwrap();
    std::os::unix::fs::chown(home.path(), Some(65534), Some(65534)).unwrap();
    let build = |flags: &[&str]| {
        let mut command = Command::new(home.path().join("kiln"));
        command.args(["--root", "state", "build", "--progress", "plain", "."]).args(flags);
        command.current_dir(home.path()).env("HOME", home.path()).uid(65534).gid(65534);
        ended(command.output().unwrap())
    };
    let limited = build(&["-m", "64m"]);
    assert_eq!(limited.code, Some(3), "{}", limited.stderr);
    assert!(limited.error().contains("--cgroup-parent"), "{}", limited.stderr);
    assert_eq!(build(&[]).code, Some(0), "without it does");
    assert_eq!(build(&["--cpuset-cpus", "0-"]).code, Some(2));
}
