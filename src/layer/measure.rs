//! How much the files of a layer are, as docker counts it: contents, and where symbolic links point. A further name of
//! a file counts nothing, nor do directories.

use std::io::Read;

use super::reader::Reader;
use super::{Change, Changes, Kind, LayerError, Limits, Result};

impl Changes {
    /// Returns the bytes of all files and symbolic links.
    pub fn file_bytes(&self) -> u64 {
        let size = |(_, change): (_, &Change)| match change {
            Change::Put { kind: Kind::File { size, .. }, .. } => *size,
            Change::Put { kind: Kind::Symlink { target }, .. } => target.len() as u64,
            Change::Put { .. } | Change::Remove | Change::Clear { .. } => 0,
        };
        self.iter().map(size).fold(0, u64::saturating_add)
    }
}

/// Reads a layer's tar, already decompressed, only to return the bytes of all files and symbolic links in it.
pub fn file_bytes(input: impl Read, limits: Limits) -> Result<u64> {
    let mut reader = Reader::new(input);
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    while let Some(entry) = reader.next()? {
        entries += 1;
        bytes = bytes.saturating_add(match entry.flag {
            b'0' | b'S' => entry.size,
            b'2' => entry.link.len() as u64,
            _ => 0,
        });
        if entries > limits.entries || bytes > limits.bytes {
            return Err(LayerError::Archive("it holds too much"));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{Metadata, Nowhere, PackOptions, TreePath, pack};
    use super::*;
    use crate::digest::ContentDigest;

    #[test]
    fn a_tar_measures_what_its_changes_do() {
        let path = |text: &str| TreePath::clean(text).unwrap();
        let meta = Metadata { mode: 0o755, ..Metadata::default() };
        let empty = ContentDigest::of(b"");
        let mut changes = Changes::new();
        changes.put(path("d"), Kind::Directory, meta.clone());
        changes.put(path("d/empty"), Kind::File { size: 0, content: empty }, meta.clone());
        changes.put(path("d/more"), Kind::Hardlink { to: path("d/empty") }, meta.clone());
        changes.put(path("d/link"), Kind::Symlink { target: b"12345".to_vec() }, meta.clone());
        changes.insert(path("gone"), Change::Remove);
        let mut tar = Vec::new();
        pack(&changes, &Nowhere, &PackOptions::default(), &mut tar).unwrap();
        assert_eq!(changes.file_bytes(), 5);
        assert_eq!(file_bytes(&*tar, Limits::default()).unwrap(), 5);
        changes.put(path("d/file"), Kind::File { size: 1000, content: empty }, meta);
        assert_eq!(changes.file_bytes(), 1005);
        assert!(file_bytes(&tar[..700], Limits::default()).is_err());
        let one = Limits { entries: 1, ..Limits::default() };
        assert!(file_bytes(&*tar, one).is_err());
    }
}
