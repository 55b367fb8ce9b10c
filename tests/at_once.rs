//! Many builds on one state root: each is right, what they share is done once, and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{BASE, Ended, Kiln, ended};

/// A step that tells in a cache mount that it ran, and takes long enough to be met by others.
fn shared_step(kiln: &Kiln) -> String {
    let marker = kiln.path("").display().to_string();
    format!(
        "{BASE}RUN --mount=type=cache,target=/log echo {marker} >> /log/runs; echo started; sleep 1\n"
    )
}

/// What the shared steps of all builds so far told.
fn runs(kiln: &Kiln) -> usize {
    let text = "RUN --mount=type=cache,target=/log cp /log/runs /runs\n";
    let out = kiln.rootfs(text, &["--no-cache"]);
    std::fs::read_to_string(out.join("runs")).unwrap().lines().count()
}

fn start(kiln: &Kiln, file: &str, tag: &str) -> Child {
    let mut command =
        kiln.command(&["build", "--progress", "plain", "--file", file, "--tag", tag, "."]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> Ended {
    ended(child.wait_with_output().unwrap())
}

/// No file in the making, no mount and no process of a step.
fn nothing_is_left(kiln: &Kiln) {
    let root = kiln.path("").display().to_string();
    let making = std::fs::read_dir(kiln.path("state/tmp")).unwrap();
    let making: Vec<_> = making.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(making, Vec::<std::path::PathBuf>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&root), "{mounts}");
    let steps = Command::new("pgrep").args(["--full", &format!("echo {root}")]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&steps.stdout), "");
}

#[test]
fn eight_builds_run_a_shared_step_once() {
    let kiln = Kiln::new();
    for name in ["a", "b", "c", "d"] {
        let own = format!("RUN echo {name} > /own\nCOPY Dockerfile.{name} /file\n");
        kiln.file(&format!("Dockerfile.{name}"), &format!("{}{own}", shared_step(&kiln)));
    }
    let names = ["a", "b", "c", "d", "a", "b", "c", "d"];
    let builds = names.map(|name| (name, start(&kiln, &format!("Dockerfile.{name}"), name)));
    let ended = builds.map(|(name, child)| (name, finish(child)));
    for (name, ended) in &ended {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let same = ended_as(&kiln, name);
        assert_eq!((same.cached(), &same.stdout), (5, &ended.stdout), "{}", same.stderr);
        assert_eq!(kiln.run(&["run", name, "cat", "/own"]).stdout, format!("{name}\n"));
    }
    nothing_is_left(&kiln);
    assert_eq!(runs(&kiln), 1);
}

/// The same build once more, alone.
fn ended_as(kiln: &Kiln, name: &str) -> Ended {
    finish(start(kiln, &format!("Dockerfile.{name}"), name))
}

#[test]
fn a_killed_build_leaves_its_step_to_the_next() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &shared_step(&kiln).replace("sleep 1", "sleep 2"));
    let log = kiln.path("log");
    let mut command = kiln.command(&["build", "--progress", "plain", "."]);
    let mut first = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    wait_for(&log, " started\n");
    let second = start(&kiln, "Dockerfile", "second");
    first.kill().unwrap();
    first.wait().unwrap();
    let second = finish(second);
    assert_eq!((second.code, second.cached()), (Some(0), 2), "{}", second.stderr);
    let third = finish(start(&kiln, "Dockerfile", "third"));
    assert_eq!((&third.stdout, third.cached()), (&second.stdout, 3), "{}", third.stderr);
    nothing_is_left(&kiln);
    assert_eq!(runs(&kiln), 2);
}

fn wait_for(log: &Path, text: &str) {
    let begun = Instant::now();
    while !std::fs::read_to_string(log).unwrap().contains(text) {
        assert!(begun.elapsed() < Duration::from_secs(60), "`{text}` was never said");
        std::thread::sleep(Duration::from_millis(10));
    }
}
