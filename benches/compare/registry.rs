//! Debian's docker-registry on a free port of loopback, with a log of what it was asked.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A registry of its own; what it keeps stays, for deleting would slow down what is measured next.
pub(crate) struct Registry {
    child: Child,
    log: PathBuf,
    pub(crate) host: String,
}

impl Registry {
    /// Starts one that keeps everything in a directory, which is made.
    pub(crate) fn start(root: &Path) -> Self {
        fs::create_dir(root).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: s}}\n",
            root.display()
        );
        fs::write(root.join("config.yml"), config).unwrap();
        let log = root.join("log");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(root.join("config.yml"));
        command.stdout(fs::File::create(&log).unwrap()).stderr(Stdio::piped());
        let spawned = command.spawn();
        let mut child = spawned.expect("docker-registry runs: apt-get install docker-registry");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains("listening on")));
        let line = line.expect("the registry says where it listens");
        let address = line.split("listening on ").nth(1).unwrap();
        let host = address.split(['"', ',']).next().unwrap().to_owned();
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, log, host }
    }

    /// Returns the name of an image here.
    pub(crate) fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host)
    }

    /// Returns how many blobs it was sent so far: uploads that were ended, not ones that a mount made needless.
    pub(crate) fn uploads(&self) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter(|line| line.contains("\"PUT ") && line.contains("/blobs/")).count()
    }

    /// Returns how many requests it was sent so far.
    pub(crate) fn requests(&self) -> usize {
        fs::read_to_string(&self.log).unwrap().lines().count()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
