//! Archives: each through every door, with one outcome for all that take a tree and one for those that look for images.

use std::io::Write as _;

use crate::doors::{ALL, Door, Victim};
use crate::tarball::{Header, Tarball};

/// What comes of an archive.
enum Comes {
    /// It is taken.
    Taken,
    /// It is refused for this reason.
    Refused(&'static str),
    /// ADD takes it for an ordinary file; the others refuse it.
    NoArchive(&'static str),
}

struct Row {
    name: &'static str,
    archive: Vec<u8>,
    comes: Comes,
}

fn row(name: &'static str, archive: Vec<u8>, comes: Comes) -> Row {
    Row { name, archive, comes }
}

fn tar() -> Tarball {
    Tarball::default()
}

/// Brings each row's archive in through every door.
fn check(rows: &[Row]) {
    check_through(&ALL, rows);
}

fn check_through(doors: &[Door], rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        let victim = Victim::new();
        for door in doors.iter().copied() {
            let ended = victim.through(door, &row.archive);
            let added = matches!(door, Door::Add | Door::AddFromWeb);
            let expected = match row.comes {
                Comes::Taken if door.takes_a_tree() => None,
                Comes::Taken => Some("there are no images in the archive"),
                Comes::NoArchive(_) if added => None,
                Comes::Refused(cause) | Comes::NoArchive(cause) => Some(cause),
            };
            let as_expected = match expected {
                None => ended.code == Some(0),
                Some(cause) => {
                    // A step of a build that fails is 1.
                    matches!(ended.code, Some(1 | 2)) && ended.error().contains(cause)
                }
            };
            if !as_expected {
                wrong.push(format!(
                    "{} through {door:?}: {:?}, expected {expected:?}\n{}",
                    row.name,
                    ended.code,
                    ended.error()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The header of a file of so many bytes, which are all that follows.
fn large(size: u64) -> Vec<u8> {
    Header { size, ..Header::new(b'0', b"zeros") }.block().to_vec()
}

#[test]
fn names_that_lead_out() {
    use Comes::{Refused, Taken};
    let nothing = "is a hard link to a file that is not there";
    check(&[
        row(
            "up",
            tar().file("../near", "x").file("../../near", "x").file("/near", "x").end(),
            Taken,
        ),
        row("a link up", tar().symlink("up", "..").file("up/near", "x").end(), Taken),
        row(
            "an absolute link",
            tar().symlink("e", "/etc").file("e/kiln-was-here", "x").end(),
            Taken,
        ),
        row("a link over a link", tar().symlink("a", "../near").file("a", "x").end(), Taken),
        row("a hard link out", tar().hard("h", "../../near").end(), Refused(nothing)),
        row("an absolute hard link", tar().hard("h", "/etc/passwd").end(), Refused(nothing)),
        row(
            "links in a circle",
            tar().symlink("a", "b").symlink("b", "a").file("a/x", "").end(),
            Refused("has too many levels of symbolic links"),
        ),
        row(
            "devices",
            tar().add(Header { device: (1, 3), ..Header::new(b'3', b"null") }, b"").end(),
            Taken,
        ),
        row(
            "a zero byte",
            tar().pax(b'x', &[("path", b"a\0b")]).file("f", "").end(),
            Refused("has a zero byte in its name"),
        ),
    ]);
    assert!(!std::path::Path::new("/etc/kiln-was-here").exists());
}

#[test]
fn sizes_that_lie() {
    use Comes::{NoArchive, Refused};
    let limit = "archive exceeds the limit of 274877906944 bytes";
    let deep = "d/".repeat(600);
    check(&[
        row(
            "a file of 8 EiB",
            tar().pax(b'x', &[("size", b"9223372036854775807")]).file("f", "x").end(),
            Refused(limit),
        ),
        row(
            "a hole of 1 EiB",
            tar()
                .pax(
                    b'x',
                    &[("GNU.sparse.map", b"0,1"), ("GNU.sparse.size", b"1152921504606846976")],
                )
                .file("f", "x")
                .end(),
            Refused(limit),
        ),
        row(
            "many holes",
            (0..300)
                .fold(tar(), |it, _| {
                    it.pax(
                        b'x',
                        &[("GNU.sparse.map", b"0,0"), ("GNU.sparse.size", b"274877906945")],
                    )
                    .file("f", "")
                })
                .end(),
            Refused(limit),
        ),
        row(
            "a name of 4 GiB",
            tar().add(Header { size: 1 << 32, ..Header::new(b'L', b"x") }, b"").end(),
            NoArchive("an extended header is too long"),
        ),
        row(
            "names without end",
            (0..200).fold(tar(), |it, _| it.entry(b'L', "x", "n")).end(),
            NoArchive("too many extended headers in a row"),
        ),
        row(
            "600 directories deep",
            tar().entry(b'L', "x", deep).dir("x").end(),
            Refused("archive exceeds the limit of 512 directories above an entry"),
        ),
        row("the end of a file missing", large(1 << 30), Refused("it ends within a file")),
    ]);
}

/// 128 MiB of zeros in a few hundred KiB, in every compression: what comes out is never in memory as a whole.
#[test]
fn bombs() {
    use Comes::Taken;
    const ZEROS: usize = 128 << 20;
    let whole = {
        let mut tar = large(ZEROS as u64);
        tar.resize(tar.len() + ZEROS + 1024, 0);
        tar
    };
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(&whole).unwrap();
        encoder.finish().unwrap()
    };
    // Several members, because bzip2 takes its time.
    let bzip2 = |bytes: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zeros = bzip2(&vec![0; 8 << 20]);
    let members = [bzip2(&whole[..512]), zeros.repeat(ZEROS >> 23), bzip2(&[0; 1024])].concat();
    check(&[row("gzip", gzip(&whole), Taken)]);
    // The same way for all of them leads to what differs.
    check_through(
        &[Door::Import],
        &[
            row("gzip in members", [gzip(&whole[..512]), gzip(&whole[512..])].concat(), Taken),
            row("zstd", zstd::encode_all(&whole[..], 1).unwrap(), Taken),
            row("xz", xz, Taken),
            row("bzip2", members, Taken),
        ],
    );
}

/// What asks for more memory than any honest file needs.
#[test]
fn windows_and_dictionaries() {
    use Comes::NoArchive;
    // A frame without a size whose window is 2^(10 + 21) bytes, and a block of zeros that is the last.
    let zstd =
        |exponent: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3], &[3, 8, 0, 0][..]].concat();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&tar().file("f", "x").end()).unwrap();
    let mut xz = xz.finish().unwrap();
    // The dictionary's size is a byte of the block's header, which has a checksum.
    assert_eq!(&xz[12..16], [2, 0, 0x21, 1]);
    xz[16] = 38;
    let sum = crc32fast::hash(&xz[12..20]);
    xz[20..24].copy_from_slice(&sum.to_le_bytes());
    let deflate = b"\x1f\x8b\x08\x1c\0\0\0\0\0\xff".repeat(1000);
    check(&[
        row(
            "zstd with a window of 2 GiB",
            zstd(21),
            NoArchive("Frame requires too much memory for decoding"),
        ),
        row("xz with a dictionary of 2 GiB", xz, NoArchive("memory limit reached")),
        row("gzip of nothing but headers", deflate, NoArchive("cannot read the archive")),
    ]);
}

/// Each of them has something of the last one, which must not take time as the square of their number: this would be
/// minutes.
#[test]
fn many_hard_links() {
    let files = (0..15_000).fold(tar(), |it, number| it.file(format!("f{number}"), ""));
    let links =
        (0..15_000).fold(files, |it, number| it.hard(format!("l{number}"), format!("f{number}")));
    check_through(&[Door::Import, Door::Add], &[row("many hard links", links.end(), Comes::Taken)]);
}

/// Entries cost memory, each one to two KiB.
#[test]
fn many_entries() {
    let one = tar().dir("d").0;
    let mut many = Vec::new();
    for number in 0..30_000 {
        let name = format!("{}/{number}", number % 100);
        many.extend_from_slice(&Header::new(b'0', name.as_bytes()).block());
    }
    check(&[row("many files", gzip(&[one, many, vec![0; 1024]].concat()), Comes::Taken)]);
}
