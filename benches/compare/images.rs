//! Images on their way: pull, push, copy, save, load and squash.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::builder::{self, containers, kiln};
use super::registry::Registry;
use super::{Asked, Program, debian, printed, row};
use crate::measure::measure;

/// The rows, in groups that share what they need.
const PULLS: [&str; 4] = ["pull gzip", "pull zstd", "pull large gzip", "pull large zstd"];
const PUSHES: [&str; 4] =
    ["push, empty registry", "copy, empty registry", "push, unchanged", "push, second repository"];
const FILES: [&str; 2] = ["save", "load"];
const SQUASH: &str = "squash";

pub(crate) fn rows(asked: &Asked, at: &Path) {
    let wanted: Vec<bool> = [&PULLS[..], &PUSHES, &FILES, &[SQUASH]]
        .into_iter()
        .map(|works| asked.any(works))
        .collect();
    if !wanted.contains(&true) {
        return;
    }
    let images = Images::new(at);
    let groups: [fn(&Images, &Asked); 4] =
        [Images::pulls, Images::pushes, Images::files, Images::squashes];
    for (_, group) in wanted.into_iter().zip(groups).filter(|(wanted, _)| *wanted) {
        group(&images, asked);
    }
}

/// The images that are sent about, and where everything is kept.
struct Images {
    directory: PathBuf,
    registry: Registry,
    /// kiln's store with all images.
    store: PathBuf,
}

impl Images {
    fn new(directory: &Path) -> Self {
        fs::create_dir(directory).unwrap();
        let registry = Registry::start(&directory.join("registry"));
        let store = directory.join("store");
        let images = Self { directory: directory.to_owned(), registry, store };
        images.prepare("apt", "debian");
        images.prepare("gcc,g++,make,perl", "gcc");
        let lines =
            "FROM store/debian\nRUN cp -r /usr/lib /opt/lib\nRUN rm -r /opt/lib /usr/share\n";
        images.build("layers", lines, &[]);
        images
    }

    /// Makes an image of one layer with these packages of Debian, and pushes it with gzip and with zstd.
    fn prepare(&self, packages: &str, name: &str) {
        let rootfs = debian::rootfs(packages, |_| Vec::new()).join("rootfs.tar.xz");
        self.build(name, "FROM scratch\nADD rootfs.tar.xz /\nCMD [\"sh\"]\n", &[&rootfs]);
        for compression in ["gzip", "zstd"] {
            let to = self.registry.name(&format!("{name}:{compression}"));
            let push = ["push", "--quiet", "--compression", compression];
            let mut push = kiln_(&self.store, &push);
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
        printed("", kiln_(&self.store, &args).arg(context));
    }

    /// A program that runs in a new directory each round.
    fn program<'a>(&self, name: &str, run: impl Fn(&Path) -> Vec<Command> + 'a) -> Program<'a> {
        let (directory, count) = (self.directory.clone(), Cell::new(0));
        let program = name.replace([' ', '+'], "-");
        Program::new(name, move |_| {
            loop {
                count.set(count.get() + 1);
                let at = directory.join(format!("{program}-{}", count.get()));
                if fs::create_dir(&at).is_ok() {
                    return run(&at);
                }
            }
        })
    }

    /// Pull and unpack, from an empty store.
    fn pulls(&self, asked: &Asked) {
        let names = ["debian:gzip", "debian:zstd", "gcc:gzip", "gcc:zstd"];
        for (work, image) in PULLS.into_iter().zip(names).filter(|(work, _)| asked.any(&[work])) {
            let image = &self.registry.name(image);
            let quiet = ["pull", "-q", image];
            let unsafely = ["pull", "-q", "--tls-verify=false", image];
            let docker = builder::docker(&self.directory.join(work));
            let mut programs = vec![
                self.program("kiln", move |at| vec![kiln_(&at.join("s"), &quiet)]),
                self.program("buildah", move |at| vec![containers("buildah", at, &unsafely)]),
                self.program("podman", move |at| vec![containers("podman", at, &unsafely)]),
            ];
            let daemons = docker.daemons();
            let pull = |_: &Path| {
                let docker = |args: &[&str]| {
                    let mut command = docker.docker_command();
                    command.args(args);
                    command
                };
                printed("docker.io", &mut docker(&["system", "prune", "--all", "--force"]));
                vec![docker(&quiet)]
            };
            programs.push(Program { daemons, ..self.program("docker", pull) });
            // Debian's umoci does not know zstd.
            if work.ends_with("gzip") {
                programs.push(self.program("skopeo + umoci", |at| {
                    let layout = format!("oci:{}/l:1", at.display());
                    let mut unpack = Command::new("umoci");
                    unpack.args(["unpack", "--image"]).arg(at.join("l:1")).arg(at.join("bundle"));
                    vec![skopeo(&format!("docker://{image}"), &layout), unpack]
                }));
            }
            row(work, &programs);
        }
    }

    /// Push of an image that was pulled, to a registry that has nothing and to one that has all of it.
    fn pushes(&self, asked: &Asked) {
        let source = &self.registry.name("debian:gzip");
        let own = &self.directory.join("pushing");
        fs::create_dir(own).unwrap();
        let (store, layout) = (&own.join("store"), &format!("oci:{}/layout:1", own.display()));
        let from = &format!("docker://{source}");
        printed("", &mut kiln_(store, &["pull", "-q", source]));
        printed("skopeo", &mut skopeo(from, layout));
        let pull = ["pull", "-q", "--tls-verify=false", source];
        printed("buildah", &mut containers("buildah", own, &pull));

        let kiln = |to: &str| vec![kiln_(store, &["push", "-q", source, to])];
        let copy = |to: &str| vec![kiln_(store, &["copy", "-q", from, &format!("docker://{to}")])];
        let skopeo_ = |from: &str, to: &str| vec![skopeo(from, &format!("docker://{to}"))];
        let buildah = |to: &str| {
            let to = format!("docker://{to}");
            vec![containers("buildah", own, &["push", "-q", "--tls-verify=false", source, &to])]
        };
        let empty = RefCell::new(Vec::new());
        let new = |at: &Path| {
            let registry = Registry::start(&at.join("registry"));
            let name = registry.name("pushed:1");
            empty.borrow_mut().push(registry);
            name
        };
        let count = Cell::new(0);
        let other = || {
            count.set(count.get() + 1);
            self.registry.name(&format!("other{}:1", count.get()))
        };
        let rows = [
            vec![
                self.program("kiln", |at| kiln(&new(at))),
                self.program("skopeo", |at| skopeo_(layout, &new(at))),
                self.program("buildah", |at| buildah(&new(at))),
            ],
            vec![
                self.program("kiln", |at| copy(&new(at))),
                self.program("skopeo", |at| skopeo_(from, &new(at))),
            ],
            vec![
                self.program("kiln", |_| kiln(source)),
                self.program("skopeo", |_| skopeo_(layout, source)),
                self.program("buildah", |_| buildah(&self.registry.name("debian:buildah"))),
            ],
            vec![
                self.program("kiln", |_| kiln(&other())),
                self.program("skopeo", |_| skopeo_(layout, &other())),
            ],
        ];
        for (work, programs) in PUSHES.into_iter().zip(rows).filter(|(work, _)| asked.any(&[work]))
        {
            row(work, &programs);
            empty.borrow_mut().clear();
        }
        for (work, to) in [("unchanged", source.clone()), ("second repository", other())] {
            let before = (self.registry.requests(), self.registry.uploads());
            measure(kiln(&to), &[], false).unwrap();
            let requests = self.registry.requests() - before.0;
            let uploads = self.registry.uploads() - before.1;
            println!("| push, {work} | kiln | {requests} requests, {uploads} blobs | | | |");
        }
    }

    /// Archives, written and read.
    fn files(&self, asked: &Asked) {
        let source = &self.registry.name("debian:gzip");
        let own = &self.directory.join("saving");
        fs::create_dir(own).unwrap();
        let store = &own.join("store");
        printed("", &mut kiln_(store, &["pull", "-q", source]));
        let pull = ["pull", "-q", "--tls-verify=false", source];
        printed("podman", &mut containers("podman", own, &pull));
        let archive = &own.join("archive.tar").display().to_string();
        printed("podman", &mut containers("podman", own, &["save", "-q", "-o", archive, source]));
        let to = |at: &Path| at.join("a.tar").display().to_string();
        let load = ["load", "-q", "-i", archive];
        let rows = [
            vec![
                self.program("kiln", |at| {
                    vec![kiln_(store, &["save", "-q", "-o", &to(at), source])]
                }),
                self.program("podman", |at| {
                    vec![containers("podman", own, &["save", "-q", "-o", &to(at), source])]
                }),
            ],
            vec![
                self.program("kiln", |at| vec![kiln_(&at.join("s"), &load)]),
                self.program("podman", |at| vec![containers("podman", at, &load)]),
            ],
        ];
        for (work, programs) in FILES.into_iter().zip(rows).filter(|(work, _)| asked.any(&[work])) {
            row(work, &programs);
        }
    }

    /// Three layers merged to one.
    fn squashes(&self, _: &Asked) {
        let own = &self.directory.join("squashing");
        fs::create_dir(own).unwrap();
        let archive = own.join("layers.tar").display().to_string();
        printed("", &mut kiln_(&self.store, &["save", "-q", "-o", &archive, "store/layers"]));
        let archive = format!("docker-archive:{archive}");
        let mut from = containers("buildah", own, &["from", "--name=base", &archive]);
        printed("buildah", &mut from);
        let squash = |time: usize| {
            // Another time makes another image, so that nothing is found from the round before.
            let time = time.to_string();
            let names = ["-t", "store/squashed", "store/layers"];
            let mut command = kiln_(&self.store, &["squash", "--source-date-epoch", &time]);
            command.args(names);
            vec![command]
        };
        let commit = ["commit", "-q", "--squash", "base", "squashed"];
        row(
            SQUASH,
            &[
                Program::new("kiln", squash),
                Program::new("buildah", |_| vec![containers("buildah", own, &commit)]),
            ],
        );
    }
}

fn kiln_(store: &Path, args: &[&str]) -> Command {
    let mut command = kiln(store);
    command.args(args);
    command
}

fn skopeo(from: &str, to: &str) -> Command {
    let mut command = Command::new("skopeo");
    command.args(["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
    command
}
