//! A plain tar of a few named files: what image archives are made of.
//!
//! Invariant: same files, same bytes; everything belongs to root, is as old as the epoch, and has the usual mode.

use std::io::{self, Read, Write};

use super::header::{BLOCK, Header, padding};

/// A tar being written.
pub struct Bundle<W: Write>(W);

impl<W: Write> Bundle<W> {
    /// Begins a tar.
    pub const fn new(out: W) -> Self {
        Self(out)
    }

    /// Adds a directory.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        let name = format!("{}/", name.trim_end_matches('/'));
        self.header(&Header { mode: 0o755, ..Header::new(b'5', name.as_bytes()) })
    }

    /// Adds a file of exactly `size` bytes.
    pub fn file(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.header(&Header { mode: 0o644, size, ..Header::new(b'0', name.as_bytes()) })?;
        let copied = io::copy(&mut content.take(size), &mut self.0)?;
        if copied != size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("`{name}` is too short"),
            ));
        }
        self.0.write_all(&[0; BLOCK][..padding(size)])
    }

    /// Ends the tar and returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        self.0.flush()?;
        Ok(self.0)
    }

    fn header(&mut self, header: &Header<'_>) -> io::Result<()> {
        let mut block = Vec::new();
        header.write(&mut block).map_err(io::Error::other)?;
        self.0.write_all(&block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_reads_back() {
        let mut bundle = Bundle::new(Vec::new());
        bundle.directory("blobs").unwrap();
        bundle.file("blobs/a", 3, &b"abcd"[..]).unwrap();
        assert!(bundle.file("short", 5, &b"abc"[..]).is_err());
        let mut bundle = Bundle::new(Vec::new());
        bundle.file("a", 3, &b"abc"[..]).unwrap();
        let bytes = bundle.finish().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!((entry.path().unwrap().to_str(), text.as_str()), (Some("a"), "abc"));
    }
}
