//! A store with one image of every kind of layer, whose digest is the same whenever it is made, and copies of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ended, Kiln, ended, tool};

/// A layer of a COPY, a RUN's with files of every kind, a COPY's whose files a RUN mounts, and one with a whiteout. The
/// times are set, and what a RUN needs to mount is there, so that a step that is done again makes the same layer.
pub(crate) const TEXT: &str = "FROM scratch\nCOPY busybox /bin/busybox\n\
    WORKDIR /proc\nWORKDIR /sys\nWORKDIR /dev\nWORKDIR /\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n\
    RUN b=/bin/busybox; $b mkdir /own && echo own > /own/f && $b chown 7:8 /own/f && $b chmod 640 /own/f && \
    $b ln /own/f /own/hard && $b ln -s f /own/link && $b touch -h -d @1 /own/link && $b touch -d @1 /own/f /own\n\
    COPY small /copied\n\
    RUN b=/bin/busybox; $b rm /copied && $b mkdir /last && $b touch -d @1 /last\n";

/// A prepared store.
pub(crate) struct Prepared {
    pub(crate) kiln: Kiln,
    /// What building prints.
    pub(crate) id: String,
    /// The manifest's digest.
    pub(crate) digest: String,
}

impl Prepared {
    pub(crate) fn new() -> Self {
        let kiln = Kiln::new();
        kiln.file("small", "small");
        kiln.file("Dockerfile", TEXT);
        let mut prepared = Self { kiln, id: String::new(), digest: String::new() };
        let built = prepared.build();
        assert_eq!(built.code, Some(0), "{}", built.stderr);
        prepared.id = built.stdout;
        prepared.digest = prepared.manifest();
        prepared.settle();
        copy(&prepared.state(), &prepared.kiln.path("pristine"));
        prepared
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.kiln.path("state")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.kiln.command(args);
        command.env("SOURCE_DATE_EPOCH", "100");
        command
    }

    pub(crate) fn build(&self) -> Ended {
        let args = ["build", "--progress", "plain", "-t", "app", "."];
        ended(self.command(&args).output().unwrap())
    }

    /// What the name `app` means.
    pub(crate) fn manifest(&self) -> String {
        let shown = self.kiln.run(&["inspect", "-f", "{{.Digest}}", "app"]);
        assert_eq!(shown.code, Some(0), "{}", shown.stderr);
        shown.stdout.trim().to_owned()
    }

    /// Waits until nobody touches the state root: what flushes it writes a mark.
    pub(crate) fn settle(&self) {
        assert_eq!(self.kiln.run(&["settle"]).code, Some(0));
    }

    /// Puts the store back as it was when it was prepared.
    pub(crate) fn restore(&self) {
        copy(&self.kiln.path("pristine"), &self.state());
    }

    pub(crate) fn check(&self, args: &[&str]) -> Ended {
        self.kiln.run(&[&["check-store", "--progress", "quiet"], args].concat())
    }

    /// A build gives the image of the undisturbed store, and then the store is as it should be.
    pub(crate) fn assert_builds(&self, why: &str) {
        let built = self.build();
        assert_eq!(built.code, Some(0), "{why}: {}", built.stderr);
        assert_eq!((&built.stdout, &self.manifest()), (&self.id, &self.digest), "{why}");
        self.assert_sound(why);
    }

    pub(crate) fn assert_sound(&self, why: &str) {
        let checked = self.check(&["--dry-run"]);
        assert_eq!(checked.code, Some(0), "{why}: {}{}", checked.stdout, checked.stderr);
        assert!(checked.stdout.ends_with(" read: all is well\n"), "{why}: {}", checked.stdout);
        assert_eq!(checked.stdout.lines().count(), 1, "{why}: {}", checked.stdout);
    }

    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.state().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// The layer whose directory has a file, or a directory; one that hides it has a device in its place.
    pub(crate) fn layer(&self, file: &str) -> String {
        let entries = std::fs::read_dir(self.state().join("snapshots")).unwrap();
        let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        let is_there = |path: &Path| path.is_file() || path.is_dir();
        let path = paths.iter().find(|path| is_there(&path.join("fs").join(file))).unwrap();
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    pub(crate) fn files(&self, layer: &str) -> PathBuf {
        self.state().join("snapshots").join(layer).join("fs")
    }

    /// The records of a kind, by name, with what is in them.
    pub(crate) fn records(&self, kind: &str) -> BTreeMap<String, (PathBuf, String)> {
        let top = self.state().join("records").join(kind);
        let files = walkdir::WalkDir::new(top).into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().is_file());
        files
            .map(|entry| {
                let text =
                    String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
                (entry.file_name().to_str().unwrap().to_owned(), (entry.into_path(), text))
            })
            .collect()
    }
}

/// Copies a directory with everything that a file can have.
pub(crate) fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    tool("coreutils", "cp", &["--archive", from.to_str().unwrap(), to.to_str().unwrap()]);
}
