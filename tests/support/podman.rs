//! Podman with a store of the test's own.

use std::path::Path;
use std::process::Command;

use super::printed;

/// A podman that keeps everything in one directory, which goes with this value.
pub(crate) struct Podman {
    directory: tempfile::TempDir,
}

/// Nothing in /dev/shm or the journal.
const CONFIG: &str = "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\n";

impl Podman {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("containers.conf"), CONFIG).unwrap();
        Self { directory }
    }

    /// Runs podman, whose success is expected, and returns what it prints.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let mut command = Command::new("podman");
        for (flag, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(self.directory.path().join(name));
        }
        // This driver mounts nothing, so nothing is left behind.
        command.args(["--storage-driver", "vfs"]).args(args);
        command.env("CONTAINERS_CONF", self.directory.path().join("containers.conf"));
        printed("podman", &mut command)
    }

    /// Loads an archive and returns what `podman inspect` says of the image.
    pub(crate) fn load(&self, archive: &Path, image: &str) -> serde_json::Value {
        let loaded = self.run(&["load", "--quiet", "--input", archive.to_str().unwrap()]);
        assert_eq!(loaded, format!("Loaded image: {image}\n"));
        let inspected = self.run(&["image", "inspect", image]);
        let mut images: serde_json::Value = serde_json::from_str(&inspected).unwrap();
        images[0].take()
    }
}
