//! What was known of a context's files when it was last read, so that an unchanged file costs one `stat`.
//!
//! As in git's index: size, times and inode tell whether a file is still the one that was hashed. A file that was
//! changed so shortly before it was read that a later change could carry the same time is not written down.
//!
//! The record is a sequence of entries, little-endian: path length (4), path, size (8), mtime seconds and
//! nanoseconds (8 + 4), ctime likewise, inode (8), digest (32), and a count (2) of extended attributes, each with
//! two lengths (4 + 4), name and value.

use std::collections::HashMap;

use crate::digest::ContentDigest;
use crate::layer::{Timestamp, TreePath, Xattrs};
use crate::store::{RecordKind, Store};

/// What identifies the state of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
    pub(super) inode: u64,
}

/// What reading a file told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) fingerprint: Fingerprint,
    pub(super) content: ContentDigest,
    pub(super) xattrs: Xattrs,
}

/// Files by their path beneath the context.
pub(super) type StatCache = HashMap<TreePath, Known>;

/// The coarsest clock that Linux stamps files with ticks every 10 ms.
const TICK_NANOSECONDS: i128 = 20_000_000;

impl Fingerprint {
    /// Returns whether a change after `read_at` would certainly show.
    pub(super) fn is_settled(&self, read_at: Timestamp) -> bool {
        let nanoseconds = |time: Timestamp| {
            i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds)
        };
        nanoseconds(self.ctime) + TICK_NANOSECONDS < nanoseconds(read_at)
            && nanoseconds(self.mtime) + TICK_NANOSECONDS < nanoseconds(read_at)
    }
}

/// Reads what is known; nothing if there is no record or it makes no sense.
pub(super) fn load(store: &Store, name: &str) -> StatCache {
    let body = store.record(RecordKind::Context, name).ok().flatten().unwrap_or_default();
    decode(&body).unwrap_or_default()
}

/// Writes down what is known. A failure costs time in the next build and nothing else.
pub(super) fn save(store: &Store, name: &str, cache: &StatCache) {
    let _ = store.put_record(RecordKind::Context, name, &encode(cache));
}

/// Returns whether the body of a record of [`RecordKind::Context`] makes sense.
pub fn reads_context(body: &[u8]) -> bool {
    decode(body).is_some()
}

fn encode(cache: &StatCache) -> Vec<u8> {
    let mut out = Vec::with_capacity(cache.len() * 128);
    let mut entries: Vec<_> = cache.iter().collect();
    entries.sort_by_key(|(path, _)| *path);
    for (path, known) in entries {
        put_bytes(&mut out, path.as_bytes());
        let print = &known.fingerprint;
        out.extend_from_slice(&print.size.to_le_bytes());
        for time in [print.mtime, print.ctime] {
            out.extend_from_slice(&time.seconds.to_le_bytes());
            out.extend_from_slice(&time.nanoseconds.to_le_bytes());
        }
        out.extend_from_slice(&print.inode.to_le_bytes());
        out.extend_from_slice(known.content.as_bytes());
        out.extend_from_slice(&(known.xattrs.len() as u16).to_le_bytes());
        for (name, value) in &known.xattrs {
            put_bytes(&mut out, name);
            put_bytes(&mut out, value);
        }
    }
    out
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn decode(body: &[u8]) -> Option<StatCache> {
    let mut input = Input(body);
    let mut cache = StatCache::with_capacity(body.len() / 128);
    while !input.0.is_empty() {
        let path = TreePath::clean(input.bytes()?)?;
        let size = u64::from_le_bytes(input.array()?);
        let (mtime, ctime) = (input.time()?, input.time()?);
        let inode = u64::from_le_bytes(input.array()?);
        let content = ContentDigest::from_bytes(input.array()?);
        let count = u16::from_le_bytes(input.array()?);
        let mut xattrs = Xattrs::new();
        for _ in 0..count {
            let name = input.bytes()?.to_vec();
            xattrs.insert(name, input.bytes()?.to_vec());
        }
        cache.insert(
            path,
            Known { fingerprint: Fingerprint { size, mtime, ctime, inode }, content, xattrs },
        );
    }
    Some(cache)
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(length as usize)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let seconds = i64::from_le_bytes(self.array()?);
        Some(Timestamp { seconds, nanoseconds: u32::from_le_bytes(self.array()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded() {
        let time = Timestamp { seconds: 5, nanoseconds: 7 };
        let known = Known {
            fingerprint: Fingerprint { size: 3, mtime: time, ctime: time, inode: 9 },
            content: ContentDigest::of(b"abc"),
            xattrs: Xattrs::from([(b"user.a".to_vec(), b"b".to_vec())]),
        };
        let cache = StatCache::from([(TreePath::clean("a/b").unwrap(), known)]);
        let bytes = encode(&cache);
        assert_eq!(decode(&bytes).unwrap(), cache);
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn a_file_changed_just_now_is_not_settled() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let print = Fingerprint { size: 0, mtime: at(10), ctime: at(10), inode: 1 };
        assert!(!print.is_settled(at(10)));
        assert!(print.is_settled(at(11)));
    }
}
