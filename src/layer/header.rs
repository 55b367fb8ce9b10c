//! Tar headers exactly as Go's `archive/tar` writes them when asked for PAX, which is what containerd and BuildKit
//! do and so what digests are compared with.
//!
//! The rule: plain ustar if every field fits, else a PAX record for each that does not, in front of a header that
//! holds what fits. No user or group names, whole seconds, no access or change times. A field that neither form
//! can hold is an error.

/// What a tar is made of.
pub(super) const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Returns how many bytes follow a content of that size, so that it ends with a block.
pub(super) const fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The largest PAX header that Go writes or reads.
pub(super) const LONGEST_EXTENSION: usize = 1 << 20;

/// What stands in a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header<'a> {
    /// The type flag.
    pub(super) flag: u8,
    pub(super) name: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: i64,
    /// Major and minor number.
    pub(super) device: (u32, u32),
    /// The value of `security.capability`.
    pub(super) capability: Option<&'a [u8]>,
}

impl<'a> Header<'a> {
    /// Makes the header of an empty file of nobody.
    pub(super) const fn new(flag: u8, name: &'a [u8]) -> Self {
        Self {
            flag,
            name,
            link: &[],
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            device: (0, 0),
            capability: None,
        }
    }

    /// Appends the header's blocks; `Err` says which field does not fit into any form.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if !fits_octal(8, self.device.0.into()) || !fits_octal(8, self.device.1.into()) {
            return Err("has a device number that a tar cannot hold");
        }
        if self.name.contains(&0) || self.link.contains(&0) {
            return Err("has a zero byte in a name");
        }
        let records = self.records();
        let split = split_name(self.name);
        let ustar = self.capability.is_none()
            && records.iter().all(|(key, _)| *key == "path" && split.is_some());
        if ustar {
            let (prefix, name) = split.unwrap_or((&[], self.name));
            out.extend_from_slice(&self.block(prefix, name, self.link));
            return Ok(());
        }
        let mut data = Vec::new();
        for (key, value) in &records {
            record(&mut data, key, value);
        }
        if data.len() > LONGEST_EXTENSION {
            return Err("has more extended attributes than a tar can hold");
        }
        write_extension(out, self.name, &data);
        out.extend_from_slice(&self.block(&[], &ascii(self.name), &ascii(self.link)));
        Ok(())
    }

    /// Returns the PAX records of the fields that do not fit, sorted by key.
    fn records(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut records = Vec::new();
        let decimal = |value: i128| value.to_string().into_bytes();
        if let Some(value) = self.capability {
            records.push(("SCHILY.xattr.security.capability", value.to_vec()));
        }
        if !fits_octal(8, self.gid.into()) {
            records.push(("gid", decimal(self.gid.into())));
        }
        if !fits_text(self.link) {
            records.push(("linkpath", self.link.to_vec()));
        }
        if !fits_octal(12, self.mtime.into()) {
            records.push(("mtime", decimal(self.mtime.into())));
        }
        if !fits_text(self.name) {
            records.push(("path", self.name.to_vec()));
        }
        if !fits_octal(12, self.size.into()) {
            records.push(("size", decimal(self.size.into())));
        }
        if !fits_octal(8, self.uid.into()) {
            records.push(("uid", decimal(self.uid.into())));
        }
        records
    }

    fn block(&self, prefix: &[u8], name: &[u8], link: &[u8]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        text(&mut block[..NAME], name);
        octal(&mut block[100..108], self.mode.into());
        octal(&mut block[108..116], self.uid.into());
        octal(&mut block[116..124], self.gid.into());
        octal(&mut block[124..136], self.size.into());
        octal(&mut block[136..148], self.mtime.into());
        block[156] = self.flag;
        text(&mut block[157..257], link);
        octal(&mut block[329..337], self.device.0.into());
        octal(&mut block[337..345], self.device.1.into());
        text(&mut block[345..500], prefix);
        seal(&mut block);
        block
    }
}

/// Writes the extended header that precedes the header of `name`.
fn write_extension(out: &mut Vec<u8>, name: &[u8], data: &[u8]) {
    let cut = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let (dir, file) = name.split_at(cut);
    let mut title = ascii(dir);
    title.extend_from_slice(b"PaxHeaders.0");
    if !file.is_empty() {
        title.push(b'/');
        title.extend(ascii(file));
    }
    title.truncate(NAME);
    while title.last() == Some(&b'/') {
        title.pop();
    }
    let mut block = [0; BLOCK];
    text(&mut block[..NAME], &title);
    for field in [100..108, 108..116, 116..124, 136..148] {
        octal(&mut block[field], 0);
    }
    octal(&mut block[124..136], data.len() as i128);
    block[156] = b'x';
    seal(&mut block);
    out.extend_from_slice(&block);
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let bare = key.len() + value.len() + 3;
    let digits = |n: usize| n.to_string().len();
    let mut size = bare + digits(bare);
    size = bare + digits(size);
    out.extend_from_slice(format!("{size} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn seal(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    octal(&mut block[148..155], sum.into());
}

/// Splits a long name at a slash into the two fields of ustar.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !is_ascii(name) {
        return None;
    }
    let longest = if name.len() > PREFIX + 1 {
        PREFIX + 1
    } else {
        name.len() - usize::from(name.ends_with(b"/"))
    };
    let at = name[..longest].iter().rposition(|byte| *byte == b'/')?;
    let rest = name.len() - at - 1;
    let fits = at > 0 && at <= PREFIX && rest > 0 && rest <= NAME;
    fits.then(|| (&name[..at], &name[at + 1..]))
}

fn is_ascii(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (1..0x80).contains(byte))
}

fn ascii(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| (1..0x80).contains(byte)).collect()
}

fn fits_text(bytes: &[u8]) -> bool {
    bytes.len() <= NAME && is_ascii(bytes)
}

/// Returns whether a field of `width` bytes, the last of them NUL, can hold a number.
fn fits_octal(width: u32, value: i128) -> bool {
    (0..1i128 << (3 * (width - 1))).contains(&value)
}

fn text(field: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
    // Old readers take a file whose cut name ends in a slash for a directory.
    if bytes.len() > field.len() {
        let end = field.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
        if let Some(byte) = field.get_mut(end) {
            *byte = 0;
        }
    }
}

/// Writes a number that fits, and zero in place of one that does not (its PAX record counts).
fn octal(field: &mut [u8], value: i128) {
    let width = field.len();
    let fits = fits_octal(u32::try_from(width).unwrap_or(1), value);
    let digits = format!("{:0>1$o}", if fits { value } else { 0 }, width - 1);
    field[..width - 1].copy_from_slice(digits.as_bytes());
    field[width - 1] = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(header: &Header<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        header.write(&mut out).unwrap();
        out
    }

    #[test]
    fn a_plain_header_is_one_ustar_block() {
        let block = write(&Header { mode: 0o644, size: 5, mtime: 1, ..Header::new(b'0', b"a/b") });
        assert_eq!(block.len(), BLOCK);
        assert_eq!(&block[100..108], b"0000644\0");
        assert_eq!(&block[124..136], b"00000000005\0");
        assert_eq!(&block[257..265], b"ustar\x0000");
        assert_eq!(block[154..156], *b"\0 ");
    }

    #[test]
    fn records_count_themselves() {
        let mut out = Vec::new();
        record(&mut out, "path", &[b'x'; 90]);
        assert!(out.starts_with(b"99 path="));
        assert_eq!(out.len(), 99);
        let mut out = Vec::new();
        record(&mut out, "path", &[b'x'; 91]);
        assert!(out.starts_with(b"101 path="), "{}", String::from_utf8_lossy(&out));
        assert_eq!(out.len(), 101);
    }

    #[test]
    fn pax_comes_only_where_needed() {
        let long = |n: usize| [vec![b'd'; n], vec![b'/'], vec![b'f'; 90]].concat();
        assert_eq!(write(&Header::new(b'0', &long(155))).len(), BLOCK);
        assert_eq!(write(&Header::new(b'0', &long(156))).len(), 3 * BLOCK);
        assert_eq!(write(&Header::new(b'0', &[b'n'; 100])).len(), BLOCK);
        assert_eq!(write(&Header::new(b'0', &[b'n'; 101])).len(), 3 * BLOCK);
        assert_eq!(write(&Header::new(b'0', "ä".as_bytes())).len(), 3 * BLOCK);
        let ids = |uid| write(&Header { uid, ..Header::new(b'0', b"a") }).len();
        assert_eq!((ids(0o7_777_777), ids(0o10_000_000)), (BLOCK, 3 * BLOCK));
        let sizes = |size| write(&Header { size, ..Header::new(b'0', b"a") }).len();
        assert_eq!((sizes((8 << 30) - 1), sizes(8 << 30)), (BLOCK, 3 * BLOCK));
        assert_eq!(write(&Header { mtime: -1, ..Header::new(b'0', b"a") }).len(), 3 * BLOCK);
        assert_eq!(write(&Header { link: &[b'l'; 101], ..Header::new(b'2', b"a") }).len(), 1536);
        let capability = Some(&b"\x01\0"[..]);
        assert_eq!(write(&Header { capability, ..Header::new(b'0', b"a") }).len(), 3 * BLOCK);
    }

    #[test]
    fn the_extension_is_named_after_the_entry() {
        let out = write(&Header { uid: u32::MAX, ..Header::new(b'5', b"a/b/") });
        assert!(out.starts_with(b"a/b/PaxHeaders.0\0"));
        assert!(out[512..].starts_with(b"18 uid=4294967295\n"));
        let out = write(&Header { uid: u32::MAX, ..Header::new(b'0', b"a/b") });
        assert!(out.starts_with(b"a/PaxHeaders.0/b\0"));
        assert_eq!(out[1024 + 108..1024 + 116], *b"0000000\0");
    }
}
