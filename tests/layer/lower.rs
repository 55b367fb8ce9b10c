//! Layers unpacked over others, and what overlayfs needs on disk.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::sync::Arc;

use kiln::digest::ContentDigest;
use kiln::layer::{
    Change, Changes, Contents, Kind, LastLink, Limits, PackOptions, TarContents, Tree,
    TreeContents, is_archive, materialise, read_archive, unpack,
};

use super::{Memory, Tarball, file, flavour, list, meta, path};

/// A base with a merged `/usr`, a private directory and two names of one file.
fn base() -> Tree {
    let mut changes = Changes::new();
    for (name, mode) in [("usr", 0o755), ("usr/lib", 0o755), ("private", 0o700)] {
        changes.put(path(name), Kind::Directory, meta(mode));
    }
    changes.put(path("lib"), Kind::Symlink { target: b"usr/lib".to_vec() }, meta(0o777));
    changes.put(path("usr/lib/old"), file(b"old"), meta(0o644));
    changes.put(path("usr/one"), file(b"linked"), meta(0o644));
    changes.put(path("usr/two"), Kind::Hardlink { to: path("usr/one") }, meta(0o644));
    let mut contents = Memory::default();
    contents.0.insert(path("usr/lib/old"), b"old".to_vec());
    contents.0.insert(path("usr/one"), b"linked".to_vec());
    let contents: Arc<dyn Contents> = Arc::new(contents);
    Tree::empty().apply(&changes, &contents).unwrap()
}

fn unpack_over_base(tar: &[u8]) -> (tempfile::TempDir, Changes) {
    let dir = tempfile::tempdir().unwrap();
    let base = base();
    let changes = unpack(tar, dir.path(), Some(&base), Limits::default(), flavour()).unwrap();
    (dir, changes)
}

#[test]
fn links_of_lower_layers_are_followed() {
    let (dir, changes) = unpack_over_base(&Tarball::default().file("lib/new", "n").end());
    assert_eq!(list(&changes), ["/usr dir", "/usr/lib dir", "/usr/lib/new file 1"]);
    assert_eq!(fs::read(dir.path().join("usr/lib/new")).unwrap(), b"n");
    assert!(!dir.path().join("lib").exists());
}

#[test]
fn directories_nobody_describes_are_as_they_were() {
    let (dir, changes) = unpack_over_base(&Tarball::default().file("private/key", "k").end());
    let Some(Change::Put { meta, .. }) = changes.get(&path("private")) else { panic!() };
    assert_eq!(meta.mode, 0o700);
    let disk = fs::metadata(dir.path().join("private")).unwrap();
    assert_eq!((disk.mode() & 0o7777, disk.mtime()), (0o700, 1_700_000_000));
}

#[test]
fn a_hard_link_into_a_lower_layer_copies_the_file() {
    let (dir, changes) = unpack_over_base(&Tarball::default().hard("a", "usr/two").end());
    let expected = ["/a file 6", "/usr dir", "/usr/one hard /a", "/usr/two hard /a"];
    assert_eq!(list(&changes), expected);
    assert_eq!(fs::read(dir.path().join("usr/two")).unwrap(), b"linked");
    assert_eq!(fs::metadata(dir.path().join("a")).unwrap().nlink(), 3);
}

#[test]
fn only_what_is_there_is_whited_out() {
    let tar = Tarball::default()
        .file("usr/.wh.one", "")
        .file("usr/.wh.never", "")
        .file("usr/lib/.wh..wh..opq", "")
        .file("usr/lib/x", "")
        .end();
    let (dir, changes) = unpack_over_base(&tar);
    assert_eq!(
        list(&changes),
        ["/usr dir", "/usr/lib clear", "/usr/lib/x file 0", "/usr/one gone"]
    );
    let whiteout = fs::symlink_metadata(dir.path().join("usr/one")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let name = match flavour().xattrs {
        kiln::layer::OverlayXattrs::Trusted => "trusted.overlay.opaque",
        kiln::layer::OverlayXattrs::User => "user.overlay.opaque",
    };
    let mut value = [0; 4];
    let length = rustix::fs::getxattr(dir.path().join("usr/lib"), name, &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
    let merged = base().apply(&changes, &kiln::layer::Nowhere::shared()).unwrap();
    assert!(merged.get(&path("usr/lib/old")).is_none());
    assert!(merged.get(&path("usr/two")).is_some());
}

#[test]
fn an_opaque_root_names_what_it_hides() {
    let tar = Tarball::default().file("usr/kept", "").file(".wh..wh..opq", "").end();
    let (_, changes) = unpack_over_base(&tar);
    assert_eq!(list(&changes), ["/lib gone", "/private gone", "/usr dir", "/usr/kept file 0"]);
}

#[test]
fn a_directory_made_anew_is_opaque() {
    let tar = Tarball::default().file(".wh.usr", "").file("usr/new", "").end();
    let (_, changes) = unpack_over_base(&tar);
    assert_eq!(list(&changes), ["/usr clear", "/usr/new file 0"]);
    let merged = base().apply(&changes, &kiln::layer::Nowhere::shared()).unwrap();
    assert_eq!(merged.walk(&path("usr")).count(), 2);
}

#[test]
fn an_archive_becomes_a_tree() {
    let tar = Tarball::default()
        .file("a", "first")
        .hard("b", "a")
        .file("a", "second")
        .file(".wh.x", "plain")
        .symlink("l", "b")
        .end();
    assert!(is_archive(&tar[..]));
    assert!(!is_archive(&b"plain text"[..]) && !is_archive(&[][..]) && !is_archive(&[0; 1024][..]));
    let mut spool = tempfile::tempfile().unwrap();
    let tree = read_archive(&tar[..], &mut spool, Limits::default()).unwrap();
    let read = |name: &str| {
        let resolved = tree.resolve(&path(name), LastLink::Follow).unwrap();
        let mut text = String::new();
        tree.open(&resolved).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(
        (read("a"), read("b"), read("l")),
        ("second".into(), "first".into(), "first".into())
    );
    assert_eq!(read(".wh.x"), "plain");
    let content = ContentDigest::of(b"first");
    assert_eq!(tree.get(&path("b")).unwrap().kind(), Kind::File { size: 5, content });
}

#[test]
fn sparse_files_have_their_holes() {
    let dir = tempfile::tempdir().unwrap();
    let sparse = fs::File::create(dir.path().join("s")).unwrap();
    for at in 0..40u64 {
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", at * 65536).unwrap();
    }
    sparse.set_len(40 * 65536).unwrap();
    let expected = fs::read(dir.path().join("s")).unwrap();
    let forms: [&[&str]; 4] = [
        &["--format=gnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ];
    for form in forms {
        let mut tar = std::process::Command::new("tar");
        let tar = tar.args(form).args(["-S", "-cf", "-", "s"]).current_dir(dir.path());
        let packed = tar.output().unwrap().stdout;
        assert!(packed.len() < expected.len() / 4, "{form:?} is not sparse");
        let mut spool = tempfile::tempfile().unwrap();
        let tree = read_archive(&packed[..], &mut spool, Limits::default()).unwrap();
        let mut found = Vec::new();
        tree.open(&path("s")).unwrap().read_to_end(&mut found).unwrap();
        assert!(found == expected, "{form:?}");
    }
}

#[test]
fn many_files_are_materialised_from_a_tar() {
    let (mut changes, mut contents) = (Changes::new(), Memory::default());
    for dir in 0..10 {
        changes.put(path(&format!("d{dir}")), Kind::Directory, meta(0o500));
        for name in 0..50 {
            let (name, text) = (format!("d{dir}/f{name}"), format!("{dir} {name}").into_bytes());
            changes.put(path(&name), file(&text), meta(0o444));
            contents.0.insert(path(&name), text);
        }
    }
    changes.put(path("d9/link"), Kind::Hardlink { to: path("d0/f0") }, meta(0o444));
    changes.insert(path("gone"), Change::Remove);
    let mut tar = tempfile::tempfile().unwrap();
    kiln::layer::pack(&changes, &contents, &PackOptions::default(), &mut tar).unwrap();
    let tar = TarContents::of_pack(tar, &changes, &PackOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    materialise(&changes, &tar, dir.path(), flavour()).unwrap();
    assert_eq!(fs::read(dir.path().join("d7/f33")).unwrap(), b"7 33");
    let (first, last) = (dir.path().join("d0/f0"), dir.path().join("d9/link"));
    assert_eq!(fs::metadata(first).unwrap().ino(), fs::metadata(last).unwrap().ino());
    assert_eq!(fs::metadata(dir.path().join("d3")).unwrap().mode() & 0o7777, 0o500);
    assert_eq!(fs::metadata(dir.path().join("d3")).unwrap().mtime(), 1_700_000_000);
    contents.0.insert(path("d5/f5"), b"5 6".to_vec());
    let other = tempfile::tempdir().unwrap();
    let error = materialise(&changes, &contents, other.path(), flavour()).unwrap_err();
    assert_eq!(error.to_string(), "`/d5/f5` changed while it was being read");
    // Trees serve contents as well.
    let tree = Tree::empty().apply(&changes, &(Arc::new(tar) as Arc<dyn Contents>)).unwrap();
    let mut text = String::new();
    let contents = TreeContents(tree);
    contents.open(&path("d9/link")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "0 0");
}
