//! Bytes to a tar: a few bytes make an entry, out of names that meet, climb and mean something. So a fuzzer spends its
//! time on what entries do to each other and not on checksums.

use super::tarball::{Header, Tarball};

/// Parts of names. `near` and its kin stand beside the root as well, where nothing may change.
const PARTS: [&[u8]; 24] = [
    b"a",
    b"b",
    b"near",
    b"dir",
    b"..",
    b".",
    b"",
    b".wh.a",
    b".wh.near",
    b".wh.dir",
    b".wh.",
    b".wh..",
    b".wh...",
    b".wh..wh..opq",
    b".wh..wh.plnk",
    b".wh..wh.a",
    b"root",
    b"...",
    b"\xff\xfe",
    b"new\nline",
    b"etc",
    b"etc",
    b"c",
    b"-",
];

/// How many entries are read at most.
const MOST: usize = 40;

/// Bytes being used up.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A name of up to four parts: a byte of how many and of what is at its ends, then a byte each.
    fn name(&mut self) -> Option<Vec<u8>> {
        let shape = self.next()?;
        let mut name = Vec::new();
        if shape & 0x10 != 0 {
            name.push(b'/');
        }
        for at in 0..=shape % 4 {
            if at > 0 {
                name.push(b'/');
            }
            name.extend_from_slice(PARTS[usize::from(self.next()?) % PARTS.len()]);
        }
        if shape & 0x20 != 0 {
            name.push(b'/');
        }
        Some(name)
    }
}

/// Makes the tar.
pub(crate) fn tar(program: &[u8]) -> Vec<u8> {
    let mut program = Program(program);
    let mut tar = Tarball::default();
    for _ in 0..MOST {
        match entry(tar.clone(), &mut program) {
            Some(longer) => tar = longer,
            None => break,
        }
    }
    tar.end()
}

fn entry(tar: Tarball, program: &mut Program<'_>) -> Option<Tarball> {
    Some(match program.next()? % 16 {
        0..=2 => {
            let name = program.name()?;
            let size = usize::from(program.next()? % 32);
            tar.file(name, &[b'x'; 32][..size])
        }
        3..=5 => tar.dir(program.name()?),
        6 | 7 => tar.symlink(program.name()?, program.name()?),
        8 | 9 => tar.hard(program.name()?, program.name()?),
        10 => {
            let flag = [b'3', b'4', b'6', b'7', b'Z', 0][usize::from(program.next()?) % 6];
            let device = (program.next()? % 3, program.next()? % 3);
            tar.add(Header { device, ..Header::new(flag, &program.name()?) }, b"")
        }
        11 => tar.entry(b'L', "././@LongLink", program.name()?),
        12 => tar.entry(b'K', "././@LongLink", program.name()?),
        13 => tar.pax(b'x', &[("path", &program.name()?)]),
        14 => tar.pax(b'x', &[("linkpath", &program.name()?)]),
        _ => extreme(tar, program)?,
    })
}

fn extreme(tar: Tarball, program: &mut Program<'_>) -> Option<Tarball> {
    let number = program.next()?.to_string();
    Some(match program.next()? % 8 {
        0 => tar.pax(b'x', &[("size", number.as_bytes())]),
        1 => tar.pax(b'g', &[("path", &program.name()?)]),
        2 => tar.pax(b'x', &[("mtime", format!("-{number}.{number}").as_bytes())]),
        3 => tar.pax(b'x', &[("uid", number.as_bytes()), ("gid", b"4294967294")]),
        4 => tar.pax(b'x', &[("SCHILY.xattr.user.a", number.as_bytes())]),
        5 => tar.pax(b'x', &[("SCHILY.xattr.trusted.overlay.redirect", &program.name()?)]),
        6 => {
            let map = format!("0,1,{number},1");
            let records = [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", b"300")];
            tar.pax(b'x', &records).file(program.name()?, "xy")
        }
        _ => {
            let records =
                [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.realsize", number.as_bytes())];
            tar.pax(b'x', &records).file(program.name()?, program.name()?)
        }
    })
}
