//! What several benches are given: paths, contents that compress like a system's files, and long lists of changes.

use kiln::digest::ContentDigest;
use kiln::layer::{Changes, Kind, Metadata, Timestamp, TreePath};

/// Makes a path.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::clean(text).expect("a path")
}

/// What every file has.
pub(crate) fn meta() -> Metadata {
    let mtime = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
    Metadata { mode: 0o755, mtime, ..Metadata::default() }
}

/// Makes a content, half of it hard to compress; each seed gives another one.
pub(crate) fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let words = ["return ", "static ", "struct ", "the ", "library ", "const char *", "\n    "];
    let mut out = Vec::with_capacity(size + 32);
    while out.len() < size {
        if (next() >> 8) % 8 == 0 {
            out.extend_from_slice(&next().to_le_bytes());
        }
        out.extend_from_slice(words[(next() >> 8) as usize % words.len()].as_bytes());
        out.extend_from_slice(&next().to_le_bytes()[..2]);
    }
    out.truncate(size);
    out
}

/// Makes so many files in directories of 25, as an installed system has them.
pub(crate) fn system(files: u64) -> Changes {
    let mut changes = Changes::new();
    changes.put(path("usr"), Kind::Directory, meta());
    for i in 0..files {
        let dir = format!("usr/share/package-{}", i / 25);
        changes.put(path("usr/share"), Kind::Directory, meta());
        changes.put(path(&dir), Kind::Directory, meta());
        let content = ContentDigest::of(&i.to_le_bytes());
        let kind = Kind::File { size: i, content };
        changes.put(path(&format!("{dir}/file-{i}.txt")), kind, meta());
    }
    changes
}
