//! Layers as the outside sees them: what goes out, what comes in, and what is kept out.
//!
//! Runs as any user; as root it also covers owners, devices and trusted attributes.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "fuzzed/checks/directory.rs"]
mod directory;
#[path = "layer/hostile.rs"]
mod hostile;
#[path = "layer/lower.rs"]
mod lower;
#[path = "layer/roundtrip.rs"]
mod roundtrip;
#[path = "layer/squash.rs"]
mod squash;
#[path = "fuzzed/checks/tarball.rs"]
mod tarball;

use std::collections::HashMap;
use std::io::{self, Read};

use directory::flavour;
use kiln::digest::ContentDigest;
use kiln::fs::PathError;
use kiln::layer::{
    Change, Changes, Contents, Kind, Metadata, PackOptions, Timestamp, TreePath, pack,
};

/// Contents in memory.
#[derive(Default)]
struct Memory(HashMap<TreePath, Vec<u8>>);

impl Contents for Memory {
    fn open(&self, path: &TreePath) -> kiln::fs::Result<Box<dyn Read + Send + '_>> {
        match self.0.get(path) {
            Some(bytes) => Ok(Box::new(bytes.as_slice())),
            None => Err(PathError::of("open", path.as_path())(io::ErrorKind::NotFound)),
        }
    }
}

fn path(text: &str) -> TreePath {
    TreePath::clean(text).unwrap()
}

fn meta(mode: u32) -> Metadata {
    let mtime = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
    Metadata { mode, mtime, ..Metadata::default() }
}

fn file(text: &[u8]) -> Kind {
    Kind::File { size: text.len() as u64, content: ContentDigest::of(text) }
}

fn pack_all(changes: &Changes, contents: &dyn Contents) -> Vec<u8> {
    let mut out = Vec::new();
    let size = pack(changes, contents, &PackOptions::default(), &mut out).unwrap();
    assert_eq!(size, out.len() as u64);
    out
}

use tarball::Tarball;

/// Prints changes one a line.
fn list(changes: &Changes) -> Vec<String> {
    let mark = |change: &Change| match change {
        Change::Remove => "gone".to_owned(),
        Change::Clear { .. } => "clear".to_owned(),
        Change::Put { kind: Kind::Directory, .. } => "dir".to_owned(),
        Change::Put { kind: Kind::File { size, .. }, .. } => format!("file {size}"),
        Change::Put { kind: Kind::Hardlink { to }, .. } => format!("hard {to}"),
        Change::Put { kind: Kind::Symlink { target }, .. } => {
            format!("link {}", String::from_utf8_lossy(target))
        }
        Change::Put { kind: Kind::CharDevice { major, minor }, .. } => {
            format!("char {major}:{minor}")
        }
        Change::Put { kind: Kind::BlockDevice { major, minor }, .. } => {
            format!("block {major}:{minor}")
        }
        Change::Put { kind: Kind::Fifo, .. } => "fifo".to_owned(),
    };
    changes.iter().map(|(path, change)| format!("{path} {}", mark(change))).collect()
}
