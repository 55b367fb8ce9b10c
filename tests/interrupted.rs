//! Builds that are killed or stopped at any moment: the next one gives the same image, and nothing is left over.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};
use support::left::{processes, wait_until};
use support::{BASE, Kiln};

/// Starts a build whose output goes to a file.
fn start(kiln: &Kiln, args: &[&str]) -> (Child, PathBuf) {
    let log = kiln.path("log");
    let all = [&["build", "--progress", "plain"], args, &["."]].concat();
    let file = std::fs::File::create(&log).unwrap();
    (kiln.command(&all).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap(), log)
}

/// Starts a build and waits until one of its steps has printed `started`.
fn start_step(kiln: &Kiln) -> (Child, PathBuf) {
    let (child, log) = start(kiln, &[]);
    wait_until("the step started", || {
        std::fs::read_to_string(&log).unwrap().contains(" started\n")
    });
    (child, log)
}

/// What no build uses any more: files in the making, locks, and whatever lies beside a destination.
fn leftovers(kiln: &Kiln) -> Vec<PathBuf> {
    let below = |path: PathBuf| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let in_state =
        ["tmp", "locks"].into_iter().flat_map(|name| below(kiln.path("state").join(name)));
    let known = ["Dockerfile", "busybox", "big", "files", "out.tar"];
    let strange = |path: &PathBuf| !known.iter().any(|name| path.ends_with(name));
    let is_hidden = |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b".");
    let hidden = below(kiln.path("state")).filter(is_hidden);
    in_state.chain(below(kiln.context()).filter(strange)).chain(hidden).collect()
}

fn assert_clean(kiln: &Kiln) {
    wait_until("all processes are gone", || processes(kiln).is_empty());
    assert_eq!(leftovers(kiln), Vec::<PathBuf>::new());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*kiln.path("state").to_string_lossy()), "{mounts}");
    for blob in std::fs::read_dir(kiln.path("state/blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let digest = kiln::digest::Digest::of(&std::fs::read(&path).unwrap());
        assert!(path.ends_with(digest.hex()), "{} is {digest}", path.display());
    }
}

/// The image without its times.
fn image(kiln: &Kiln, dockerfile: &str) -> Vec<(String, Vec<u8>)> {
    let tree = kiln.tree(dockerfile, &[]);
    tree.into_iter().map(|entry| (entry.line(), entry.content)).collect()
}

/// Steps of which the last runs for ever when it runs for the first time.
fn endless() -> String {
    format!(
        "{BASE}RUN echo early > /early\n\
         RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t if mkdir /c/ran; then \
         (while :; do n=$((n+1)); mkdir /d$n; echo $n > /d$n/f; echo $n > /t/f; done) & \
         trap '' TERM INT HUP; echo started; while :; do sleep 1000; done; fi; echo late > /late\n"
    )
}

/// The image that [`endless`] makes when nothing happens to it.
fn undisturbed() -> Vec<(String, Vec<u8>)> {
    image(&Kiln::new(), &endless().replace("if mkdir /c/ran", "if false"))
}

#[test]
fn a_build_killed_in_a_step_leaves_nothing() {
    let expected = undisturbed();
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &endless());
    let (mut child, _) = start_step(&kiln);
    child.kill().unwrap();
    child.wait().unwrap();
    let next = kiln.build(&endless(), &[]);
    assert_eq!((next.code, next.cached()), (Some(0), 3), "{}", next.stderr);
    assert_clean(&kiln);
    assert_eq!(image(&kiln, &endless()), expected);
}

#[test]
fn a_killed_build_leaves_no_context_of_its_standard_input() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &endless());
    let context = kiln.path("context.tar");
    let tar = std::process::Command::new("tar")
        .arg("cf")
        .arg(&context)
        .arg("-C")
        .arg(kiln.context())
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    let (log, input) = (kiln.path("log"), std::fs::File::open(context).unwrap());
    let output = std::fs::File::create(&log).unwrap();
    let mut command = kiln.command(&["build", "--progress", "plain", "-"]);
    let mut child = command.stdin(input).stderr(output).spawn().unwrap();
    wait_until("the step started", || {
        std::fs::read_to_string(&log).unwrap().contains(" started\n")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(kiln.build(&endless(), &[]).code, Some(0));
    assert_clean(&kiln);
}

#[test]
fn a_killed_keeper_takes_its_step_along() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &endless());
    let (mut child, log) = start_step(&kiln);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().flatten();
    let children = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap());
    let children = children.collect::<String>();
    let keeper = children.split_whitespace().next().expect("the step has a keeper");
    let keeper = Pid::from_raw(keeper.parse().unwrap()).unwrap();
    kill_process(keeper, Signal::KILL).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(3), "{}", std::fs::read_to_string(log).unwrap());
    assert_clean(&kiln);
}

#[test]
fn a_build_that_is_asked_to_stop_stops() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let kiln = Kiln::new();
        kiln.file("Dockerfile", &endless());
        let (mut child, log) = start_step(&kiln);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal:?}");
        let log = std::fs::read_to_string(log).unwrap();
        let end: Vec<_> = log.lines().rev().take(4).collect();
        let asked = "warning: interrupted: stopping; once more ends kiln at once";
        assert_eq!(end, ["canceled", "", "#5 CANCELED", asked], "{log}");
        assert_clean(&kiln);
    }
}

/// Whether a process has a file in the making open in a directory: nameless, hidden, or a blob of the store.
fn writes_in(pid: u32, directory: &Path) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    targets.any(|target| {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_blob = target.starts_with(directory.join("tmp")) && name.starts_with('b');
        let is_beside = target.parent() == Some(directory) && name.starts_with(['#', '.']);
        is_blob || is_beside
    })
}

/// Kills a build when it has a file in the making open, trying until one is caught at it.
fn kill_at_export(kiln: &Kiln, args: &[&str], directory: &Path) {
    for _ in 0..100 {
        let (mut child, _) = start(kiln, args);
        while child.try_wait().unwrap().is_none() {
            if writes_in(child.id(), directory) {
                child.kill().unwrap();
                child.wait().unwrap();
                return;
            }
        }
        std::fs::remove_file(kiln.context().join("out.tar")).unwrap();
    }
    panic!("no export was caught in `{}`", directory.display());
}

#[test]
fn a_build_killed_in_an_export_leaves_nothing() {
    let kiln = Kiln::new();
    let text = "FROM scratch\nCOPY big /big\n";
    kiln.file("Dockerfile", text);
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_ne_bytes()
    });
    let big: Vec<u8> = noise.take(6 << 20).flatten().collect();
    std::fs::write(kiln.context().join("big"), &big).unwrap();
    assert_eq!(kiln.build(text, &[]).code, Some(0));
    let out = kiln.context().join("out.tar");
    let args = ["--output", "type=oci,compression=zstd,dest=out.tar"];
    for directory in [kiln.path("state"), kiln.context()] {
        kill_at_export(&kiln, &args, &directory);
        assert!(!out.exists(), "a part of an image is none");
        let next = kiln.build(text, &args);
        assert_eq!((next.code, next.cached()), (Some(0), 1), "{}", next.stderr);
        assert_clean(&kiln);
        let layout = support::tars::Layout::read(&out);
        assert_eq!(layout.file("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
        std::fs::remove_file(&out).unwrap();
    }
    assert!(image(&kiln, text) == [("- 644 0:0 big".to_owned(), big)]);
}

/// Stops a build and what it leaves behind.
fn assert_stops(kiln: &Kiln, mut child: Child, log: &Path) {
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130), "{}", std::fs::read_to_string(log).unwrap());
    assert_clean(kiln);
}

#[test]
fn sixteen_steps_at_once_stop() {
    let kiln = Kiln::new();
    let mut text = BASE.replacen("FROM scratch", "FROM scratch AS base", 1);
    for number in 0..16 {
        text += &format!("FROM base AS s{number}\nRUN echo {number} started; sleep 3600\n");
    }
    text += "FROM scratch\n";
    (0..16).for_each(|number| text += &format!("COPY --from=s{number} /bin /b{number}\n"));
    kiln.file("Dockerfile", &text);
    let (child, log) = start(&kiln, &["--jobs", "16"]);
    wait_until("all steps started", || {
        std::fs::read_to_string(&log).unwrap().matches(" started\n").count() == 16
    });
    assert_stops(&kiln, child, &log);
}

#[test]
fn who_waits_for_the_step_of_another_stops() {
    let kiln = Kiln::new();
    kiln.file("Dockerfile", &endless());
    let (mut first, log) = start_step(&kiln);
    let other = kiln.path("other");
    let file = std::fs::File::create(&other).unwrap();
    let mut command = kiln.command(&["build", "--progress", "plain", "."]);
    let mut second = command.stderr(file).spawn().unwrap();
    // What is before that step is looked up, and then there is nothing to do but to wait.
    wait_until("the second waits", || {
        std::fs::read_to_string(&other).unwrap().contains("RUN echo early > /early")
    });
    kill_process(Pid::from_child(&second), Signal::INT).unwrap();
    let code = second.wait().unwrap().code();
    assert_eq!(code, Some(130), "{}", std::fs::read_to_string(&other).unwrap());
    assert!(first.try_wait().unwrap().is_none(), "the first goes on");
    assert_stops(&kiln, first, &log);
}
