//! Images on their way: pull, push, copy, save, load and squash, each against other programs in the same run.
//!
//! `cargo bench --locked --bench images`, as root; a name after `--` chooses the rows that contain it. Needs Debian's
//! docker-registry, skopeo, umoci, buildah, podman and mmdebstrap, and some 20 GB for a while. Each round runs all
//! programs of a row in turn, each with a store of its own that is empty; the table, in the form of `RESULTS.md`, has
//! the medians. Nothing is deleted before the end: ext4 does not take an inode again soon after it was freed, and looks
//! at each of them whenever a file is made.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its data has failed")]
#![expect(clippy::print_stdout, reason = "its answer is a table")]

#[path = "../../tests/support/debian.rs"]
mod debian;
mod measure;
mod registry;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use measure::{Cost, measure, median};
use registry::Registry;

/// How often each row is measured.
const ROUNDS: usize = 5;

/// Runs a command, whose success is expected, and returns what it prints.
fn printed(package: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; this bench needs it: apt-get install {package}")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The images that are sent about, and where everything is kept.
struct Bench {
    directory: PathBuf,
    registry: Registry,
    /// kiln's store with all images.
    store: PathBuf,
    /// What rows are asked for.
    filter: Option<String>,
}

/// A program under measurement: its name, and what it runs in an empty directory.
type Program<'a> = (&'static str, Box<dyn Fn(&Path) -> Vec<Command> + 'a>);

fn main() {
    let directory = tempfile::Builder::new().prefix("kiln-images").tempdir().unwrap();
    let bench = Bench::new(directory.path());
    println!(
        "| work | program | s | processor s | peak MiB | s / kiln's |\n|---|---|---|---|---|---|"
    );
    bench.pulls();
    bench.pushes();
    bench.files();
    bench.squashes();
}

impl Bench {
    fn new(directory: &Path) -> Self {
        let registry = Registry::start(&directory.join("registry"));
        let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
        let store = directory.join("store");
        let bench = Self { directory: directory.to_owned(), registry, store, filter };
        bench.prepare("apt", "debian");
        bench.prepare("gcc,g++,make,perl", "gcc");
        let lines =
            "FROM store/debian\nRUN cp -r /usr/lib /opt/lib\nRUN rm -r /opt/lib /usr/share\n";
        bench.build("layers", lines, &[]);
        bench
    }

    /// Makes an image of one layer with these packages of Debian, and pushes it with gzip and with zstd.
    fn prepare(&self, packages: &str, name: &str) {
        let rootfs = debian::rootfs(packages, |_| Vec::new()).join("rootfs.tar.xz");
        self.build(name, "FROM scratch\nADD rootfs.tar.xz /\nCMD [\"sh\"]\n", &[&rootfs]);
        for compression in ["gzip", "zstd"] {
            let to = self.registry.name(&format!("{name}:{compression}"));
            let mut push =
                self.kiln(&self.store, &["push", "--quiet", "--compression", compression]);
            printed("", push.arg(format!("store/{name}")).arg(to));
        }
    }

    fn build(&self, name: &str, dockerfile: &str, files: &[&Path]) {
        let context = self.directory.join(format!("context-{name}"));
        fs::create_dir(&context).unwrap();
        for file in files {
            fs::copy(file, context.join(file.file_name().unwrap())).unwrap();
        }
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let tag = format!("store/{name}");
        let args = ["build", "--quiet", "--network=none", "--tag", &tag];
        printed("", self.kiln(&self.store, &args).arg(context));
    }

    /// Measures the programs of a row in turn, several times, and prints their lines; kiln is the first of them.
    fn row(&self, work: &str, programs: &[Program<'_>]) {
        if self.filter.as_ref().is_some_and(|filter| !work.contains(filter)) {
            return;
        }
        let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); programs.len()];
        for round in 0..ROUNDS {
            for ((name, program), costs) in programs.iter().zip(&mut costs) {
                let place = format!("{work} {round} {name}").replace([' ', ',', '+'], "-");
                let place = self.directory.join(place);
                fs::create_dir(&place).unwrap();
                costs.push(measure(program(&place)));
            }
        }
        let medians: Vec<Cost> = costs.iter().map(|costs| median(costs)).collect();
        for ((name, _), cost) in programs.iter().zip(&medians) {
            let ratio = cost.wall / medians[0].wall;
            let Cost { wall, cpu, peak } = cost;
            println!("| {work} | {name} | {wall:.3} | {cpu:.2} | {peak:.0} | {ratio:.1} |");
        }
    }

    /// Pull and unpack, from an empty store.
    fn pulls(&self) {
        for (work, image) in [
            ("pull gzip", "debian:gzip"),
            ("pull zstd", "debian:zstd"),
            ("pull large gzip", "gcc:gzip"),
            ("pull large zstd", "gcc:zstd"),
        ] {
            let image = &self.registry.name(image);
            let mut programs: Vec<Program<'_>> = vec![
                (
                    "kiln",
                    Box::new(move |at| vec![self.kiln(&at.join("s"), &["pull", "-q", image])]),
                ),
                (
                    "buildah",
                    Box::new(move |at| {
                        vec![containers(
                            "buildah",
                            at,
                            &["pull", "-q", "--tls-verify=false", image],
                        )]
                    }),
                ),
                (
                    "podman",
                    Box::new(move |at| {
                        vec![containers("podman", at, &["pull", "-q", "--tls-verify=false", image])]
                    }),
                ),
            ];
            // Debian's umoci does not know zstd.
            if work.ends_with("gzip") {
                programs.push((
                    "skopeo + umoci",
                    Box::new(move |at| {
                        let layout = format!("oci:{}/l:1", at.display());
                        let mut unpack = Command::new("umoci");
                        unpack
                            .args(["unpack", "--image"])
                            .arg(at.join("l:1"))
                            .arg(at.join("bundle"));
                        vec![skopeo(&format!("docker://{image}"), &layout), unpack]
                    }),
                ));
            }
            self.row(work, &programs);
        }
    }

    /// Push of an image that was pulled, to a registry that has nothing and to one that has all of it.
    #[expect(clippy::too_many_lines, reason = "one row after the other")]
    fn pushes(&self) {
        let source = &self.registry.name("debian:gzip");
        let own = &self.directory.join("pushing");
        fs::create_dir(own).unwrap();
        let (store, layout) = (&own.join("store"), &format!("oci:{}/layout:1", own.display()));
        printed("", &mut self.kiln(store, &["pull", "-q", source]));
        printed("skopeo", &mut skopeo(&format!("docker://{source}"), layout));
        let pull = ["pull", "-q", "--tls-verify=false", source];
        printed("buildah", &mut containers("buildah", own, &pull));

        let kiln = |to: &str| vec![self.kiln(store, &["push", "-q", source, to])];
        let skopeo_ = |to: &str| vec![skopeo(layout, &format!("docker://{to}"))];
        let buildah = |to: &str| {
            let to = format!("docker://{to}");
            vec![containers("buildah", own, &["push", "-q", "--tls-verify=false", source, &to])]
        };
        let empty = std::cell::RefCell::new(Vec::new());
        let new = |at: &Path| {
            let registry = Registry::start(&at.join("registry"));
            let name = registry.name("pushed:1");
            empty.borrow_mut().push(registry);
            name
        };
        self.row(
            "push, empty registry",
            &[
                ("kiln", Box::new(|at| kiln(&new(at)))),
                ("skopeo", Box::new(|at| skopeo_(&new(at)))),
                ("buildah", Box::new(|at| buildah(&new(at)))),
            ],
        );
        empty.borrow_mut().clear();
        let copy = |to: &str| {
            vec![self.kiln(
                store,
                &["copy", "-q", &format!("docker://{source}"), &format!("docker://{to}")],
            )]
        };
        self.row(
            "copy, empty registry",
            &[
                ("kiln", Box::new(|at| copy(&new(at)))),
                (
                    "skopeo",
                    Box::new(|at| {
                        vec![skopeo(
                            &format!("docker://{source}"),
                            &format!("docker://{}", new(at)),
                        )]
                    }),
                ),
            ],
        );
        empty.borrow_mut().clear();
        self.row(
            "push, unchanged",
            &[
                ("kiln", Box::new(|_| kiln(source))),
                ("skopeo", Box::new(|_| skopeo_(source))),
                ("buildah", Box::new(|_| buildah(&self.registry.name("debian:buildah")))),
            ],
        );
        let count = std::cell::Cell::new(0);
        let other = || {
            count.set(count.get() + 1);
            self.registry.name(&format!("other{}:1", count.get()))
        };
        self.row(
            "push, second repository",
            &[("kiln", Box::new(|_| kiln(&other()))), ("skopeo", Box::new(|_| skopeo_(&other())))],
        );
        for (work, to) in [("unchanged", source.clone()), ("second repository", other())] {
            let before = (self.registry.requests(), self.registry.uploads());
            let _ = measure(kiln(&to));
            let requests = self.registry.requests() - before.0;
            let uploads = self.registry.uploads() - before.1;
            println!(
                "| push, {work} | kiln | {requests} requests | {uploads} blobs uploaded | | |"
            );
        }
    }

    /// Archives, written and read.
    fn files(&self) {
        let source = &self.registry.name("debian:gzip");
        let own = &self.directory.join("saving");
        fs::create_dir(own).unwrap();
        let store = &own.join("store");
        printed("", &mut self.kiln(store, &["pull", "-q", source]));
        printed(
            "podman",
            &mut containers("podman", own, &["pull", "-q", "--tls-verify=false", source]),
        );
        let archive = &own.join("archive.tar").display().to_string();
        self.row(
            "save",
            &[
                (
                    "kiln",
                    Box::new(|at| {
                        vec![self.kiln(
                            store,
                            &["save", "-q", "-o", &at.join("a.tar").display().to_string(), source],
                        )]
                    }),
                ),
                (
                    "podman",
                    Box::new(|at| {
                        let to = at.join("a.tar").display().to_string();
                        vec![containers("podman", own, &["save", "-q", "-o", &to, source])]
                    }),
                ),
            ],
        );
        printed("podman", &mut containers("podman", own, &["save", "-q", "-o", archive, source]));
        self.row(
            "load",
            &[
                (
                    "kiln",
                    Box::new(|at| vec![self.kiln(&at.join("s"), &["load", "-q", "-i", archive])]),
                ),
                (
                    "podman",
                    Box::new(|at| vec![containers("podman", at, &["load", "-q", "-i", archive])]),
                ),
            ],
        );
    }

    /// Three layers merged to one.
    fn squashes(&self) {
        let own = &self.directory.join("squashing");
        fs::create_dir(own).unwrap();
        let archive = own.join("layers.tar").display().to_string();
        printed("", &mut self.kiln(&self.store, &["save", "-q", "-o", &archive, "store/layers"]));
        let from = containers(
            "buildah",
            own,
            &["from", "--name=base", &format!("docker-archive:{archive}")],
        );
        printed("buildah", &mut { from });
        let count = std::cell::Cell::new(0);
        self.row(
            "squash",
            &[
                (
                    "kiln",
                    Box::new(|_| {
                        count.set(count.get() + 1);
                        // Another time makes another image, so that nothing is found from the round before.
                        let time = count.get().to_string();
                        let args = [
                            "squash",
                            "--source-date-epoch",
                            &time,
                            "-t",
                            "store/squashed",
                            "store/layers",
                        ];
                        vec![self.kiln(&self.store, &args)]
                    }),
                ),
                (
                    "buildah",
                    Box::new(|_| {
                        vec![containers(
                            "buildah",
                            own,
                            &["commit", "-q", "--squash", "base", "squashed"],
                        )]
                    }),
                ),
            ],
        );
    }

    fn kiln(&self, store: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.arg("--root").arg(store).args(args);
        command.env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
        command
    }
}

/// One of the programs that share containers' storage, with a storage in this directory.
fn containers(program: &str, at: &Path, args: &[&str]) -> Command {
    let config = at.join("containers.conf");
    fs::write(&config, "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\n").unwrap();
    let mut command = Command::new(program);
    command.arg("--root").arg(at.join("root")).arg("--runroot").arg(at.join("run"));
    command.args(["--storage-driver", "overlay"]).args(args).env("CONTAINERS_CONF", config);
    command
}

fn skopeo(from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
    command
}
