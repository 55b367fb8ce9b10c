//! Unpacking into a directory beside things that must stay as they are: whatever the archive, nothing else is touched,
//! and what is on disk is what the changes say.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use kiln::layer::{Change, Changes, Flavour, LayerError, Limits, Tree, unpack};
use rustix::io::Errno;

/// What stands beside the root: names that archives use, of every kind that can be written to or through.
pub(crate) struct Yard {
    /// Keeps it until the end.
    dir: tempfile::TempDir,
    before: Vec<String>,
}

impl Yard {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() {
            // Thousands of them are made.
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        let dir = dir.expect("a temporary directory");
        let make = || {
            fs::create_dir(dir.path().join("root"))?;
            fs::create_dir_all(dir.path().join("dir/near"))?;
            fs::write(dir.path().join("near"), "untouched")?;
            fs::write(dir.path().join("dir/a"), "untouched")?;
            symlink("near", dir.path().join("a"))
        };
        make().expect("a yard");
        let before = listing(dir.path());
        Self { dir, before }
    }

    /// The directory to unpack into.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Returns what has changed beside the root.
    pub(crate) fn damage(&self) -> Option<String> {
        let after = listing(self.dir.path());
        (after != self.before).then(|| format!("{:#?}\nbecame\n{after:#?}", self.before))
    }

    /// Panics if something has changed beside the root.
    pub(crate) fn assert_untouched(&self) {
        if let Some(damage) = self.damage() {
            panic!("something beside the root was touched: {damage}");
        }
    }

    /// Unpacks a tar into the root. Nothing else is touched, and the root has a file for every change and no other.
    pub(crate) fn unpack(
        &self,
        tar: &[u8],
        parent: Option<&Tree>,
        limits: Limits,
    ) -> kiln::layer::Result<Changes> {
        let result = unpack(tar, &self.root(), parent, limits, flavour());
        self.assert_untouched();
        match &result {
            Ok(changes) => assert_on_disk(&self.root(), changes),
            // The kernel may find a name too long or an attribute odd; all else is to be said of the archive.
            Err(LayerError::Path(error)) => {
                let code = error.source.raw_os_error().map(Errno::from_raw_os_error);
                let expected = [Errno::NAMETOOLONG, Errno::INVAL, Errno::NOSPC, Errno::TOOBIG];
                assert!(code.is_some_and(|code| expected.contains(&code)), "{error:?}");
            }
            Err(_) => {}
        }
        result
    }
}

/// As much of a layer as this user can have on disk.
pub(crate) fn flavour() -> Flavour {
    if rustix::process::geteuid().is_root() { Flavour::ROOT } else { Flavour::USER }
}

/// Everything in a directory but what is in `root`, with all that a careless reader could change: a hard link made to
/// it shows in the number of names, a file made and removed again in the directory's time.
fn listing(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).expect("it is there");
        let content = if meta.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        if path == dir.join("root") {
            continue;
        }
        let (mode, owner, links) = (meta.mode(), (meta.uid(), meta.gid()), meta.nlink());
        let time = (meta.mtime(), meta.mtime_nsec());
        all.push(format!("{} {mode:o} {owner:?} {links} {time:?} {content:?}", path.display()));
        if meta.is_dir() {
            let entries = fs::read_dir(&path).expect("it can be listed");
            pending.extend(entries.map(|entry| entry.expect("it can be listed").path()));
        }
    }
    all.sort();
    all
}

/// Compares the names on disk with the changes.
fn assert_on_disk(root: &Path, changes: &Changes) {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let path = entry.path();
            if entry.file_type().expect("it has a type").is_dir() {
                pending.push(path.clone());
            }
            found.push(path.strip_prefix(root).expect("it is beneath").to_owned());
        }
    }
    found.sort();
    let expected = changes.iter().filter(|(path, _)| !path.is_root());
    let mut expected: Vec<PathBuf> = expected.map(|(path, _)| path.as_path().to_owned()).collect();
    expected.sort();
    assert_eq!(found, expected);
    for (path, change) in changes {
        if let Change::Put { kind: kiln::layer::Kind::File { size, .. }, .. } = change {
            let meta = fs::symlink_metadata(root.join(path.as_path())).expect("it is there");
            assert!(meta.is_file() && meta.len() == *size, "{path}");
        }
    }
}
