//! Archives that end too early or were changed, and attributes that are not theirs to set.

use kiln::layer::{Change, Limits, unpack};

use super::super::{flavour, path};
use super::{outcome, tar};

#[test]
fn truncation_is_noticed_everywhere() {
    let whole_tar = tar().pax(b'x', &[("path", b"long")]).file("f", [b'x'; 700]).end();
    let body = whole_tar.len() - 1024;
    for length in 1..body {
        let result = outcome(&whole_tar[..length]);
        // What fills up the last block need not be there.
        let whole = length == 1024 || length >= body - (1024 - 700);
        assert!(whole || result[0].starts_with("error: malformed archive: it ends"), "{length}");
    }
    assert_eq!(outcome(&whole_tar[..body]), ["/long file 700"]);
    let mut smuggled = whole_tar[..body + 512].to_vec();
    smuggled.extend_from_slice(&tar().file("late", "").end());
    assert_eq!(outcome(&smuggled), ["error: malformed archive: something follows its end"]);
    let mut broken = whole_tar;
    broken[0] ^= 1;
    assert_eq!(outcome(&broken), ["error: malformed archive: a header has the wrong checksum"]);
    assert!(outcome(b"").is_empty());
}

#[test]
fn overlay_attributes_are_not_the_archives_to_set() {
    let redirect = &[("SCHILY.xattr.trusted.overlay.redirect", &b"/etc"[..])];
    let dir = tempfile::tempdir().unwrap();
    let it = tar().pax(b'x', redirect).dir("d").end();
    let changes = unpack(&it[..], dir.path(), None, Limits::default(), flavour()).unwrap();
    let Change::Put { meta, .. } = changes.get(&path("d")).unwrap() else {
        panic!("no directory");
    };
    assert!(meta.xattrs.is_empty());
    let mut value = [0; 16];
    let found = rustix::fs::getxattr(dir.path().join("d"), "trusted.overlay.redirect", &mut value);
    assert!(found.is_err());
}
