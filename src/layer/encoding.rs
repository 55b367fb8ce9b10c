//! `Changes` as bytes.
//!
//! ```text
//! "kiln.changes.1\n"  count  entry*  blake3 of everything before (32 bytes)
//! entry  = shared  rest  kind  [meta]  [fields of the kind]
//! shared = how many bytes the path has in common with the one before; rest = length and bytes of the others
//! meta   = mode uid gid seconds(zigzag) nanoseconds xattrs; xattrs = count (name value)*
//! ```
//!
//! Numbers are LEB128, byte strings carry their length. The same changes have one encoding only, so the checksum
//! doubles as their id. Decoding trusts nothing: it allocates in proportion to the bytes that are there, and what
//! it accepts is sorted and has harmless paths.

use std::io::{self, Write};

use super::error::{LayerError, Result};
use super::{Change, Changes, Kind, Metadata, Timestamp, TreePath, Xattrs};
use crate::digest::{ContentDigest, ContentHasher};

const DOMAIN: &[u8] = b"kiln.changes.1\n";
const CHECKSUM: usize = 32;
/// So much is in memory at once of what is written or hashed.
const PIECE: usize = 64 << 10;

const REMOVE: u8 = 0;
const CLEAR: u8 = 1;
const DIRECTORY: u8 = 2;
const FILE: u8 = 3;
const SYMLINK: u8 = 4;
const HARDLINK: u8 = 5;
const CHAR_DEVICE: u8 = 6;
const BLOCK_DEVICE: u8 = 7;
const FIFO: u8 = 8;

impl Changes {
    /// Returns the encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.encode_body();
        out.extend_from_slice(ContentDigest::of(&out).as_bytes());
        out
    }

    /// Writes the encoding, which is never in memory as a whole.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut hasher = ContentHasher::new();
        self.encode_pieces(|piece| {
            hasher.update(piece);
            out.write_all(piece)
        })?;
        out.write_all(hasher.content().as_bytes())
    }

    /// Returns the digest of the whole encoding, with its checksum.
    pub fn digest_of_encoding(&self) -> ContentDigest {
        let mut digest = Digesting(ContentHasher::new());
        // It takes whatever comes.
        let _ = self.write(&mut digest);
        digest.0.content()
    }

    /// Returns the digest of the encoding: equal for changes that are equal in everything, times included.
    pub fn id(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new();
        // It takes whatever comes.
        let _ = self.encode_pieces(|piece| {
            hasher.update(piece);
            Ok(())
        });
        hasher.content()
    }

    /// Reads what [`Changes::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        decode_entries(&mut Bytes(body_of(bytes)?)).ok_or(LayerError::Corrupt("malformed entry"))
    }

    /// Reads what [`Changes::encode`] wrote one by one; whatever is no encoding ends it early.
    pub fn each(bytes: &[u8]) -> impl Iterator<Item = (TreePath, Change)> + Send {
        let (bytes, left) = begin(bytes);
        Entries { bytes, left, last: TreePath::root(), any: false }
    }

    fn encode_body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64 + 80 * self.len());
        // It takes whatever comes.
        let _ = self.encode_pieces(|piece| {
            body.extend_from_slice(piece);
            Ok(())
        });
        body
    }

    /// Hands on the encoding up to its checksum piece by piece.
    fn encode_pieces(&self, mut hand_on: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut out = Vec::with_capacity(2 * PIECE);
        out.extend_from_slice(DOMAIN);
        number(&mut out, self.len() as u64);
        let mut last: &[u8] = &[];
        for (path, change) in self {
            let bytes = path.as_bytes();
            let shared = last.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            number(&mut out, shared as u64);
            string(&mut out, &bytes[shared..]);
            encode_change(&mut out, change);
            last = bytes;
            if out.len() >= PIECE {
                hand_on(&out)?;
                out.clear();
            }
        }
        hand_on(&out)
    }
}

/// Returns what is between the version and the checksum, which are right.
pub(super) fn body_of(bytes: &[u8]) -> Result<&[u8]> {
    let end = bytes.len().checked_sub(CHECKSUM).ok_or(LayerError::Corrupt("too short"))?;
    let (body, checksum) = bytes.split_at(end);
    if ContentDigest::of(body).as_bytes() != checksum {
        return Err(LayerError::Corrupt("checksum does not match"));
    }
    body.strip_prefix(DOMAIN).ok_or(LayerError::Corrupt("unknown version"))
}

/// Returns how many changes there are said to be; none if so many cannot be.
pub(super) fn count_of(bytes: &[u8]) -> Option<usize> {
    let (entries, count) = begin(bytes);
    (count <= most_in(entries.0)).then_some(count)
}

/// An entry has three bytes at least, so a wrong count cannot make anybody allocate without end.
const fn most_in(entries: &[u8]) -> usize {
    entries.len() / 3
}

/// Returns the entries, unverified, and how many there are said to be; nothing if it is no encoding.
fn begin(bytes: &[u8]) -> (Bytes<'_>, usize) {
    let body = bytes.len().checked_sub(CHECKSUM).and_then(|end| bytes[..end].strip_prefix(DOMAIN));
    let mut bytes = Bytes(body.unwrap_or_default());
    let count = bytes.number().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    (bytes, count)
}

struct Digesting(ContentHasher);

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn encode_change(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Remove => out.push(REMOVE),
        Change::Clear { meta } => {
            out.push(CLEAR);
            encode_meta(out, meta);
        }
        Change::Put { kind, meta } => {
            let at = out.len();
            out.push(0);
            encode_meta(out, meta);
            out[at] = encode_kind(out, kind);
        }
    }
}

fn encode_kind(out: &mut Vec<u8>, kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => DIRECTORY,
        Kind::File { size, content } => {
            number(out, *size);
            out.extend_from_slice(content.as_bytes());
            FILE
        }
        Kind::Symlink { target } => {
            string(out, target);
            SYMLINK
        }
        Kind::Hardlink { to } => {
            string(out, to.as_bytes());
            HARDLINK
        }
        Kind::CharDevice { major, minor } => {
            device(out, *major, *minor);
            CHAR_DEVICE
        }
        Kind::BlockDevice { major, minor } => {
            device(out, *major, *minor);
            BLOCK_DEVICE
        }
        Kind::Fifo => FIFO,
    }
}

fn device(out: &mut Vec<u8>, major: u32, minor: u32) {
    number(out, major.into());
    number(out, minor.into());
}

fn encode_meta(out: &mut Vec<u8>, meta: &Metadata) {
    let seconds = meta.mtime.seconds;
    number(out, meta.mode.into());
    number(out, meta.uid.into());
    number(out, meta.gid.into());
    number(out, ((seconds << 1) ^ (seconds >> 63)).cast_unsigned());
    number(out, meta.mtime.nanoseconds.into());
    number(out, meta.xattrs.len() as u64);
    for (name, value) in &meta.xattrs {
        string(out, name);
        string(out, value);
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes not yet decoded; every method takes from the front, or answers `None` if it cannot.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            value |= part << shift;
            if byte & 0x80 == 0 {
                // One encoding a number: nothing shifted out, no idle zero at the end.
                let minimal = byte != 0 || shift == 0;
                return (minimal && (part << shift) >> shift == part).then_some(value);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?.try_into().ok()?;
        self.take(length)
    }
}

fn decode_entries(bytes: &mut Bytes<'_>) -> Option<Changes> {
    let count = usize::try_from(bytes.number()?).ok()?;
    let mut pairs: Vec<(TreePath, Change)> = Vec::with_capacity(count.min(most_in(bytes.0)));
    let mut entries =
        Entries { bytes: Bytes(bytes.0), left: count, last: TreePath::root(), any: false };
    pairs.extend(&mut entries);
    (pairs.len() == count && entries.bytes.0.is_empty()).then(|| Changes::from_sorted(pairs))
}

/// The entries that are left; ends at the first one that is none, or out of order.
struct Entries<'a> {
    bytes: Bytes<'a>,
    left: usize,
    last: TreePath,
    any: bool,
}

impl Entries<'_> {
    fn entry(&mut self) -> Option<(TreePath, Change)> {
        let path = decode_path(&mut self.bytes, self.last.as_bytes())?;
        if self.any && self.last >= path {
            return None;
        }
        self.any = true;
        self.last.clone_from(&path);
        Some((path, decode_change(&mut self.bytes)?))
    }
}

impl Iterator for Entries<'_> {
    type Item = (TreePath, Change);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.entry();
        if entry.is_none() {
            self.left = 0;
        }
        entry
    }
}

fn decode_path(bytes: &mut Bytes<'_>, last: &[u8]) -> Option<TreePath> {
    let shared = usize::try_from(bytes.number()?).ok()?;
    let head = last.get(..shared)?;
    let tail = bytes.string()?;
    let shortest = last.get(shared).is_none_or(|byte| tail.first() != Some(byte));
    shortest.then(|| TreePath::from_normalised([head, tail].concat()))?
}

fn decode_change(bytes: &mut Bytes<'_>) -> Option<Change> {
    let tag = bytes.byte()?;
    if tag == REMOVE {
        return Some(Change::Remove);
    }
    let meta = decode_meta(bytes)?;
    if tag == CLEAR {
        return Some(Change::Clear { meta });
    }
    let kind = match tag {
        DIRECTORY => Kind::Directory,
        FILE => Kind::File {
            size: bytes.number()?,
            content: ContentDigest::from_bytes(bytes.take(32)?.try_into().ok()?),
        },
        SYMLINK => Kind::Symlink { target: bytes.string()?.to_vec() },
        HARDLINK => Kind::Hardlink { to: TreePath::from_normalised(bytes.string()?.to_vec())? },
        CHAR_DEVICE => Kind::CharDevice { major: bytes.small()?, minor: bytes.small()? },
        BLOCK_DEVICE => Kind::BlockDevice { major: bytes.small()?, minor: bytes.small()? },
        FIFO => Kind::Fifo,
        _ => return None,
    };
    Some(Change::Put { kind, meta })
}

fn decode_meta(bytes: &mut Bytes<'_>) -> Option<Metadata> {
    let (mode, uid, gid) = (bytes.small()?, bytes.small()?, bytes.small()?);
    let seconds = bytes.number()?;
    let seconds = (seconds >> 1).cast_signed() ^ -(seconds & 1).cast_signed();
    let nanoseconds = bytes.small()?;
    let mut xattrs = Xattrs::new();
    for _ in 0..bytes.number()? {
        let (name, value) = (bytes.string()?, bytes.string()?);
        if xattrs.last_key_value().is_some_and(|(last, _)| last.as_slice() >= name) {
            return None;
        }
        xattrs.insert(name.to_vec(), value.to_vec());
    }
    let valid = mode <= 0o7777 && nanoseconds < 1_000_000_000;
    let mtime = Timestamp { seconds, nanoseconds };
    valid.then_some(Metadata { mode, uid, gid, mtime, xattrs })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn sample() -> Changes {
        let meta = Metadata {
            mode: 0o4755,
            uid: u32::MAX,
            gid: 7,
            mtime: Timestamp { seconds: -1, nanoseconds: 999_999_999 },
            xattrs: Xattrs::from([(b"user.a".to_vec(), vec![0, 255])]),
        };
        let content = ContentDigest::of(b"x");
        let kinds = [
            ("d", Kind::Directory),
            ("d/file", Kind::File { size: u64::MAX, content }),
            ("d/file2", Kind::Hardlink { to: path("d/file") }),
            ("d/link", Kind::Symlink { target: b"../\xff".to_vec() }),
            ("dev", Kind::CharDevice { major: 1, minor: 3 }),
            ("disk", Kind::BlockDevice { major: 8, minor: u32::MAX }),
            ("pipe", Kind::Fifo),
        ];
        let mut changes = Changes::new();
        for (name, kind) in kinds {
            changes.put(path(name), kind, meta.clone());
        }
        changes.insert(path("gone"), Change::Remove);
        changes.insert(path("e"), Change::Clear { meta });
        changes
    }

    #[test]
    fn every_kind_comes_back() {
        let changes = sample();
        let bytes = changes.encode();
        assert_eq!(Changes::decode(&bytes).unwrap(), changes);
        assert_eq!(changes.id().as_bytes()[..], bytes[bytes.len() - CHECKSUM..]);
        assert_eq!(changes.digest_of_encoding(), ContentDigest::of(&bytes));
        assert!(Changes::each(&bytes).eq(changes.clone()));
        assert!(Changes::each(&bytes[..bytes.len() - 50]).count() < changes.len());
        let mut written = Vec::new();
        changes.write(&mut written).unwrap();
        assert_eq!(written, bytes);
        let mut later = changes.clone();
        later.put(path("pipe"), Kind::Fifo, Metadata::default());
        assert_ne!(later.id(), changes.id());
    }

    #[test]
    fn what_is_not_an_encoding_is_refused() {
        let reject = |bytes: &[u8]| Changes::decode(bytes).unwrap_err().to_string();
        let seal = |body: &[u8]| [body, ContentDigest::of(body).as_bytes()].concat();
        assert_eq!(reject(b""), "corrupt record of changes: too short");
        assert_eq!(reject(&[0; 40]), "corrupt record of changes: checksum does not match");
        assert_eq!(reject(&seal(b"other")), "corrupt record of changes: unknown version");
        let bodies: [&[u8]; 6] = [
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x01\x00\x02..\x00",
            b"\x01\x00\x80\x00\x00",
            b"\x02\x00\x01b\x00\x00\x01a\x00",
            b"\x01\x00\x01a\x09\x00\x00\x00\x00\x00\x00",
            b"\x00tail",
        ];
        for body in bodies {
            let bytes = seal(&[DOMAIN, body].concat());
            assert_eq!(reject(&bytes), "corrupt record of changes: malformed entry", "{body:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

        #[test]
        fn hostile_bytes_never_panic(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let mut body = sample().encode_body();
            let at = DOMAIN.len() + at % (body.len() - DOMAIN.len());
            body[at] = byte;
            body.truncate(body.len() - cut % (body.len() - DOMAIN.len()));
            if let Some(changes) = decode_entries(&mut Bytes(&body[DOMAIN.len()..])) {
                prop_assert_eq!(changes.encode_body(), body);
            }
        }
    }
}
