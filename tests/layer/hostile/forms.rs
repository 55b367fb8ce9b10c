//! What entries say of themselves: numbers, extended headers, sparse maps, kinds, attributes.

use super::super::Tarball;
use super::super::tarball::{Header, sum};
use super::{check, row, tar};

/// Adds a header that was changed by hand.
fn edited(tar: Tarball, header: Header<'_>, edit: impl Fn(&mut [u8; 512])) -> Tarball {
    let mut block = header.block();
    edit(&mut block);
    sum(&mut block);
    let mut tar = tar;
    tar.0.extend_from_slice(&block);
    tar
}

/// A file `f` of which one field is written as given.
fn with_field(at: usize, bytes: &'static [u8]) -> Tarball {
    edited(tar(), Header::new(b'0', b"f"), |block| {
        block[at..at + bytes.len()].copy_from_slice(bytes);
    })
}

/// A file `f` of one byte after PAX records.
fn with_record(key: &str, value: &[u8]) -> Tarball {
    tar().pax(b'x', &[(key, value)]).file("f", "x")
}

const TOO_MUCH: &str = "error: archive exceeds the limit of 274877906944 bytes";
const NO_SIZE: &str = "error: malformed archive: a size is not a number";
const NO_FIELD: &str = "error: malformed archive: a field is not a number";
const NO_RECORD: &str = "error: malformed archive: a PAX record is not a number";
const NO_PAX: &str = "error: malformed archive: a PAX header is malformed";
const NO_OWNER: &str = "error: malformed archive: an owner is out of range";
const NO_TIME: &str = "error: malformed archive: a time is not a number";
const NO_MAP: &str = "error: malformed archive: a sparse map makes no sense";
const NO_DEVICE: &str = "error: malformed archive: a device number is out of range";
const ENDS: &str = "error: malformed archive: it ends within a file";
const LONG: &str = "error: malformed archive: an extended header is too long";

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn sizes() {
    let sized = |flag: u8, size: u64| tar().add(Header { size, ..Header::new(flag, b"f") }, b"");
    check(vec![
        row("4 EiB", with_field(124, b"\x80\0\0\0\x40\0\0\0\0\0\0\0"), TOO_MUCH),
        row("8 GiB and nothing more", sized(b'0', 0o77777777777), ENDS),
        row(
            "base-256 above 2^63",
            with_field(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
            NO_SIZE,
        ),
        row(
            "base-256 of 96 bits",
            with_field(124, b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            NO_SIZE,
        ),
        row(
            "base-256 below 0",
            with_field(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            NO_SIZE,
        ),
        row("no octal", with_field(124, b"0000000009\0"), NO_SIZE),
        row("a minus sign", with_field(124, b"-0000000001\0"), NO_SIZE),
        row("hexadecimal", with_field(124, b"0x10\0"), NO_SIZE),
        row("nothing", with_field(124, b"\0\0\0\0\0\0\0\0\0\0\0\0"), "/f file 0"),
        row("blanks", with_field(124, b"   0       \0"), "/f file 0"),
        row("PAX 2^64-1", with_record("size", b"18446744073709551615"), TOO_MUCH),
        row("PAX 2^64", with_record("size", b"18446744073709551616"), NO_RECORD),
        row("PAX below 0", with_record("size", b"-1"), NO_RECORD),
        row("PAX with a sign", with_record("size", b"+1"), "/f file 1"),
        row("PAX in words", with_record("size", b"one"), NO_RECORD),
        row("PAX empty", with_record("size", b""), "/f file 1"),
        row(
            "PAX less than there is",
            tar().pax(b'x', &[("size", b"0")]).file("f", "x"),
            "error: malformed archive: a header has the wrong checksum",
        ),
        row("PAX more than there is", with_record("size", b"600"), "/f file 600"),
        row(
            "PAX of a directory",
            tar().pax(b'x', &[("size", b"512")]).dir("d").file("f", ""),
            "/d dir; /f file 0",
        ),
        row(
            "of a directory",
            tar().add(Header { size: 512, ..Header::new(b'5', b"d") }, b"").file("f", "x"),
            "/d dir; /f file 1",
        ),
        row(
            "of a link",
            tar()
                .add(Header { size: 1 << 30, link: b"x", ..Header::new(b'2', b"l") }, b"")
                .file("f", "x"),
            "/f file 1; /l link x",
        ),
        row(
            "of a long name",
            tar().add(Header { size: 1 << 32, ..Header::new(b'L', b"x") }, b""),
            LONG,
        ),
        row(
            "of a long link",
            tar().add(Header { size: (1 << 20) + 1, ..Header::new(b'K', b"x") }, b""),
            LONG,
        ),
        row(
            "of PAX records",
            tar().add(Header { size: 1 << 32, ..Header::new(b'x', b"x") }, b""),
            LONG,
        ),
        row(
            "of global PAX records",
            tar().add(Header { size: 1 << 32, ..Header::new(b'g', b"x") }, b""),
            LONG,
        ),
    ]);
}

#[test]
fn numbers() {
    let huge = b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
    check(vec![
        row("an owner of 2^32", with_record("uid", b"4294967296"), NO_OWNER),
        row("an owner of -1", with_record("uid", b"-1"), NO_RECORD),
        row("a group of 2^64", with_record("gid", b"18446744073709551616"), NO_RECORD),
        row("an owner below 0", with_field(108, b"\xff\xff\xff\xff\xff\xff\xff\xff"), NO_OWNER),
        row("a group above 2^32", with_field(116, b"\x80\0\0\x01\0\0\0\0"), NO_OWNER),
        row("an owner in letters", with_field(108, b"root\0\0\0\0"), NO_FIELD),
        row("a mode in letters", with_field(100, b"rwxrwxrw"), NO_FIELD),
        row("a mode with more bits", with_field(100, b"7777777\0"), "/f file 0"),
        row("a mode below 0", with_field(100, b"\xff\xff\xff\xff\xff\xff\xff\xff"), "/f file 0"),
        row("a time in letters", with_field(136, b"yesterday\0\0\0"), NO_FIELD),
        row("a time of 2^63-1", with_field(136, huge), "/f file 0"),
        row("a time of -2^63", with_field(136, b"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0"), "/f file 0"),
        row("a PAX time of 2^63", with_record("mtime", b"9223372036854775808"), NO_TIME),
        row("a PAX time with an exponent", with_record("mtime", b"1e9"), NO_TIME),
        row("a PAX time with two points", with_record("mtime", b"1.2.3"), NO_TIME),
        row("a PAX time before 1970", with_record("mtime", b"-1.999999999999"), "/f file 1"),
        row(
            "the least PAX time with a fraction",
            with_record("mtime", b"-9223372036854775808.5"),
            NO_TIME,
        ),
        row("no NUL behind a number", with_field(100, b"00000644"), "/f file 0"),
        row("a checksum of signed bytes", signed(), "/\u{fffd} file 0"),
        row(
            "no checksum",
            tar().add(Header::new(b'0', b"f"), b"").zapped(148),
            "error: malformed archive: a header has the wrong checksum",
        ),
    ]);
}

/// Old programs added the bytes up as signed ones.
fn signed() -> Tarball {
    let mut block = Header::new(b'0', b"\xff").block();
    block[148..156].fill(b' ');
    let sum: i64 = block.iter().map(|byte| i64::from(byte.cast_signed())).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Tarball(block.to_vec())
}

trait Zapped {
    fn zapped(self, at: usize) -> Self;
}

impl Zapped for Tarball {
    fn zapped(mut self, at: usize) -> Self {
        self.0[at] = b'7';
        self
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn extended_headers() {
    let chain = |length: usize| {
        let name = |it: Tarball, number: usize| it.entry(b'L', "x", format!("n{number}"));
        (0..length).fold(tar(), name).file("f", "x")
    };
    let in_a_row = "error: malformed archive: too many extended headers in a row";
    check(vec![
        row(
            "a long name that climbs",
            tar().entry(b'L', "x", "../near\0").file("f", "x"),
            "/near file 1",
        )
        .escapes(),
        row(
            "a long link that climbs",
            tar().entry(b'K', "x", "..\0").symlink("l", "x").file("l/near", ""),
            "/l link ..; /near file 0",
        )
        .escapes(),
        row(
            "a PAX name that climbs",
            tar().pax(b'x', &[("path", b"../near")]).file("f", "x"),
            "/near file 1",
        )
        .escapes(),
        row(
            "a PAX link that climbs",
            tar().pax(b'x', &[("linkpath", b"..")]).symlink("l", "x").file("l/near", ""),
            "/l link ..; /near file 0",
        )
        .escapes(),
        row("a sparse name that climbs", with_map("../near", b"0,1"), "/near file 3"),
        row("a few long names", chain(9), "/n8 file 1"),
        row("long names without end", chain(5000), in_a_row),
        row(
            "global ones without end",
            (0..5000).fold(tar(), |it, _| it.pax(b'g', &[("a", b"b")])),
            in_a_row,
        ),
        row("a long name of nothing", tar().entry(b'L', "x", "n"), ""),
        row(
            "a long name that is empty",
            tar().entry(b'L', "x", "").file("f", "x"),
            "error: entry `` of the archive would replace the root directory",
        ),
        row(
            "a long name of a zero byte",
            tar().entry(b'L', "x", "\0").file("f", "x"),
            "error: entry `` of the archive would replace the root directory",
        ),
        row(
            "PAX wins over a long name",
            tar().entry(b'L', "x", "l").pax(b'x', &[("path", b"p")]).file("f", "x"),
            "/p file 1",
        ),
        row(
            "the last PAX header counts",
            tar().pax(b'x', &[("path", b"p")]).pax(b'x', &[("uid", b"1")]).file("f", "x"),
            "/f file 1",
        ),
        row(
            "the last record counts",
            tar().pax(b'x', &[("path", b"p"), ("path", b"q")]).file("f", "x"),
            "/q file 1",
        ),
        row(
            "PAX is for one entry",
            tar().pax(b'x', &[("path", b"p")]).file("f", "x").file("g", ""),
            "/g file 0; /p file 1",
        ),
        row(
            "global records are not for us",
            tar().pax(b'g', &[("path", b"../near")]).file("f", "x"),
            "/f file 1",
        ),
        row(
            "a zero byte in a PAX name",
            with_record("path", b"a\0b"),
            "error: entry `a\0b` of the archive has a zero byte in its name",
        ),
        row(
            "a zero byte in a PAX link",
            tar().pax(b'x', &[("linkpath", b"a\0b")]).symlink("l", "x"),
            "error: entry `l` of the archive is a symbolic link to nowhere",
        ),
        row(
            "a zero byte in a PAX hard link",
            tar().pax(b'x', &[("linkpath", b"a\0b")]).hard("h", "x"),
            "error: entry `h` of the archive is a hard link to no file",
        ),
        row("a length that is short", tar().entry(b'x', "x", "6 path=p\n").file("f", ""), NO_PAX),
        row("a length that is long", tar().entry(b'x', "x", "99 path=p\n").file("f", ""), NO_PAX),
        row(
            "a length of 2^64",
            tar().entry(b'x', "x", "18446744073709551616 path=p\n").file("f", ""),
            NO_PAX,
        ),
        row("a length of 0", tar().entry(b'x', "x", "0 path=p\n").file("f", ""), NO_PAX),
        row("no length", tar().entry(b'x', "x", "path=p\n").file("f", ""), NO_PAX),
        row("no line feed", tar().entry(b'x', "x", "8 path=p").file("f", ""), NO_PAX),
        row("no key", tar().entry(b'x', "x", "5 =p\n").file("f", ""), NO_PAX),
        row("no records", tar().entry(b'x', "x", "").file("f", ""), "/f file 0"),
    ]);
}

/// A sparse file of form 0.1.
fn with_map(name: &str, map: &[u8]) -> Tarball {
    let records =
        [("GNU.sparse.name", name.as_bytes()), ("GNU.sparse.map", map), ("GNU.sparse.size", b"3")];
    tar().pax(b'x', &records).file("f", "x")
}

/// A sparse file of form 0.0: its pairs, its size, what is stored.
fn pairs(pairs: &[(&str, &str)], size: &str, stored: &str) -> Tarball {
    let mut records = vec![("GNU.sparse.size", size.as_bytes())];
    for (offset, length) in pairs {
        records.push(("GNU.sparse.offset", offset.as_bytes()));
        records.push(("GNU.sparse.numbytes", length.as_bytes()));
    }
    tar().pax(b'x', &records).file("f", stored)
}

/// A sparse file of form 1.0: its map in front of what is stored.
fn leading(map: &str, size: &str, stored: &str) -> Tarball {
    let records = [
        ("GNU.sparse.major", &b"1"[..]),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    let mut content = map.as_bytes().to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend_from_slice(stored.as_bytes());
    tar().pax(b'x', &records).file("f", content)
}

/// A sparse file of GNU's own form: one pair, its size, what is stored.
fn old(pair: (&[u8; 12], &[u8; 12]), size: &[u8; 12], stored: &str) -> Tarball {
    let header = Header { size: stored.len() as u64, ..Header::new(b'S', b"f") };
    let it = edited(tar(), header, |block| {
        block[386..398].copy_from_slice(pair.0);
        block[398..410].copy_from_slice(pair.1);
        block[483..495].copy_from_slice(size);
    });
    let mut it = it;
    it.0.extend_from_slice(stored.as_bytes());
    it.0.resize(it.0.len().next_multiple_of(512), 0);
    it
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn sparse_files() {
    let n = |text: &'static [u8; 12]| text;
    let bomb = "1152921504606846976";
    check(vec![
        row("0.0", pairs(&[("2", "1")], "9", "x"), "/f file 9"),
        row("0.0 without pairs", pairs(&[], "9", ""), "/f file 9"),
        row("0.0 a bomb", pairs(&[("0", "1")], bomb, "x"), TOO_MUCH),
        row("0.0 longer than it is", pairs(&[("0", "1")], "0", "x"), NO_MAP),
        row("0.0 more than is stored", pairs(&[("0", "2")], "9", "x"), NO_MAP),
        row("0.0 backwards", pairs(&[("5", "1"), ("0", "1")], "9", "xy"), NO_MAP),
        row("0.0 beyond 2^64", pairs(&[("18446744073709551615", "1")], "9", "x"), NO_MAP),
        row("0.0 below 0", pairs(&[("-1", "1")], "9", "x"), NO_MAP),
        row(
            "0.0 half a pair",
            tar()
                .pax(b'x', &[("GNU.sparse.size", b"9"), ("GNU.sparse.offset", b"0")])
                .file("f", ""),
            NO_MAP,
        ),
        row(
            "0.0 no size",
            tar()
                .pax(b'x', &[("GNU.sparse.offset", b"0"), ("GNU.sparse.numbytes", b"1")])
                .file("f", "x"),
            NO_MAP,
        ),
        row("0.1", with_map("g", b"2,1"), "/g file 3"),
        row("0.1 overlapping", with_map("g", b"0,1,0,0"), NO_MAP),
        row("0.1 half a pair", with_map("g", b"0,1,2"), NO_MAP),
        row("0.1 in letters", with_map("g", b"a,b"), NO_MAP),
        row("1.0", leading("1\n2\n1\n", "9", "x"), "/f file 9"),
        row("1.0 a bomb", leading("1\n0\n1\n", bomb, "x"), TOO_MUCH),
        row("1.0 a map of 2^64 pairs", leading("18446744073709551615\n0\n1\n", "9", "x"), NO_MAP),
        row("1.0 a map that does not end", leading("9\n0\n1\n", "9", "x"), NO_MAP),
        row("1.0 no number", leading("x\n0\n1\n", "9", "x"), NO_MAP),
        row(
            "1.0 no map",
            tar()
                .pax(b'x', &[("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")])
                .file("f", "x"),
            NO_MAP,
        ),
        row(
            "2.0",
            tar().pax(b'x', &[("GNU.sparse.major", b"2")]).file("f", "x"),
            "error: malformed archive: a sparse file has an unknown form",
        ),
        row(
            "GNU's",
            old((n(b"00000000002\0"), n(b"00000000001\0")), b"00000000011\0", "x"),
            "/f file 9",
        ),
        row(
            "GNU's a bomb",
            old((n(b"00000000000\0"), n(b"00000000001\0")), b"\x80\0\0\0\x10\0\0\0\0\0\0\0", "x"),
            TOO_MUCH,
        ),
        row(
            "GNU's below 0",
            old(
                (n(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), n(b"00000000001\0")),
                b"00000000011\0",
                "x",
            ),
            NO_MAP,
        ),
        row(
            "GNU's size below 0",
            old(
                (n(b"00000000000\0"), n(b"00000000001\0")),
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                "x",
            ),
            NO_MAP,
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row after the other")]
fn kinds_and_attributes() {
    let device = |flag: u8, major: u8, minor: u8| {
        tar().add(Header { device: (major, minor), ..Header::new(flag, b"dev") }, b"")
    };
    let of_device = |bytes: &'static [u8]| {
        edited(tar(), Header::new(b'3', b"dev"), |block| block[329..337].copy_from_slice(bytes))
    };
    let long_name = format!("SCHILY.xattr.user.{}", "n".repeat(300));
    check(vec![
        row("a character device", device(b'3', 1, 3), "/dev char 1:3"),
        row("a block device", device(b'4', 7, 0), "/dev block 7:0"),
        row("a block device 0:0", device(b'4', 0, 0), "/dev block 0:0"),
        row("a pipe", device(b'6', 0, 0), "/dev fifo"),
        row(
            "beneath a device",
            device(b'3', 1, 3).file("dev/x", ""),
            "error: entry `dev/x` of the archive lies beneath something that is no directory",
        ),
        row(
            "a device over a file",
            tar().file("dev", "x").add(Header { device: (1, 3), ..Header::new(b'3', b"dev") }, b""),
            "/dev char 1:3",
        ),
        row("a device number below 0", of_device(b"\xff\xff\xff\xff\xff\xff\xff\xff"), NO_DEVICE),
        row("a device number of 2^40", of_device(b"\x80\0\x01\0\0\0\0\0"), NO_DEVICE),
        row("a contiguous file", tar().entry(b'7', "f", "x"), "/f file 1"),
        row(
            "an old directory",
            edited(tar(), Header::new(0, b"d/"), |_| {}).file("d/f", ""),
            "/d dir; /d/f file 0",
        ),
        row("an old file", tar().entry(0, "f", "x"), "/f file 1"),
        row(
            "a volume's label",
            tar().entry(b'V', "label", ""),
            "error: entry `label` of the archive is of an unknown type",
        ),
        row(
            "a part of a file",
            tar().entry(b'M', "part", "x"),
            "error: entry `part` of the archive is of an unknown type",
        ),
        row(
            "an unknown kind",
            tar().entry(b'Z', "odd", ""),
            "error: entry `odd` of the archive is of an unknown type",
        ),
        row(
            "overlay's attributes",
            tar()
                .pax(
                    b'x',
                    &[
                        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                        ("SCHILY.xattr.user.overlay.opaque", b"y"),
                    ],
                )
                .dir("d"),
            "/d dir",
        ),
        row(
            "an attribute of a zero byte",
            tar().pax(b'x', &[("SCHILY.xattr.user.a\0b", b"v")]).file("f", ""),
            "/f file 0",
        ),
        row(
            "an attribute without a name",
            tar().pax(b'x', &[("SCHILY.xattr.", b"v")]).file("f", ""),
            "/f file 0",
        ),
        row(
            "an attribute's name of 300 bytes",
            tar().pax(b'x', &[(&long_name, b"v")]).file("f", ""),
            "/f file 0",
        ),
        row(
            "an attribute of a link",
            tar().pax(b'x', &[("SCHILY.xattr.user.a", b"v")]).symlink("l", "../near"),
            "/l link ../near",
        ),
    ]);
}
