//! What was known of a context's files when it was last read, so that an unchanged file costs one `stat`.
//!
//! As in git's index: size, times and inode tell whether a file is still the one that was hashed. A file that was
//! changed so shortly before it was read that a later change could carry the same time is not written down.
//!
//! The record is a sequence of entries, sorted by path, little-endian: path length (4), path, size (8), mtime seconds and
//! nanoseconds (8 + 4), ctime likewise, inode (8), digest (32), and a count (2) of extended attributes, each with
//! two lengths (4 + 4), name and value.

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

/// Files by their path beneath the context: the record as it is, for it is only read and written in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StatCache(Vec<u8>);

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

impl StatCache {
    /// Reads what is known; nothing if there is no record or it makes no sense.
    pub(super) fn load(store: &Store, name: &str) -> Self {
        let body = store.record(RecordKind::Context, name).ok().flatten().unwrap_or_default();
        Self(if reads_context(&body) { body } else { Vec::new() })
    }

    /// Writes down what is known. A failure costs time in the next build and nothing else.
    pub(super) fn save(&self, store: &Store, name: &str) {
        let _ = store.put_record(RecordKind::Context, name, &self.0);
    }

    /// Returns what is known, sorted by path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (TreePath, Known)> {
        let mut input = Input(&self.0);
        std::iter::from_fn(move || input.entry())
    }

    /// Returns this with what was learned, which is sorted by path, in place of what was known of the same files, and
    /// of the others only those to be kept.
    pub(super) fn with<'a>(
        self,
        learned: impl Iterator<Item = (&'a TreePath, Known)>,
        keep: impl Fn(&TreePath) -> bool,
    ) -> Self {
        let mut out = Vec::with_capacity(self.0.len());
        let mut old = self.iter().filter(|(path, _)| keep(path)).peekable();
        for (path, known) in learned {
            while let Some((path, known)) = old.next_if(|(other, _)| other < path) {
                encode(&mut out, &path, &known);
            }
            drop(old.next_if(|(other, _)| other == path));
            encode(&mut out, path, &known);
        }
        old.for_each(|(path, known)| encode(&mut out, &path, &known));
        Self(out)
    }
}

/// Returns whether the body of a record of [`RecordKind::Context`] makes sense.
pub fn reads_context(body: &[u8]) -> bool {
    let mut input = Input(body);
    let mut last = None;
    while !input.0.is_empty() {
        let Some((path, _)) = input.entry() else { return false };
        if last.is_some_and(|last| last >= path) {
            return false;
        }
        last = Some(path);
    }
    true
}

fn encode(out: &mut Vec<u8>, path: &TreePath, known: &Known) {
    put_bytes(out, path.as_bytes());
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
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
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

    /// Returns the next entry; `None` at the end, and where there is none.
    fn entry(&mut self) -> Option<(TreePath, Known)> {
        let path = TreePath::clean(self.bytes()?)?;
        let size = u64::from_le_bytes(self.array()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let inode = u64::from_le_bytes(self.array()?);
        let content = ContentDigest::from_bytes(self.array()?);
        let mut xattrs = Xattrs::new();
        for _ in 0..u16::from_le_bytes(self.array()?) {
            let name = self.bytes()?.to_vec();
            xattrs.insert(name, self.bytes()?.to_vec());
        }
        let fingerprint = Fingerprint { size, mtime, ctime, inode };
        Some((path, Known { fingerprint, content, xattrs }))
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
    fn what_is_learned_is_known() {
        let time = Timestamp { seconds: 5, nanoseconds: 7 };
        let known = |inode| Known {
            fingerprint: Fingerprint { size: 3, mtime: time, ctime: time, inode },
            content: ContentDigest::of(b"abc"),
            xattrs: Xattrs::from([(b"user.a".to_vec(), b"b".to_vec())]),
        };
        let path = |text: &str| TreePath::clean(text).unwrap();
        let list = |cache: &StatCache| -> Vec<(String, u64)> {
            cache.iter().map(|(path, it)| (path.to_string(), it.fingerprint.inode)).collect()
        };
        let (a, b, c, d) = (path("a"), path("a/b"), path("a-c"), path("d"));
        let first = [(&b, known(1)), (&c, known(2)), (&d, known(3))];
        let first = StatCache::default().with(first.into_iter(), |_| true);
        assert_eq!(first.iter().nth(1), Some((c.clone(), known(2))));
        let second = first.with([(&a, known(4)), (&c, known(5))].into_iter(), |path| *path != d);
        let expected = [("/a", 4), ("/a/b", 1), ("/a-c", 5)];
        assert_eq!(list(&second), expected.map(|(path, inode)| (path.to_owned(), inode)));
        assert!(reads_context(&second.0));
        assert!(!reads_context(&second.0[..second.0.len() - 1]));
        let unsorted = [&second.0[..], &second.0].concat();
        assert!(!reads_context(&unsorted));
    }

    #[test]
    fn a_file_changed_just_now_is_not_settled() {
        let at = |seconds| Timestamp { seconds, nanoseconds: 0 };
        let print = Fingerprint { size: 0, mtime: at(10), ctime: at(10), inode: 1 };
        assert!(!print.is_settled(at(10)));
        assert!(print.is_settled(at(11)));
    }
}
