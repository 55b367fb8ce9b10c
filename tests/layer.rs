//! Layers as the outside sees them: what goes out, what comes in, and what is kept out.
//!
//! Runs as any user; as root it also covers owners, devices and trusted attributes.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "layer/hostile.rs"]
mod hostile;
#[path = "layer/lower.rs"]
mod lower;
#[path = "layer/roundtrip.rs"]
mod roundtrip;
#[path = "layer/squash.rs"]
mod squash;

use std::collections::HashMap;
use std::io::{self, Read};

use kiln::digest::ContentDigest;
use kiln::fs::PathError;
use kiln::layer::{
    Change, Changes, Contents, Flavour, Kind, Metadata, PackOptions, Timestamp, TreePath, pack,
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

/// As much of a layer as this user can have on disk.
fn flavour() -> Flavour {
    if rustix::process::geteuid().is_root() { Flavour::ROOT } else { Flavour::USER }
}

fn pack_all(changes: &Changes, contents: &dyn Contents) -> Vec<u8> {
    let mut out = Vec::new();
    let size = pack(changes, contents, &PackOptions::default(), &mut out).unwrap();
    assert_eq!(size, out.len() as u64);
    out
}

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

/// Writes tars that no sane program would.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn header(flag: u8, name: &[u8], link: &[u8], size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name);
        raw.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(if flag == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(size);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        header
    }

    fn add(mut self, flag: u8, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        let (name, data) = (name.as_ref(), data.as_ref());
        let is_link = matches!(flag, b'1' | b'2');
        let (link, data) = if is_link { (data, &b""[..]) } else { (&b""[..], data) };
        self.0.extend_from_slice(Self::header(flag, name, link, data.len() as u64).as_bytes());
        self.raw(data)
    }

    fn raw(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.add(b'5', name, "")
    }

    fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        self.add(b'0', name, data)
    }

    fn hard(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.add(b'1', name, to)
    }

    fn link(self, name: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Self {
        self.add(b'2', name, to)
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let bare = key.len() + value.len() + 3;
            let length = (bare..).find(|n| bare + n.to_string().len() == *n).unwrap();
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.add(b'x', "pax", data)
    }

    fn end(self) -> Vec<u8> {
        [self.0, vec![0; 1024]].concat()
    }
}
