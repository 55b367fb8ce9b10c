//! Archives made to do harm, or merely strange: each has its exact error or its exact result, and nothing outside
//! of the directory is ever touched.

use std::fs;
use std::path::Path;

use kiln::layer::{Limits, unpack};

use super::{Tar, flavour, list};

/// Unpacks into a directory beside a file that must stay as it is.
fn outcome_within(tar: &[u8], limits: Limits) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(dir.path().join("outside"), "untouched").unwrap();
    let result = unpack(tar, &root, None, limits, flavour());
    assert_eq!(fs::read(dir.path().join("outside")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    match result {
        Ok(changes) => {
            check_disk(&root, &list(&changes));
            list(&changes)
        }
        Err(error) => vec![format!("error: {error}")],
    }
}

fn outcome(tar: &[u8]) -> Vec<String> {
    outcome_within(tar, Limits::default())
}

/// The directory holds a file for every change, and no others.
fn check_disk(root: &Path, changes: &[String]) {
    let walk = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    let count = changes.iter().filter(|change| !change.starts_with("/ ")).count();
    assert_eq!(walk.count(), count, "{changes:?}");
}

#[test]
fn paths_end_at_the_root() {
    let tar = Tar::default().file("../outside", "x").file("/abs", "y").file("a/../../b", "z");
    assert_eq!(outcome(&tar.end()), ["/abs file 1", "/b file 1", "/outside file 1"]);
    let tar = Tar::default().dir("./").dir("../..").file("./x", "");
    assert_eq!(outcome(&tar.end()), ["/ dir", "/x file 0"]);
}

#[test]
fn links_lead_nowhere_but_beneath_the_root() {
    let tar = Tar::default().link("up", "..").file("up/outside", "x");
    assert_eq!(outcome(&tar.end()), ["/outside file 1", "/up link .."]);
    let tar = Tar::default().link("abs", "/etc").file("abs/passwd", "x");
    assert_eq!(outcome(&tar.end()), ["/abs link /etc", "/etc dir", "/etc/passwd file 1"]);
    let tar = Tar::default().link("f", "../outside").file("f", "new");
    assert_eq!(outcome(&tar.end()), ["/f file 3"]);
    let tar = Tar::default().link("a", "b").link("b", "a").file("a/x", "");
    assert_eq!(outcome(&tar.end()), ["error: `/a` has too many levels of symbolic links"]);
    // A directory that is replaced by a link between two entries.
    let tar = Tar::default().file("d/x", "1").link("d", "..").file("d/outside", "2");
    assert_eq!(outcome(&tar.end()), ["/d link ..", "/outside file 1"]);
}

#[test]
fn hard_links_stay_within() {
    let cases = [
        (
            "../outside",
            "error: entry `h` of the archive is a hard link to a file that is not there",
        ),
        ("/nowhere", "error: entry `h` of the archive is a hard link to a file that is not there"),
        ("d", "error: entry `h` of the archive is a hard link to a directory"),
        ("h", "error: entry `h` of the archive is a hard link to a file that is not there"),
        ("", "error: entry `h` of the archive is a hard link to no file"),
    ];
    for (to, expected) in cases {
        assert_eq!(outcome(&Tar::default().dir("d").hard("h", to).end()), [expected]);
    }
    let tar = Tar::default().file("h", "x").hard("h", "h");
    assert_eq!(outcome(&tar.end()), ["error: entry `h` of the archive is a hard link to itself"]);
    let tar = Tar::default().link("l", "../outside").hard("h", "l").file("h", "x");
    assert_eq!(outcome(&tar.end()), ["/h file 1", "/l link ../outside"]);
    let tar = Tar::default().link("d", "..").file("f", "1").hard("h", "d/../d/f");
    assert_eq!(outcome(&tar.end()), ["/d link ..", "/f file 1", "/h hard /f"]);
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let tar = Tar::default().file("a", "1").file("a", "22").dir("d").file("d/x", "").file("d", "3");
    assert_eq!(outcome(&tar.end()), ["/a file 2", "/d file 1"]);
    let tar = Tar::default().file("a", "old").hard("b", "a").hard("c", "b").file("a", "new!");
    assert_eq!(outcome(&tar.end()), ["/a file 4", "/b file 3", "/c hard /b"]);
    let tar = Tar::default().file("d", "1").dir("d").file("d/x", "2").dir("d/");
    assert_eq!(outcome(&tar.end()), ["/d dir", "/d/x file 1"]);
    let tar = Tar::default().file("d", "1").file("d/x", "2");
    assert_eq!(
        outcome(&tar.end()),
        ["error: entry `d/x` of the archive lies beneath something that is no directory"]
    );
}

#[test]
fn whiteouts() {
    for name in ["d/.wh..", "d/.wh...", ".wh."] {
        let expected = format!("error: entry `{name}` of the archive is a whiteout of nothing");
        assert_eq!(outcome(&Tar::default().file(name, "").end()), [expected]);
    }
    let tar = Tar::default().dir("d").file("d/.wh.x", "").file("d/y", "").file("d/.wh.y", "");
    assert_eq!(outcome(&tar.end()), ["/d dir", "/d/x gone", "/d/y gone"]);
    let tar = Tar::default().file("d/kept", "").file("d/.wh..wh..opq", "").file("d/new", "");
    assert_eq!(outcome(&tar.end()), ["/d clear", "/d/kept file 0", "/d/new file 0"]);
    let tar = Tar::default().file(".wh.d", "").dir("d").file("d/x", "");
    assert_eq!(outcome(&tar.end()), ["/d clear", "/d/x file 0"]);
    let tar = Tar::default().file(".wh..wh.plnk", "").add(b'3', "null", "");
    assert_eq!(outcome(&tar.end()), ["/null gone"]);
    let tar = Tar::default().link("d", "..").file("d/.wh.outside", "");
    assert_eq!(outcome(&tar.end()), ["/d link ..", "/outside gone"]);
}

#[test]
fn sizes_that_lie() {
    let huge = Tar::header(b'0', b"f", b"", 1 << 62);
    assert_eq!(
        outcome(huge.as_bytes()),
        [format!("error: archive exceeds the limit of {} bytes", Limits::default().bytes)]
    );
    let long = Tar::header(b'L', b"x", b"", 1 << 40);
    assert_eq!(
        outcome(long.as_bytes()),
        ["error: malformed archive: an extended header is too long"]
    );
    let tar = Tar::default().pax(&[("size", b"18446744073709551615")]).file("f", "x").end();
    assert!(outcome(&tar)[0].contains("exceeds the limit"));
    let tar = Tar::default().pax(&[("size", b"-1")]).file("f", "x").end();
    assert_eq!(outcome(&tar), ["error: malformed archive: a PAX record is not a number"]);
    // A directory's size means nothing: what follows is the next header.
    let mut tar = Tar::default();
    tar.0.extend_from_slice(Tar::header(b'5', b"d", b"", 512).as_bytes());
    assert_eq!(outcome(&tar.file("f", "x").end()), ["/d dir", "/f file 1"]);
}

#[test]
fn limits_are_kept() {
    let limits = Limits { entries: 2, bytes: 10, depth: 3 };
    let error = |tar: Tar| outcome_within(&tar.end(), limits);
    let tar = Tar::default().dir("a").dir("b").dir("c");
    assert_eq!(error(tar), ["error: archive exceeds the limit of 2 entries"]);
    let tar = Tar::default().file("a", "123456").file("b", "123456");
    assert_eq!(error(tar), ["error: archive exceeds the limit of 10 bytes"]);
    let mut endless = Tar::default().end();
    endless.resize(endless.len() + 11, 0);
    assert_eq!(outcome_within(&endless, limits), ["error: archive exceeds the limit of 10 bytes"]);
    let tar = Tar::default().dir("a/b/c/d");
    assert_eq!(error(tar), ["error: archive exceeds the limit of 3 directories above an entry"]);
    let deep = "d/".repeat(5000);
    let tar = Tar::default().add(b'L', "././@LongLink", deep).dir("x").end();
    assert!(outcome(&tar)[0].contains("exceeds the limit of 512"));
    let name = "n".repeat(5000);
    let tar = Tar::default().add(b'L', "././@LongLink", name).file("x", "").end();
    assert!(outcome(&tar)[0].starts_with("error: "));
}

#[test]
fn names_and_attributes_are_limited_together() {
    /// The same entry without end.
    struct Again(Vec<u8>, usize);
    impl std::io::Read for Again {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let n = buf.len().min(self.0.len() - self.1);
            buf[..n].copy_from_slice(&self.0[self.1..self.1 + n]);
            self.1 = (self.1 + n) % self.0.len();
            Ok(n)
        }
    }
    let value = vec![b'v'; 900 << 10];
    let entry = Tar::default().pax(&[("SCHILY.xattr.user.big", &value)]).add(b'6', "pipe", "");
    let mut spool = tempfile::tempfile().unwrap();
    let tree = kiln::layer::read_archive(Again(entry.0, 0), &mut spool, Limits::default());
    let expected = "archive exceeds the limit of 268435456 bytes of names and attributes";
    assert_eq!(tree.unwrap_err().to_string(), expected);
}

#[test]
fn truncation_is_noticed_everywhere() {
    let tar = Tar::default().pax(&[("path", b"long")]).file("f", [b'x'; 700]).end();
    let body = tar.len() - 1024;
    for length in 1..body {
        let result = outcome(&tar[..length]);
        // What fills up the last block need not be there.
        let whole = length == 1024 || length >= body - (1024 - 700);
        assert!(whole || result[0].starts_with("error: malformed archive: it ends"), "{length}");
    }
    assert_eq!(outcome(&tar[..body]), ["/long file 700"]);
    let mut smuggled = tar[..body + 512].to_vec();
    smuggled.extend_from_slice(&Tar::default().file("late", "").end());
    assert_eq!(outcome(&smuggled), ["error: malformed archive: something follows its end"]);
    let mut broken = tar;
    broken[0] ^= 1;
    assert_eq!(outcome(&broken), ["error: malformed archive: a header has the wrong checksum"]);
    assert!(outcome(b"").is_empty());
}

#[test]
fn names_are_bytes() {
    let tar = Tar::default().file(b"\xff\xfe", "x").pax(&[("path", b"\xc3\x28")]).file("f", "");
    let expected = ["/\u{fffd}( file 0", "/\u{fffd}\u{fffd} file 1"];
    assert_eq!(outcome(&tar.end()), expected);
    let tar = Tar::default().pax(&[("path", b"a\0b")]).file("f", "").end();
    assert_eq!(outcome(&tar), ["error: entry `a\0b` of the archive has a zero byte in its name"]);
    let tar = Tar::default().pax(&[("linkpath", b"a\0b")]).link("l", "x").end();
    assert_eq!(outcome(&tar), ["error: entry `l` of the archive is a symbolic link to nowhere"]);
    assert_eq!(
        outcome(&Tar::default().add(b'0', "", "x").end()),
        ["error: entry `` of the archive would replace the root directory"]
    );
    assert_eq!(
        outcome(&Tar::default().add(b'Z', "odd", "").end()),
        ["error: entry `odd` of the archive is of an unknown type"]
    );
}

#[test]
fn overlay_attributes_are_not_the_archives_to_set() {
    let redirect = &[("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..])];
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::default().pax(redirect).dir("d").end();
    let changes = unpack(&tar[..], dir.path(), None, Limits::default(), flavour()).unwrap();
    let kiln::layer::Change::Put { meta, .. } = changes.get(&super::path("d")).unwrap() else {
        panic!("no directory");
    };
    assert!(meta.xattrs.is_empty());
    let mut value = [0; 16];
    let found = rustix::fs::getxattr(dir.path().join("d"), "trusted.overlay.redirect", &mut value);
    assert!(found.is_err());
}

#[test]
fn any_damage_ends_in_an_error_or_within_the_root() {
    let tar = Tar::default()
        .dir("d")
        .file("d/f", "content")
        .link("l", "../d")
        .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"b")])
        .hard("h", "d/f")
        .file("l/.wh..wh..opq", "")
        .end();
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize
    };
    for _ in 0..600 {
        let mut damaged = tar.clone();
        for _ in 0..1 + next() % 3 {
            let at = next() % damaged.len();
            damaged[at] = next() as u8;
        }
        // Headers get their checksums again, so that the damage reaches what lies behind them.
        for block in damaged.chunks_exact_mut(512) {
            if &block[257..262] == b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        outcome(&damaged);
    }
}
