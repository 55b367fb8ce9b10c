//! The builders that are compared: kiln, and those that this machine has.
//!
//! Each has a store of its own, the host's network for RUN, and no output but what is asked for; buildah isolates by
//! chroot, its fastest way.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// The environment variable with the directory of a newer `buildkitd` and `buildctl`.
pub(crate) const BUILDKIT: &str = "KILN_BENCH_BUILDKIT";

/// What a build is to give.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Result<'a> {
    /// What it keeps for itself.
    Kept,
    /// An image with this name.
    Named(&'a str),
    /// An archive of OCI's with layers compressed in this way.
    Archive(&'a Path, &'a str),
}

/// A builder with a store.
pub(crate) struct Builder {
    pub(crate) name: &'static str,
    at: PathBuf,
    /// The daemon, if it is one; it ends with this.
    daemon: Option<Child>,
}

/// All builders, each with an empty store beneath a directory.
pub(crate) fn all(at: &Path) -> Vec<Builder> {
    let mut builders = vec![Builder::new("kiln", at), Builder::new("buildah", at)];
    builders.push(docker(at));
    if let Some(programs) = std::env::var_os(BUILDKIT) {
        builders.push(buildkitd(Builder::new("buildkit", at), Path::new(&programs)));
    }
    builders
}

/// Debian's docker, with an empty store.
pub(crate) fn docker(at: &Path) -> Builder {
    dockerd(Builder::new("docker", at))
}

impl Builder {
    fn new(name: &'static str, at: &Path) -> Self {
        let at = at.join(name);
        fs::create_dir_all(&at).unwrap();
        Self { name, at, daemon: None }
    }

    /// The processes that work for its commands.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        self.daemon.iter().map(Child::id).collect()
    }

    /// The commands of a build of the Dockerfile of a context; `None`: it cannot give that result.
    pub(crate) fn build(&self, context: &Path, result: Result<'_>) -> Option<Vec<Command>> {
        match self.name {
            "kiln" => Some(vec![self.kiln(context, result)]),
            "buildah" => Some(self.buildah(context, result)),
            "docker" => self.docker(context, result).map(|command| vec![command]),
            _ => Some(vec![self.buildctl(context, result)]),
        }
    }

    fn kiln(&self, context: &Path, result: Result<'_>) -> Command {
        let mut command = kiln(&self.at);
        command.args(["build", "--quiet", "--network=host"]);
        match result {
            Result::Kept => &mut command,
            Result::Named(name) => command.args(["--tag", name]),
            Result::Archive(to, compression) => {
                let to = to.display();
                command.args(["--output", &format!("type=oci,dest={to},compression={compression}")])
            }
        };
        command.arg(context);
        command
    }

    fn buildah(&self, context: &Path, result: Result<'_>) -> Vec<Command> {
        let build = ["build", "-q", "--layers", "--isolation=chroot", "--network=host", "-t"];
        let name = match result {
            Result::Named(name) => name,
            _ => "built",
        };
        let mut command = containers("buildah", &self.at, &build);
        command.arg(name).arg(context);
        let Result::Archive(to, compression) = result else { return vec![command] };
        let to = format!("oci-archive:{}", to.display());
        let push = ["push", "-q", "--compression-format", compression, name, &to];
        vec![command, containers("buildah", &self.at, &push)]
    }

    /// Debian's dockerd writes no archives with compressed layers.
    fn docker(&self, context: &Path, result: Result<'_>) -> Option<Command> {
        let mut command = self.docker_command();
        command.args(["build", "-q", "--network=host"]);
        match result {
            Result::Kept => {}
            Result::Named(name) => {
                command.args(["-t", name]);
            }
            Result::Archive(..) => return None,
        }
        command.arg(context);
        Some(command)
    }

    /// `docker` with its own daemon.
    pub(crate) fn docker_command(&self) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.env("DOCKER_BUILDKIT", "1").env("DOCKER_CONFIG", &self.at);
        command.arg("--host").arg(format!("unix://{}/socket", self.at.display()));
        command
    }

    fn buildctl(&self, context: &Path, result: Result<'_>) -> Command {
        let mut command = self.buildctl_command();
        command.args(["build", "--progress=plain", "--frontend=dockerfile.v0"]);
        for name in ["context", "dockerfile"] {
            command.arg("--local").arg(format!("{name}={}", context.display()));
        }
        match result {
            Result::Kept => {}
            Result::Named(name) => {
                command.args(["--output", &format!("type=image,name={name}")]);
            }
            Result::Archive(to, compression) => {
                let to = format!("type=oci,dest={},compression={compression}", to.display());
                command.args(["--output", &to]);
            }
        }
        command
    }

    /// `buildctl` with its own daemon.
    fn buildctl_command(&self) -> Command {
        let programs = std::env::var_os(BUILDKIT).expect("it was set when this began");
        let mut command = Command::new(Path::new(&programs).join("buildctl"));
        command.arg("--addr").arg(format!("unix://{}/socket", self.at.display()));
        command
    }

    /// Waits until the daemon answers.
    fn answering(self, ask: impl Fn(&Self) -> Command) -> Self {
        for _ in 0..150 {
            let mut command = ask(&self);
            let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            if output.status.success() {
                return self;
            }
            sleep(Duration::from_millis(200));
        }
        panic!("{} does not answer; it says why in {}/log", self.name, self.at.display());
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let pid = rustix::process::Pid::from_child(daemon);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            drop(daemon.wait());
        }
    }
}

fn started(mut builder: Builder, mut command: Command) -> Builder {
    let log = File::create(builder.at.join("log")).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
    builder.daemon = Some(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
    builder
}

fn dockerd(builder: Builder) -> Builder {
    let at = &builder.at;
    fs::write(at.join("config.json"), "{}").unwrap();
    let mut command = Command::new("dockerd");
    command.args(["--iptables=false", "--bridge=none"]);
    command.arg("--config-file").arg(at.join("config.json"));
    command.arg("--data-root").arg(at.join("data")).arg("--exec-root").arg(at.join("exec"));
    command.arg("--pidfile").arg(at.join("pid"));
    command.arg("--host").arg(format!("unix://{}/socket", at.display()));
    let ask = |builder: &Builder| {
        let mut command = builder.docker_command();
        command.arg("info");
        command
    };
    started(builder, command).answering(ask)
}

fn buildkitd(builder: Builder, programs: &Path) -> Builder {
    let at = &builder.at;
    fs::write(at.join("config.toml"), "[worker.oci]\n  gc = false\n").unwrap();
    let mut command = Command::new(programs.join("buildkitd"));
    command.args(["--containerd-worker=false", "--oci-worker-net=host"]);
    command.args(["--oci-worker-binary=runc", "--oci-worker-snapshotter=overlayfs"]);
    command.arg("--config").arg(at.join("config.toml")).arg("--root").arg(at.join("data"));
    command.arg("--addr").arg(format!("unix://{}/socket", at.display()));
    let ask = |builder: &Builder| {
        let mut command = builder.buildctl_command();
        command.args(["debug", "workers"]);
        command
    };
    started(builder, command).answering(ask)
}

/// kiln with a store in this directory.
pub(crate) fn kiln(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.arg("--root").arg(store).env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    command
}

/// One of the programs that share containers' storage, with a storage in this directory.
pub(crate) fn containers(program: &str, at: &Path, args: &[&str]) -> Command {
    let config = at.join("containers.conf");
    fs::write(&config, "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\n").unwrap();
    let mut command = Command::new(program);
    command.arg("--root").arg(at.join("root")).arg("--runroot").arg(at.join("run"));
    command.args(["--storage-driver", "overlay"]).args(args).env("CONTAINERS_CONF", config);
    command
}
