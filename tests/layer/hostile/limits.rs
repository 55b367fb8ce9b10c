//! How much an archive may hold.

use kiln::layer::{Limits, read_archive};

use super::super::Tarball;
use super::{added, outcome, outcome_within, tar};

#[test]
fn limits_are_kept() {
    let limits = Limits { entries: 2, bytes: 10, depth: 3 };
    let error = |it: Tarball| outcome_within(&it.end(), limits);
    let it = tar().dir("a").dir("b").dir("c");
    assert_eq!(error(it), ["error: archive exceeds the limit of 2 entries"]);
    let it = tar().file("a", "123456").file("b", "123456");
    assert_eq!(error(it), ["error: archive exceeds the limit of 10 bytes"]);
    let mut endless = tar().end();
    endless.resize(endless.len() + 11, 0);
    assert_eq!(outcome_within(&endless, limits), ["error: archive exceeds the limit of 10 bytes"]);
    let it = tar().dir("a/b/c/d");
    assert_eq!(error(it), ["error: archive exceeds the limit of 3 directories above an entry"]);
    let deep = "d/".repeat(5000);
    let it = tar().entry(b'L', "././@LongLink", deep).dir("x").end();
    assert!(outcome(&it)[0].contains("exceeds the limit of 512"));
}

/// What the file system would not take. In memory any name has room, and a layer made of it can be read everywhere
/// that has room for it.
#[test]
fn names_that_are_long() {
    let long =
        |length: usize| tar().entry(b'L', "././@LongLink", "n".repeat(length)).file("x", "").end();
    for (length, expected) in [
        (255, "/N file 0"),
        (256, "error: cannot create `ROOT/N`"),
        (5000, "error: cannot create `ROOT/N`"),
    ] {
        let found = outcome(&long(length)).join("; ").replace(&"n".repeat(length), "N");
        assert_eq!(found, expected);
    }
    assert_eq!(added(&long(256)), [format!("/{} file 0", "n".repeat(256))]);
    assert!(added(&long(5000))[0].ends_with("is too long"));
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
    let entry = tar().pax(b'x', &[("SCHILY.xattr.user.big", &value)]).entry(b'6', "pipe", "");
    let mut spool = tempfile::tempfile().unwrap();
    let tree = read_archive(Again(entry.0, 0), &mut spool, Limits::default());
    let expected = "archive exceeds the limit of 268435456 bytes of names and attributes";
    assert_eq!(tree.unwrap_err().to_string(), expected);
}
