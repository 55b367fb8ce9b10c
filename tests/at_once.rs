//! Many builds on one state root: each is right, what they share is done once, and nothing is left behind.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::users::User;
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

/// What a process of kiln may take in memory, in kB, whatever it moves.
const MOST_MEMORY: u64 = 256 << 10;

/// A place where somebody builds.
struct Home {
    directory: tempfile::TempDir,
    owner: Option<(u32, u32)>,
}

impl Home {
    /// Starts one of sixteen builds.
    fn begin(&self, number: usize) -> Child {
        let file = format!("context/Dockerfile.{}", NAMES[number % 4]);
        let tag = format!("t{number}");
        let args = ["build", "--progress", "plain", "--file", &file, "--tag", &tag, "context"];
        self.command(&args).spawn().unwrap()
    }

    fn new(owner: Option<(u32, u32)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Self { directory, owner };
        let context = home.path("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_kiln"), home.path("kiln")).unwrap();
        std::fs::copy("/bin/busybox", context.join("busybox")).unwrap();
        std::fs::write(context.join("large"), vec![b'x'; 64 << 20]).unwrap();
        for name in NAMES {
            let text = format!(
                "{BASE}RUN --mount=type=cache,target=/log echo shared >> /log/runs; sleep 1\n\
                 RUN --mount=type=cache,target=/log echo {name} >> /log/runs; echo {name} > /own\n\
                 COPY large /large\n"
            );
            std::fs::write(context.join(format!("Dockerfile.{name}")), text).unwrap();
        }
        if let Some((uid, gid)) = owner {
            for path in [home.directory.path(), &context] {
                std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
        home
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.path("kiln"));
        command.args(["--root", "state"]).args(args).current_dir(self.directory.path());
        command.env("HOME", self.directory.path()).env_remove("KILN_ROOT");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> String {
        let ended = ended(self.command(args).output().unwrap());
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        ended.stdout
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// The most memory that a process has had so far, in kB; 0 if it has ended.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.split_whitespace().next().unwrap().parse().unwrap())
}

/// Sixteen builds and somebody who prunes: each is right, what two of them share is done once.
fn crowd(owner: Option<(u32, u32)>) {
    let home = Home::new(owner);
    let building = AtomicBool::new(true);
    let (ended, peak) = std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            while building.load(Ordering::Acquire) {
                home.run(&["prune", "--force"]);
            }
        });
        let builds: Vec<Child> = (0..16).map(|number| home.begin(number)).collect();
        let pids: Vec<u32> = builds.iter().map(Child::id).collect();
        let is_building = &building;
        let watcher = scope.spawn(move || {
            let mut most = 0;
            while is_building.load(Ordering::Acquire) {
                most = most.max(pids.iter().map(|pid| peak(*pid)).max().unwrap());
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let ended: Vec<Ended> = builds.into_iter().map(finish).collect();
        building.store(false, Ordering::Release);
        pruner.join().unwrap();
        (ended, watcher.join().unwrap())
    });
    for (number, build) in ended.iter().enumerate() {
        assert_eq!(build.code, Some(0), "{}", build.stderr);
        assert_eq!(build.stdout, ended[number % 4].stdout, "build {number}");
        let said = home.run(&["run", &format!("t{number}"), "cat", "/own"]);
        assert_eq!(said, format!("{}\n", NAMES[number % 4]));
    }
    let checked = home.run(&["check-store", "--progress", "quiet"]);
    assert!(checked.ends_with(" read: all is well\n"), "{checked}");
    for name in ["tmp", "locks"] {
        let left = std::fs::read_dir(home.path("state").join(name)).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let text = format!("{BASE}RUN --mount=type=cache,target=/log cp /log/runs /runs\n");
    std::fs::write(home.path("context/Dockerfile"), text).unwrap();
    home.run(&["build", "--quiet", "--no-cache", "--tag", "runs", "context"]);
    let runs = home.run(&["run", "runs", "cat", "/runs"]);
    let mut runs: Vec<&str> = runs.lines().collect();
    runs.sort_unstable();
    assert_eq!(runs, ["a", "b", "c", "d", "shared"]);
    assert!((1..MOST_MEMORY).contains(&peak), "{peak} kB");
}

#[test]
fn sixteen_builds_and_a_pruner() {
    crowd(None);
}

#[test]
fn sixteen_builds_and_a_pruner_of_an_ordinary_user() {
    let user = User::new("crowd").with_range();
    crowd(Some((user.uid, user.gid)));
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
