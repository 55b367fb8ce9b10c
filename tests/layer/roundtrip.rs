//! What is packed comes back the same, and other programs read it as we meant it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;

use kiln::layer::{
    Change, Changes, Contents, Edit, Encoded, Kind, Limits, Metadata, Node, Origin, PackOptions,
    TarContents, Timestamp, Tree, TreeContents, TreePath, materialise, unpack,
};

use super::{Memory, file, flavour, meta, pack_all, path};

/// One thing done to a tree.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Put(String, Kind, Metadata),
    Link(String, String),
    Remove(String),
}

fn names() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[abc]",
        Just("ümläut".to_owned()),
        Just("n".repeat(120)),
        Just("sp ace".to_owned()),
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn metas() -> impl Strategy<Value = Metadata> {
    let ids = prop_oneof![Just(0u32), Just(1000), Just(0o10_000_000), Just(u32::MAX - 1)];
    let capability = [1u8, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mtimes = prop_oneof![Just(0i64), Just(1_700_000_000), Just(-1), Just(1 << 33)];
    (0u32..0o10000, ids.clone(), ids, mtimes, prop::bool::weighted(0.1)).prop_map(
        move |(mode, uid, gid, seconds, capable)| {
            let mut meta = Metadata { mode, uid, gid, ..Metadata::default() };
            meta.mtime = Timestamp { seconds, nanoseconds: 0 };
            if capable {
                meta.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
            }
            meta
        },
    )
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        3 => "[xyz]{0,9}".prop_map(|text| file(text.as_bytes())),
        2 => Just(Kind::Directory),
        1 => Just(Kind::Symlink { target: b"../some/where".to_vec() }),
        1 => Just(Kind::Symlink { target: vec![b't'; 300] }),
        1 => Just(Kind::Fifo),
        1 => Just(Kind::CharDevice { major: 1, minor: 3 }),
    ];
    let step = prop_oneof![
        6 => (names(), kind, metas()).prop_map(|(name, kind, meta)| Step::Put(name, kind, meta)),
        1 => (names(), names()).prop_map(|(name, to)| Step::Link(name, to)),
        1 => names().prop_map(Step::Remove),
    ];
    prop::collection::vec(step, 0..25)
}

/// Every text that `steps` can put into a file, by the digest of it.
struct AnyText;

impl Contents for AnyText {
    fn open(&self, path: &TreePath) -> kiln::fs::Result<Box<dyn std::io::Read + Send + '_>> {
        let text = path.name().unwrap_or_default();
        Ok(Box::new(std::io::Cursor::new(if text == b"-" { vec![] } else { text.to_vec() })))
    }
}

pub(super) fn edit(base: Tree, steps: &[Step], texts: &Texts) -> (Tree, Changes) {
    let mut edit = Edit::new(base);
    for step in steps {
        // What does not fit is refused, and the edit goes on.
        let _ = match step {
            Step::Put(name, kind, meta) => {
                let origin = || Origin::new(Arc::new(AnyText), &texts.path_of(kind));
                edit.put(&path(name), Node::of(kind, meta.clone(), origin).unwrap())
            }
            Step::Link(name, to) => edit.link(&path(name), &path(to)),
            Step::Remove(name) => edit.remove(&path(name)).map(drop),
        };
    }
    edit.finish()
}

/// The texts of the files, found again by digest.
pub(super) struct Texts(std::collections::HashMap<kiln::digest::ContentDigest, String>);

impl Texts {
    pub(super) fn all() -> Self {
        let mut texts = vec![String::new()];
        let mut all = texts.clone();
        for _ in 0..9 {
            texts = texts.iter().flat_map(|t| ["x", "y", "z"].map(|c| format!("{t}{c}"))).collect();
            all.extend_from_slice(&texts);
        }
        let digest = |text: String| (kiln::digest::ContentDigest::of(text.as_bytes()), text);
        Self(all.into_iter().map(digest).collect())
    }

    fn path_of(&self, kind: &Kind) -> TreePath {
        let Kind::File { content, .. } = kind else { return TreePath::root() };
        let text = &self.0[content];
        path(if text.is_empty() { "-" } else { text })
    }
}

/// Everything on disk that a container could see.
fn disk(root: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name();
    let describe = |entry: walkdir::DirEntry| {
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        let content = if meta.is_file() { fs::read(entry.path()).unwrap() } else { vec![] };
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let links = if meta.is_dir() { 0 } else { meta.nlink() };
        // The time of a whiteout is of no consequence.
        let whiteout = (meta.mode() & libc::S_IFMT) == libc::S_IFCHR && meta.rdev() == 0;
        let mtime = if whiteout { 0 } else { meta.mtime() };
        format!(
            "{} {:o} {}:{} {size} {links} {mtime} {} {content:?}",
            entry.path().strip_prefix(root).unwrap().display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.rdev()
        )
    };
    walk.into_iter().map(|entry| describe(entry.unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..Default::default()
    })]

    #[test]
    fn what_is_packed_is_unpacked(lower in steps(), upper in steps()) {
        let texts = Texts::all();
        let (base, below) = edit(Tree::empty(), &lower, &texts);
        let (tree, changes) = edit(base.clone(), &upper, &texts);
        let contents = TreeContents(tree.clone());
        let tar = pack_all(&changes, &contents);
        prop_assert_eq!(&tar, &pack_all(&changes, &contents));

        let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
        let limits = Limits::default();
        let over = unpack(&tar[..], dirs[0].path(), Some(&base), limits, flavour()).unwrap();
        prop_assert_eq!(&over, &changes);
        let alone = unpack(&tar[..], dirs[1].path(), None, limits, flavour()).unwrap();
        prop_assert_eq!(&alone, &changes);
        materialise(&changes, &contents, dirs[2].path(), flavour()).unwrap();
        let encoded = Encoded::new(changes.encode()).unwrap();
        materialise(&encoded, &contents, dirs[3].path(), flavour()).unwrap();
        let on_disk = disk(dirs[0].path());
        prop_assert_eq!(&on_disk, &disk(dirs[1].path()));
        prop_assert_eq!(&on_disk, &disk(dirs[2].path()));
        prop_assert_eq!(&on_disk, &disk(dirs[3].path()));

        let again = base.apply(&changes, &kiln::layer::Nowhere::shared()).unwrap();
        let whole = Tree::empty().apply(&below, &kiln::layer::Nowhere::shared()).unwrap();
        let whole = whole.apply(&changes, &kiln::layer::Nowhere::shared()).unwrap();
        prop_assert_eq!(again.root().identity(), whole.root().identity());
        prop_assert_eq!(Changes::decode(&changes.encode()).unwrap(), changes);
    }
}

/// A layer with everything that needs more than a plain header.
fn everything() -> (Changes, Memory) {
    let (mut changes, mut contents) = (Changes::new(), Memory::default());
    let long = format!("dir/{}/{}", "d".repeat(120), "f".repeat(90));
    let longer = format!("dir/{}", "g".repeat(150));
    for name in ["dir", &format!("dir/{}", "d".repeat(120))] {
        changes.put(path(name), Kind::Directory, meta(0o1777));
    }
    let files = [("a", 0), ("dir/file", 5), (&long, 600), (&longer, 512), ("dir/ümläut", 3)];
    for (i, (name, size)) in files.into_iter().enumerate() {
        let text = vec![b'a' + i as u8; size];
        let uid = [0, 1000, 0o10_000_000, 0, 7][i];
        changes.put(path(name), file(&text), Metadata { uid, ..meta(0o4755) });
        contents.0.insert(path(name), text);
    }
    changes.put(path("dir/hard"), Kind::Hardlink { to: path("dir/file") }, meta(0o4755));
    let far = Kind::Symlink { target: vec![b'x'; 130] };
    changes.put(path("dir/far"), far, meta(0o777));
    changes.put(path("dir/link"), Kind::Symlink { target: b"./a//b/".to_vec() }, meta(0o777));
    changes.put(path("null"), Kind::CharDevice { major: 1, minor: 3 }, meta(0o666));
    changes.put(path("loop"), Kind::BlockDevice { major: 7, minor: 0 }, meta(0o660));
    changes.put(path("pipe"), Kind::Fifo, meta(0o600));
    changes.insert(path("gone"), Change::Remove);
    changes.insert(path("zz"), Change::Clear { meta: meta(0o755) });
    (changes, contents)
}

const LIST_WITH_PYTHON: &str = r#"
import stat, sys, tarfile, time
kinds = {tarfile.REGTYPE: "-", tarfile.DIRTYPE: "d", tarfile.LNKTYPE: "h", tarfile.SYMTYPE: "l",
         tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b", tarfile.FIFOTYPE: "p"}
for t in tarfile.open(sys.argv[1]):
    mode = kinds[t.type] + stat.filemode(t.mode)[1:]
    size = "%d,%d" % (t.devmajor, t.devminor) if t.isdev() and not t.isfifo() else t.size
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t.mtime))
    name = t.name + ("/" if t.isdir() else "")
    link = {"h": " link to " + t.linkname, "l": " -> " + t.linkname}.get(mode[0], "")
    print(f"{mode} {t.uid}/{t.gid} {size} {when} {name}{link}")
"#;

#[test]
fn gnu_tar_and_python_read_the_same() {
    let (changes, contents) = everything();
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("layer.tar");
    fs::write(&packed, pack_all(&changes, &contents)).unwrap();
    let run = |command: &mut Command| {
        let output = command.env("LC_ALL", "C.UTF-8").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let squeeze = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().map(squeeze).collect::<Vec<_>>()
    };
    let gnu = run(Command::new("tar")
        .args(["--numeric-owner", "--utc", "--full-time", "--quoting-style=literal", "-tvf"])
        .arg(&packed));
    let python = run(Command::new("python3").args(["-c", LIST_WITH_PYTHON]).arg(&packed));
    assert_eq!(gnu, python);
    // A file each, and one more for the mark in the cleared directory.
    assert_eq!(gnu.len(), changes.len() + 1);
    assert_eq!(gnu[0], "-rwsr-xr-x 0/0 0 2023-11-14 22:13:20 a");
    let hard = "hrwsr-xr-x 0/0 0 2023-11-14 22:13:20 dir/hard link to dir/file";
    assert!(gnu.iter().any(|line| line == hard), "{gnu:#?}");
    assert!(gnu.iter().any(|line| line == "---------- 0/0 0 1970-01-01 00:00:00 .wh.gone"));
    let extracted = run(Command::new("tar").arg("-xOf").arg(&packed).arg("dir/file"));
    assert_eq!(extracted, ["bbbbb"]);
}

#[test]
fn offsets_lead_to_the_contents() {
    let (changes, contents) = everything();
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, &pack_all(&changes, &contents)).unwrap();
    let tar = TarContents::of_pack(file, &changes, &PackOptions::default()).unwrap();
    for (path, text) in &contents.0 {
        let mut found = Vec::new();
        tar.open(path).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(&found, text, "{path}");
    }
    assert!(tar.open(&path("dir/hard")).is_err());
}
