//! Changes to tar, byte for byte as containerd's differ writes them.
//!
//! Invariant: the bytes depend on the changes and the options alone. Every content is verified against the
//! changes while it is written, so a file edited meanwhile cannot get into a layer under the wrong digest. A
//! layer is never in memory, only one buffer of it. Compression and digests are the caller's writers.
//!
//! Of extended attributes only `security.capability` is written, as BuildKit does.

use std::io::{self, Read, Write};

use super::batch::{is_small, small_files};
use super::contents::Offsets;
use super::error::{LayerError, Result, misfit};
use super::header::{BLOCK, Header, padding};
use super::sequence::{Sequence, complete};
use super::whiteout::{OPAQUE, PREFIX};
use super::{Change, Changes, Contents, Kind, Metadata, TreePath};
use crate::digest::{ContentDigest, ContentHasher};

const BUFFER: usize = 256 << 10;

/// What can be chosen about a layer's tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackOptions {
    /// No file is younger than this, in seconds since the Unix epoch (SOURCE_DATE_EPOCH). Whiteouts are always
    /// of the epoch itself.
    pub latest: Option<i64>,
}

/// Writes `changes` as a layer and returns how many bytes that were.
pub fn pack(
    changes: &Changes,
    contents: &dyn Contents,
    options: &PackOptions,
    out: &mut dyn Write,
) -> Result<u64> {
    let mut writer = Writer { out, buffer: Vec::with_capacity(BUFFER + 4 * BLOCK), flushed: 0 };
    small_files(changes, contents, |small| {
        for (path, change) in changes {
            write_headers(path, change, (Some(changes), options), &mut writer.buffer)?;
            match change {
                Change::Put { kind: Kind::File { size, .. }, .. } if is_small(*size) => {
                    writer.buffer.extend_from_slice(small.next(*size)?);
                    writer.pad(*size);
                }
                Change::Put { kind: Kind::File { size, content }, .. } => {
                    writer.write_content(path, (*size, content), contents)?;
                }
                Change::Put { .. } | Change::Remove | Change::Clear { .. } => {}
            }
            writer.flush_if_full()?;
        }
        writer.buffer.resize(writer.buffer.len() + 2 * BLOCK, 0);
        writer.flush()?;
        Ok(writer.flushed)
    })
}

/// Returns where in the tar that [`pack`] makes each regular file's content begins, and its size.
pub(super) fn file_offsets(changes: &dyn Sequence, options: &PackOptions) -> Result<Offsets> {
    let mut offsets = Offsets::with_room(changes);
    lay_out((changes, None), options, |path, at, size| offsets.push(path, at, size))?;
    Ok(offsets)
}

/// Returns how many bytes [`pack`] writes.
pub fn packed_size(changes: &Changes) -> Result<u64> {
    let end = lay_out((changes, Some(changes)), &PackOptions::default(), |_, _, _| ())?;
    Ok(end + 2 * BLOCK as u64)
}

/// Hands on each regular file with the place and the size of its content; returns where the last entry ends. Links are
/// held against `all`.
fn lay_out(
    (changes, all): (&dyn Sequence, Option<&Changes>),
    options: &PackOptions,
    mut file: impl FnMut(&TreePath, u64, u64),
) -> Result<u64> {
    let (mut at, mut headers, mut seen) = (0, Vec::new(), 0);
    for (path, change) in changes.begin() {
        headers.clear();
        write_headers(&path, &change, (all, options), &mut headers)?;
        at += headers.len() as u64;
        if let Change::Put { kind: Kind::File { size, .. }, .. } = &*change {
            file(&path, at, *size);
            at += size.next_multiple_of(BLOCK as u64);
        }
        seen += 1;
    }
    complete(changes, seen)?;
    Ok(at)
}

fn write_headers(
    path: &TreePath,
    change: &Change,
    (all, options): (Option<&Changes>, &PackOptions),
    out: &mut Vec<u8>,
) -> Result<()> {
    let written = match change {
        Change::Remove => Header::new(b'0', &whiteout_name(path)?).write(out),
        Change::Put { kind, meta } => {
            let link = match kind {
                Kind::Hardlink { to } => link_target(path, to, all)?,
                Kind::Symlink { target } => target,
                _ => &[],
            };
            let name = entry_name(path, kind);
            describe(kind, meta, options, (&name, link)).write(out)
        }
        Change::Clear { meta } => {
            let name = entry_name(path, &Kind::Directory);
            let opaque = path.join(OPAQUE).ok_or_else(|| misfit(path, "cannot be cleared"))?;
            let header = describe(&Kind::Directory, meta, options, (&name, &[]));
            let written = header.write(out);
            written.and_then(|()| Header::new(b'0', opaque.as_bytes()).write(out))
        }
    };
    written.map_err(|problem| misfit(path, problem))
}

fn describe<'a>(
    kind: &Kind,
    meta: &'a Metadata,
    options: &PackOptions,
    (name, link): (&'a [u8], &'a [u8]),
) -> Header<'a> {
    let (flag, size, device) = match kind {
        Kind::File { size, .. } => (b'0', *size, (0, 0)),
        Kind::Hardlink { .. } => (b'1', 0, (0, 0)),
        Kind::Symlink { .. } => (b'2', 0, (0, 0)),
        Kind::CharDevice { major, minor } => (b'3', 0, (*major, *minor)),
        Kind::BlockDevice { major, minor } => (b'4', 0, (*major, *minor)),
        Kind::Directory => (b'5', 0, (0, 0)),
        Kind::Fifo => (b'6', 0, (0, 0)),
    };
    let seconds = meta.mtime.seconds;
    let capability = meta.xattrs.get(b"security.capability".as_slice());
    Header {
        flag,
        name,
        link,
        size,
        device,
        mode: meta.mode & 0o7777,
        uid: meta.uid,
        gid: meta.gid,
        mtime: options.latest.map_or(seconds, |latest| seconds.min(latest)),
        capability: capability.map(Vec::as_slice).filter(|value| !value.is_empty()),
    }
}

fn entry_name(path: &TreePath, kind: &Kind) -> Vec<u8> {
    match (kind, path.is_root()) {
        (_, true) => b"./".to_vec(),
        (Kind::Directory, false) => [path.as_bytes(), b"/"].concat(),
        _ => path.as_bytes().to_vec(),
    }
}

fn whiteout_name(path: &TreePath) -> Result<Vec<u8>> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return Err(misfit(path, "cannot be removed"));
    };
    let whiteout = parent.join([PREFIX, name].concat());
    Ok(whiteout.ok_or_else(|| misfit(path, "cannot be removed"))?.as_bytes().to_vec())
}

/// A reader of the tar makes the link when it comes, so the file must have come before.
fn link_target<'a>(path: &TreePath, to: &'a TreePath, all: Option<&Changes>) -> Result<&'a [u8]> {
    let Some(changes) = all else { return Ok(to.as_bytes()) };
    let ready = match changes.get(to) {
        Some(Change::Put { kind, .. }) => {
            to < path && !matches!(kind, Kind::Directory | Kind::Hardlink { .. })
        }
        Some(Change::Remove | Change::Clear { .. }) | None => false,
    };
    ready.then_some(to.as_bytes()).ok_or_else(|| misfit(path, "links to no file that precedes it"))
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    flushed: u64,
}

impl Writer<'_> {
    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer).map_err(LayerError::Write)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn write_content(
        &mut self,
        path: &TreePath,
        (size, content): (u64, &ContentDigest),
        contents: &dyn Contents,
    ) -> Result<()> {
        let mut hasher = ContentHasher::new();
        let mut left = size;
        // An empty file needs no opening, unless it has grown meanwhile, which its own change would tell.
        if left > 0 {
            let mut file = contents.open(path)?;
            while left > 0 {
                self.flush_if_full()?;
                let at = self.buffer.len();
                let most = (BUFFER - at.min(BUFFER - 1)) as u64;
                let wanted = usize::try_from(left.min(most)).unwrap_or(BUFFER);
                self.buffer.resize(at + wanted, 0);
                let n = read(&mut file, &mut self.buffer[at..], path)?;
                self.buffer.truncate(at + n);
                if n == 0 {
                    return Err(LayerError::Changed(path.clone()));
                }
                hasher.update(&self.buffer[at..]);
                left -= n as u64;
            }
            if read(&mut file, &mut [0], path)? > 0 {
                return Err(LayerError::Changed(path.clone()));
            }
        }
        if hasher.content() != *content {
            return Err(LayerError::Changed(path.clone()));
        }
        self.pad(size);
        Ok(())
    }

    fn pad(&mut self, size: u64) {
        self.buffer.resize(self.buffer.len() + padding(size), 0);
    }
}

/// Reads once, trying again after a signal.
pub(super) fn read(file: &mut dyn Read, buf: &mut [u8], path: &TreePath) -> Result<usize> {
    loop {
        match file.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                let fail = crate::fs::PathError::of("read", path.as_path());
                return read.map_err(|error| fail(error).into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Nowhere;

    /// Serves the same bytes under every path.
    struct Fixed(&'static [u8]);

    impl Contents for Fixed {
        fn open(&self, _: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(self.0))
        }
    }

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn one(name: &str, kind: Kind) -> Changes {
        let mut changes = Changes::new();
        changes.put(path(name), kind, Metadata::default());
        changes
    }

    fn try_pack(changes: &Changes, contents: &dyn Contents) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        pack(changes, contents, &PackOptions::default(), &mut out)?;
        Ok(out)
    }

    #[test]
    fn the_empty_layer_is_two_blocks_of_zeros() {
        assert_eq!(try_pack(&Changes::new(), &Nowhere).unwrap(), [0; 1024]);
    }

    #[test]
    fn a_file_that_changed_is_an_error() {
        let content = ContentDigest::of(b"abc");
        let changes = one("a/f", Kind::File { size: 3, content });
        assert_eq!(try_pack(&changes, &Fixed(b"abc")).unwrap().len(), 512 + 512 + 1024);
        for bytes in [&b"abd"[..], b"ab", b"abcd", b""] {
            let error = try_pack(&changes, &Fixed(bytes)).unwrap_err();
            assert_eq!(error.to_string(), "`/a/f` changed while it was being read");
        }
    }

    #[test]
    fn whiteouts_and_opaque_directories() {
        let mut changes = one("d/x", Kind::Directory);
        changes.insert(path("d/gone"), Change::Remove);
        changes.insert(path("e"), Change::Clear { meta: Metadata::default() });
        let out = try_pack(&changes, &Nowhere).unwrap();
        let names: Vec<&[u8]> = out
            .chunks(512)
            .map(|block| &block[..block.iter().position(|byte| *byte == 0).unwrap()])
            .collect();
        let expected: [&[u8]; 6] = [b"d/.wh.gone", b"d/x/", b"e/", b"e/.wh..wh..opq", b"", b""];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_link_must_follow_its_file() {
        let mut changes = one("a", Kind::Hardlink { to: path("b") });
        changes.put(path("b"), Kind::Fifo, Metadata::default());
        let error = try_pack(&changes, &Nowhere).unwrap_err();
        assert_eq!(error.to_string(), "`/a` links to no file that precedes it");
    }

    #[test]
    fn times_are_clamped() {
        let mut meta = Metadata::default();
        meta.mtime.seconds = 100;
        let mut changes = Changes::new();
        changes.put(path("d"), Kind::Directory, meta);
        let pack_at = |latest| {
            let mut out = Vec::new();
            pack(&changes, &Nowhere, &PackOptions { latest }, &mut out).unwrap();
            out[136..147].to_vec()
        };
        assert_eq!(pack_at(None), b"00000000144");
        assert_eq!(pack_at(Some(8)), b"00000000010");
        assert_eq!(pack_at(Some(1000)), b"00000000144");
    }
}
