//! A tar read entry by entry, from bytes that may be hostile.
//!
//! Understands ustar, PAX, GNU long names, base-256 numbers and sparse files in all four forms, as Go's
//! `archive/tar` does. Invariant: memory is bounded by [`LONGEST_EXTENSION`] whatever a header claims, and an
//! archive that ends within an entry is an error. Names are returned as they stand: what they mean, and whether
//! they are harmless, is decided by `archive.rs`.

use std::io::{self, Read};

use super::error::{LayerError, Result};
use super::header::{BLOCK, LONGEST_EXTENSION, padding};
use super::sparse::{self, Segments};
use super::{Timestamp, Xattrs};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The largest number that a header has room for as text, and more than the kernel has devices.
const MOST_DEVICE: u32 = 0o7_777_777;

/// How many extended headers one entry may have in front of it: a global one, a name, a link and records are four.
const MOST_EXTENSIONS: usize = 64;

/// One entry's header with all its extensions.
#[derive(Debug, Default)]
pub(super) struct RawEntry {
    pub(super) flag: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Of the file, holes included.
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) device: (u32, u32),
    pub(super) xattrs: Xattrs,
}

/// An archive being read.
pub(super) struct Reader<R> {
    input: R,
    /// Bytes of the current entry that are still to come from the input, and what pads them.
    stored: u64,
    padding: usize,
    holes: Option<Segments>,
}

/// What the headers before an entry say about it.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Extensions {
    fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.records.iter().rev().find(|(name, _)| name == key.as_bytes());
        found.map(|(_, value)| value.as_slice()).filter(|value| !value.is_empty())
    }

    fn number(&self, key: &str) -> Result<Option<u64>> {
        let parse = |text: &[u8]| std::str::from_utf8(text).ok()?.trim().parse().ok();
        let bad = LayerError::Archive("a PAX record is not a number");
        self.get(key).map_or(Ok(None), |text| parse(text).map(Some).ok_or(bad))
    }
}

impl<R: Read> Reader<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input, stored: 0, padding: 0, holes: None }
    }

    /// Returns the next entry, skipping what was not read of the one before.
    pub(super) fn next(&mut self) -> Result<Option<RawEntry>> {
        self.skip(self.stored)?;
        // What fills up the last block may be missing, as for Go's reader.
        let padding = &mut (&mut self.input).take(self.padding as u64);
        io::copy(padding, &mut io::sink()).map_err(LayerError::Read)?;
        (self.stored, self.padding, self.holes) = (0, 0, None);
        let mut extensions = Extensions::default();
        let mut extended = 0;
        while let Some(block) = self.header()? {
            extended += 1;
            if extended > MOST_EXTENSIONS {
                return Err(LayerError::Archive("too many extended headers in a row"));
            }
            let size = number(&block[124..136]).and_then(|size| u64::try_from(size).ok());
            let size = size.ok_or(LayerError::Archive("a size is not a number"))?;
            match block[156] {
                b'x' => extensions.records = records(&self.extension(size)?)?,
                b'L' => extensions.name = Some(self.extension(size)?),
                b'K' => extensions.link = Some(self.extension(size)?),
                b'g' => drop(self.extension(size)?),
                _ => return self.entry(&block, size, extensions).map(Some),
            }
        }
        Ok(None)
    }

    /// Reads from the current entry's content; nothing is left when this returns 0.
    pub(super) fn read_content(&mut self, buf: &mut [u8]) -> Result<usize> {
        let Some(holes) = &mut self.holes else { return self.read_stored(buf) };
        match holes.next(buf.len()) {
            sparse::Run::Hole(length) => {
                buf[..length].fill(0);
                Ok(length)
            }
            sparse::Run::Data(length) => {
                let n = self.read_stored(&mut buf[..length])?;
                if let Some(holes) = &mut self.holes {
                    holes.advance(n as u64);
                }
                Ok(n)
            }
        }
    }

    /// Reads what follows the end of the archive, so that whoever hashes the input sees all of it; returns how many
    /// bytes these are, or `most` + 1 if there are more.
    pub(super) fn drain(&mut self, most: u64) -> Result<u64> {
        let rest = &mut (&mut self.input).take(most.saturating_add(1));
        io::copy(rest, &mut io::sink()).map_err(LayerError::Read)
    }

    fn read_stored(&mut self, buf: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.stored).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.read(&mut buf[..most])?;
        if n == 0 {
            return Err(LayerError::Archive("it ends within a file"));
        }
        self.stored -= n as u64;
        Ok(n)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        loop {
            match self.input.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(LayerError::Read),
            }
        }
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> Result<()> {
        self.input.read_exact(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => LayerError::Archive("it ends within an entry"),
            _ => LayerError::Read(error),
        })
    }

    fn skip(&mut self, length: u64) -> Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink());
        match skipped.map_err(LayerError::Read)? {
            n if n == length => Ok(()),
            _ => Err(LayerError::Archive("it ends within a file")),
        }
    }

    /// Reads the next block that is a header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(LayerError::Archive("it ends within an entry")),
                n => filled += n,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return self.end();
        }
        if !is_header(&block) {
            return Err(LayerError::Archive("a header has the wrong checksum"));
        }
        Ok(Some(block))
    }

    /// After one block of zeros only another, or nothing, may come.
    fn end(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = Vec::with_capacity(BLOCK);
        let second = (&mut self.input).take(BLOCK as u64).read_to_end(&mut block);
        second.map_err(LayerError::Read)?;
        if block.iter().any(|byte| *byte != 0) {
            return Err(LayerError::Archive("something follows its end"));
        }
        Ok(None)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(size).ok().filter(|size| *size <= LONGEST_EXTENSION);
        let length = length.ok_or(LayerError::Archive("an extended header is too long"))?;
        let mut data = vec![0; length];
        self.read_exact(&mut data)?;
        self.skip(padding(size) as u64)?;
        Ok(data)
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        size: u64,
        extensions: Extensions,
    ) -> Result<RawEntry> {
        let mut entry = basic_entry(block)?;
        entry.size = extensions.number("size")?.unwrap_or(size);
        if let Some(uid) = extensions.number("uid")? {
            entry.uid = id(uid)?;
        }
        if let Some(gid) = extensions.number("gid")? {
            entry.gid = id(gid)?;
        }
        if let Some(time) = extensions.get("mtime") {
            entry.mtime = timestamp(time).ok_or(LayerError::Archive("a time is not a number"))?;
        }
        let name = |long: &Option<Vec<u8>>, record: &str, short: Vec<u8>| {
            let long = long.as_deref().map(until_nul);
            extensions.get(record).or(long).map_or(short, <[u8]>::to_vec)
        };
        entry.name = name(&extensions.name, "path", entry.name);
        entry.link = name(&extensions.link, "linkpath", entry.link);
        // Links, directories and devices have no content, whatever their size field says.
        self.stored = if (b'1'..=b'6').contains(&entry.flag) { 0 } else { entry.size };
        self.padding = padding(self.stored);
        self.open_sparse(block, &mut entry, &extensions)?;
        for (key, value) in extensions.records {
            if let Some(name) = key.strip_prefix(XATTR) {
                entry.xattrs.insert(name.to_vec(), value);
            }
        }
        Ok(entry)
    }

    fn open_sparse(
        &mut self,
        block: &[u8; BLOCK],
        entry: &mut RawEntry,
        extensions: &Extensions,
    ) -> Result<()> {
        let (map, real) = if entry.flag == b'S' {
            let mut tail = Vec::new();
            let mut more = block[482] != 0;
            while more {
                let mut next = [0; BLOCK];
                self.read_exact(&mut next)?;
                more = next[504] != 0;
                tail.extend_from_slice(&next[..504]);
                if tail.len() > LONGEST_EXTENSION {
                    return Err(LayerError::Archive("a sparse map is too long"));
                }
            }
            let map = sparse::old_gnu(&block[386..482], &tail);
            (map, number(&block[483..495]).and_then(|size| u64::try_from(size).ok()))
        } else if let Some(major) =
            extensions.number("GNU.sparse.major")?.filter(|_| self.stored > 0)
        {
            if major != 1 {
                return Err(LayerError::Archive("a sparse file has an unknown form"));
            }
            (self.leading_map()?, extensions.number("GNU.sparse.realsize")?)
        } else if extensions.records.iter().any(|(key, _)| key.starts_with(b"GNU.sparse.")) {
            (sparse::of_records(&extensions.records), extensions.number("GNU.sparse.size")?)
        } else {
            return Ok(());
        };
        if let Some(name) = extensions.get("GNU.sparse.name") {
            entry.name = name.to_vec();
        }
        let segments = map.zip(real).and_then(|(map, real)| Segments::new(map, real, self.stored));
        let segments = segments.ok_or(LayerError::Archive("a sparse map makes no sense"))?;
        entry.size = segments.size();
        self.holes = Some(segments);
        Ok(())
    }

    /// Reads the map that form 1.0 has in front of the content: lines of decimal numbers, padded to a block.
    fn leading_map(&mut self) -> Result<Option<Vec<(u64, u64)>>> {
        let mut text = Vec::new();
        loop {
            let mut block = [0; BLOCK];
            if self.stored < BLOCK as u64 || text.len() > LONGEST_EXTENSION {
                return Ok(None);
            }
            self.read_exact(&mut block)?;
            self.stored -= BLOCK as u64;
            text.extend_from_slice(&block);
            let ended = text.iter().filter(|byte| **byte == b'\n').count();
            let first = text.split(|byte| *byte == b'\n').next().and_then(sparse::decimal);
            let Some(pairs) = first.filter(|_| ended > 0) else { continue };
            if ended as u64 > pairs.saturating_mul(2) {
                return Ok(sparse::of_lines(&text, pairs));
            }
        }
    }
}

/// Returns whether a block has the checksum of a header.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let sum = number(&block[148..156]);
    let blank = |at: usize| if (148..156).contains(&at) { b' ' } else { block[at] };
    let unsigned: i64 = (0..BLOCK).map(|at| i64::from(blank(at))).sum();
    let signed: i64 = (0..BLOCK).map(|at| i64::from(blank(at).cast_signed())).sum();
    sum == Some(unsigned) || sum == Some(signed)
}

fn basic_entry(block: &[u8; BLOCK]) -> Result<RawEntry> {
    let field = |range: std::ops::Range<usize>| {
        number(&block[range]).ok_or(LayerError::Archive("a field is not a number"))
    };
    let owner = |value: i64| id(u64::try_from(value).unwrap_or(u64::MAX));
    let mut name = until_nul(&block[..100]).to_vec();
    let prefix = until_nul(&block[345..500]);
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        name = [prefix, b"/", &name].concat();
    }
    let flag = match block[156] {
        0 if name.ends_with(b"/") => b'5',
        0 | b'7' => b'0',
        flag => flag,
    };
    let device = |value: i64| {
        let number = u32::try_from(value).ok().filter(|number| *number <= MOST_DEVICE);
        number.ok_or(LayerError::Archive("a device number is out of range"))
    };
    let is_device = matches!(flag, b'3' | b'4');
    Ok(RawEntry {
        flag,
        name,
        link: until_nul(&block[157..257]).to_vec(),
        mode: (field(100..108)? & 0o7777) as u32,
        uid: owner(field(108..116)?)?,
        gid: owner(field(116..124)?)?,
        mtime: Timestamp { seconds: field(136..148)?, nanoseconds: 0 },
        device: if is_device {
            (device(field(329..337)?)?, device(field(337..345)?)?)
        } else {
            (0, 0)
        },
        ..RawEntry::default()
    })
}

fn id(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| LayerError::Archive("an owner is out of range"))
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Reads a numeric field: octal text, or base-256 if the first bit says so. An empty field is zero.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        // Two's complement with the first bit as the mark and the second as the sign.
        let start = if first & 0x40 != 0 { -1i128 } else { 0 };
        let mut value = (start << 6) | i128::from(first & 0x3f);
        for byte in &field[1..] {
            value = (value << 8) | i128::from(*byte);
        }
        return i64::try_from(value).ok();
    }
    let text = until_nul(field).trim_ascii();
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() { Some(0) } else { i64::from_str_radix(text, 8).ok() }
}

/// Splits a PAX header into its records.
fn records(mut data: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let (key, value, rest) =
            record(data).ok_or(LayerError::Archive("a PAX header is malformed"))?;
        records.push((key.to_vec(), value.to_vec()));
        data = rest;
    }
    Ok(records)
}

fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(sparse::decimal(&data[..space])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

/// Reads a PAX time: seconds, perhaps negative, perhaps with a fraction.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        let seconds = seconds.checked_sub(1)?;
        return Some(Timestamp { seconds, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Timestamp { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_both_forms() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0\0"), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\xff\xff\xff\xfe"), Some(0xffff_fffe));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"9"), None);
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }

    #[test]
    fn times_before_the_epoch_count_upwards() {
        let time = |text: &str| timestamp(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(time("12"), Some((12, 0)));
        assert_eq!(time("12.5"), Some((12, 500_000_000)));
        assert_eq!(time("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time("1.1234567899"), Some((1, 123_456_789)));
        assert_eq!((time("x"), time("1.x"), time("")), (None, None, None));
    }

    #[test]
    fn records_must_add_up() {
        assert_eq!(records(b"8 a=b c\n").unwrap(), [(b"a".to_vec(), b"b c".to_vec())]);
        for bad in [&b"99 a=b\n"[..], b"6 a=b", b"5 =b\n", b"a=b\n", b"-1 a=b\n"] {
            assert!(records(bad).is_err(), "{bad:?}");
        }
    }
}
