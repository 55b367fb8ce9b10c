//! A docker daemon of the test's own: it shares nothing with one that the machine may run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{on_path, printed};

/// A running daemon with a data root, socket and containerd namespace of its own; ends with this value.
pub(crate) struct Docker {
    daemon: Child,
    directory: tempfile::TempDir,
}

impl Docker {
    /// Starts the daemon and waits until it answers.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("config.json"), "{}").unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let namespace = format!("kiln-test-{}", std::process::id());
        let mut command = Command::new("dockerd");
        for (flag, name) in [
            ("--config-file", "config.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(flag).arg(at(name));
        }
        command.arg("--host").arg(socket(directory.path()));
        // Where the machine has a containerd, the daemon uses it, and must not meet the machine's own docker there.
        command.args(["--containerd-namespace", &namespace]);
        command.args(["--containerd-plugins-namespace", &format!("{namespace}-plugins")]);
        command.args(["--iptables=false", "--bridge=none"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = on_path(&mut command).spawn().unwrap_or_else(|error| {
            panic!("cannot run `dockerd`: {error}; this test needs it: apt-get install docker.io")
        });
        let mut docker = Self { daemon, directory };
        docker.wait();
        docker
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        let mut ask = self.client(&["version"]);
        let mut answers = || ask.output().is_ok_and(|output| output.status.success());
        while !answers() {
            let ended = self.daemon.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > Duration::from_secs(100) {
                let log = std::fs::read_to_string(self.directory.path().join("log"));
                panic!("dockerd does not serve ({ended:?}):\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env_remove("DOCKER_CONTEXT").env("DOCKER_CONFIG", self.directory.path());
        command.env("DOCKER_HOST", socket(self.directory.path())).args(args);
        command
    }

    /// Runs the client, whose success is expected, and returns what it prints.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        printed("docker.io", &mut self.client(args))
    }

    /// Loads an archive and returns what `docker inspect` says of the image.
    pub(crate) fn load(&self, archive: &Path, image: &str) -> serde_json::Value {
        let loaded = self.run(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
        assert_eq!(loaded.lines().last(), Some(format!("Loaded image: {image}").as_str()));
        let inspected = self.run(&["image", "inspect", image]);
        let mut images: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        images[0].take()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Asked politely, the daemon ends its containerd and unmounts what it mounted.
        let pid = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        drop(self.daemon.wait());
    }
}

fn socket(directory: &Path) -> String {
    let path: PathBuf = directory.join("socket");
    format!("unix://{}", path.display())
}
