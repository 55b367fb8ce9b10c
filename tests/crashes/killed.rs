//! Commands that are killed at any moment: the store is sound, the same command does its work the next time, and
//! nothing is left over.
//!
//! `KILN_KILL_RUNS` says how often (each kind of command in turn), `KILN_KILL_SEED` from which seed the moments come.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::prepared::copy;
use crate::server::{Registry, Setup};
use crate::support::left::{assert_nothing_is_left, processes, wait_until};
use crate::support::{Ended, Kiln, ended, tool};

/// Steps of every kind, and times that are the same whenever they are done.
const TEXT: &str = "FROM scratch AS first\nCOPY busybox /bin/busybox\nCOPY files /files\nWORKDIR /proc\nWORKDIR /sys\n\
    WORKDIR /dev\nWORKDIR /c\nWORKDIR /\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n\
    RUN b=/bin/busybox; $b cat /files/* > /all && $b touch -d @1 /all\n\
    RUN b=/bin/busybox; $b rm /files/1* && $b mkdir /d && echo x > /d/x && $b touch -d @1 /d/x /d /files\n\
    RUN --mount=type=cache,target=/c echo run >> /c/log\n\
    FROM first AS last\nCOPY --from=first /d /e\n\
    RUN b=/bin/busybox; echo end > /end && $b touch -d @1 /end\n";

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Cold,
    Cached,
    Pull,
    Push,
    Prune,
    Save,
    Load,
}

const DEEDS: [Deed; 7] =
    [Deed::Cold, Deed::Cached, Deed::Pull, Deed::Push, Deed::Prune, Deed::Save, Deed::Load];

struct World {
    kiln: Kiln,
    registry: Registry,
    /// What each deed prints when nothing happens to it.
    printed: BTreeMap<Deed, String>,
    /// And how long it takes.
    took: BTreeMap<Deed, Duration>,
    /// The manifest that a build makes.
    digest: String,
    /// And the archive.
    archive: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let kiln = Kiln::new();
        for number in 0..40 {
            kiln.file(&format!("files/{number}"), &"content\n".repeat(number * 100));
        }
        kiln.file("Dockerfile", TEXT);
        let registry = Registry::start(&Setup::Plain);
        let mut world = Self {
            kiln,
            registry,
            printed: BTreeMap::new(),
            took: BTreeMap::new(),
            digest: String::new(),
            archive: vec![],
        };
        let begun = Instant::now();
        let built = world.done(Deed::Cold, "first");
        world.took.insert(Deed::Cold, begun.elapsed());
        world.digest = world.digest_of("app");
        world.archive = std::fs::read(world.archive_path()).unwrap();
        let push =
            ["push", "--progress", "quiet", "app", &format!("{}/app:1", world.registry.host)];
        world.run(&push);
        // Of no use to any name, so that there is something to prune.
        world.kiln.file("other/Dockerfile", "FROM app\nRUN echo other > /other\n");
        world.run(&["build", "--progress", "quiet", "other"]);
        world.run(&["save", "app", "-o", world.kiln.path("saved.tar").to_str().unwrap()]);
        world.run(&["settle"]);
        copy(&world.kiln.path("state"), &world.kiln.path("full"));
        world.printed.insert(Deed::Cold, built.stdout);
        for deed in DEEDS.into_iter().skip(1) {
            world.prepare(deed);
            let begun = Instant::now();
            let printed = world.done(deed, "first").stdout;
            world.printed.insert(deed, printed);
            world.took.insert(deed, begun.elapsed());
        }
        world
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.kiln.command(args);
        command.env("SOURCE_DATE_EPOCH", "100");
        command
    }

    fn run(&self, args: &[&str]) -> Ended {
        let ended = ended(self.command(args).output().unwrap());
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    fn archive_path(&self) -> PathBuf {
        self.kiln.context().join("out.tar")
    }

    /// The command of a deed; `name` makes it one that was not done before.
    fn deed(&self, deed: Deed, name: &str) -> Command {
        let host = &self.registry.host;
        let (pulled, pushed) = (format!("{host}/app:1"), format!("{host}/{name}:1"));
        let saved = self.kiln.path("saved.tar").display().to_string();
        let build = ["build", "-t", "app", "--output=type=oci,dest=out.tar", "--output=type=image"];
        let args: Vec<&str> = match deed {
            Deed::Cold | Deed::Cached => [&build[..], &["."]].concat(),
            Deed::Pull => vec!["pull", &pulled],
            Deed::Push => vec!["push", "app", &pushed],
            Deed::Prune => vec!["prune", "--all", "--force", "--format=json"],
            Deed::Save => vec!["save", "app", "-o", "out.tar"],
            Deed::Load => vec!["load", "-i", &saved],
        };
        self.command(&args)
    }

    /// The state root as it is before a deed.
    fn prepare(&self, deed: Deed) {
        drop(std::fs::remove_file(self.archive_path()));
        match deed {
            Deed::Cold | Deed::Pull | Deed::Load => {
                drop(std::fs::remove_dir_all(self.kiln.path("state")));
            }
            Deed::Cached | Deed::Push | Deed::Prune | Deed::Save => {
                copy(&self.kiln.path("full"), &self.kiln.path("state"));
            }
        }
    }

    fn digest_of(&self, name: &str) -> String {
        self.run(&["inspect", "-f", "{{.Digest}}", name]).stdout.trim().to_owned()
    }

    /// Does a deed to its end, with everything that it should have done.
    fn done(&self, deed: Deed, name: &str) -> Ended {
        let ended = ended(self.deed(deed, name).output().unwrap());
        assert_eq!(ended.code, Some(0), "{deed:?} {name}: {}{}", ended.stdout, ended.stderr);
        ended
    }

    /// Kills a deed at a moment; returns whether it had not ended by itself.
    fn kill(&self, deed: Deed, name: &str, after: Duration) -> bool {
        let log = self.kiln.path("log");
        let output = std::fs::File::create(&log).unwrap();
        let mut command = self.deed(deed, name);
        let mut child = command.stdout(Stdio::null()).stderr(output).spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        let code = child.wait().unwrap().code();
        let log = std::fs::read_to_string(log).unwrap();
        assert!(code.is_none_or(|code| code == 0), "{deed:?} {name}: {log}");
        code.is_none()
    }

    fn assert_sound(&self, why: &str) -> Vec<String> {
        let checked = self.kiln.run(&["check-store", "--dry-run", "--progress", "quiet"]);
        assert_eq!(checked.code, Some(0), "{why}: {}{}", checked.stdout, checked.stderr);
        let mut lines: Vec<String> = checked.stdout.lines().map(str::to_owned).collect();
        let verdict = lines.pop().unwrap();
        assert!(verdict.ends_with(" read: all is well"), "{why}: {}", checked.stdout);
        lines
    }

    /// What must hold after a deed was killed, and after it was done again.
    fn assert_works(&self, deed: Deed, name: &str, why: &str) {
        for line in self.assert_sound(why) {
            assert!(
                line.ends_with(": left by a process that died: would be swept"),
                "{why}: {line}"
            );
        }
        if let Ok(archive) = std::fs::read(self.archive_path()) {
            assert!(deed == Deed::Save || archive == self.archive, "{why}: a part of an archive");
        }
        let again = self.done(deed, name);
        match deed {
            Deed::Cold | Deed::Cached => {
                assert_eq!(
                    (&again.stdout, &self.digest_of("app")),
                    (&self.printed[&deed], &self.digest),
                    "{why}"
                );
                assert!(std::fs::read(self.archive_path()).unwrap() == self.archive, "{why}");
            }
            Deed::Pull => {
                let name = format!("{}/app:1", self.registry.host);
                assert_eq!(again.stdout, self.printed[&deed], "{why}");
                let said = self.run(&["run", &name, "/bin/busybox", "cat", "/end", "/e/x"]).stdout;
                assert_eq!(said, "end\nx\n", "{why}");
            }
            Deed::Push => {
                let pushed = again.stdout.replace(name, "first");
                assert_eq!(pushed, self.printed[&deed], "{why}");
                let there = format!("docker://{}/{name}:1", self.registry.host);
                tool("skopeo", "skopeo", &["inspect", "--tls-verify=false", &there]);
            }
            Deed::Prune => {
                assert_eq!(self.digest_of("app"), self.digest, "{why}");
                let said = self.run(&["run", "app", "/bin/busybox", "cat", "/end"]).stdout;
                assert_eq!(said, "end\n", "{why}");
                self.assert_counted(why);
                let built = self.done(Deed::Cached, name);
                assert_eq!(built.stdout, self.printed[&Deed::Cold], "{why}");
            }
            Deed::Save => {
                tool("tar", "tar", &["tf", self.archive_path().to_str().unwrap()]);
            }
            Deed::Load => assert_eq!(self.digest_of("app"), self.digest, "{why}"),
        }
        assert_nothing_is_left(&self.kiln, why);
        assert_eq!(self.assert_sound(why), Vec::<String>::new(), "{why}");
    }

    /// What kiln counts is what the file system counts.
    fn assert_counted(&self, why: &str) {
        self.run(&["settle"]);
        wait_until("all processes are gone", || processes(&self.kiln).is_empty());
        let listed = self.run(&["du", "--format", "json"]).stdout;
        let size = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["Size"].as_u64().unwrap()
        };
        let state = self.kiln.path("state");
        let du = tool("coreutils", "du", &["-s", "-B1", state.to_str().unwrap()]);
        let du: u64 = du.split_whitespace().next().unwrap().parse().unwrap();
        assert_eq!(listed.lines().map(size).sum::<u64>(), du, "{why}");
    }
}

/// Where a run of numbers that looks random goes on (Knuth, MMIX).
pub(crate) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn whatever_is_killed_can_be_done_again() {
    let (runs, first) = (number("KILN_KILL_RUNS", 7), number("KILN_KILL_SEED", 20));
    let (world, mut seed) = (World::new(), first);
    let mut longest = world.took.clone();
    let mut counts: BTreeMap<Deed, (u64, u64)> = BTreeMap::new();
    for round in 0..runs {
        let deed = DEEDS[(round % DEEDS.len() as u64) as usize];
        let most = longest.get_mut(&deed).unwrap();
        let after = Duration::from_micros(next(&mut seed) % most.as_micros().max(1) as u64);
        let why = format!("seed {first}, round {round}: {deed:?} killed after {after:?}");
        let name = format!("r{round}");
        world.prepare(deed);
        let was_cut = world.kill(deed, &name, after);
        // What one undisturbed run took says little of the next, on a machine that does other things.
        *most = if was_cut { *most * 9 / 8 } else { *most * 3 / 4 };
        let count = counts.entry(deed).or_default();
        (count.0, count.1) = (count.0 + 1, count.1 + u64::from(was_cut));
        world.assert_works(deed, &name, &why);
    }
    for (deed, (runs, cut)) in &counts {
        println!("{deed:?}: {runs} rounds, {cut} killed before they ended");
    }
    assert!(counts.values().any(|(_, cut)| *cut > 0), "nothing was killed before it ended");
}
