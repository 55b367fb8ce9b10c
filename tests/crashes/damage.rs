//! Every kind of damage: `kiln check-store` says what it is, `--dry-run` changes nothing, and after the repair a build
//! gives the image that an undisturbed store gives.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use crate::prepared::Prepared;

/// Changes one byte and nothing else.
fn flip(path: &Path) {
    let times = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
}

/// Everything of the store that a check must leave alone.
fn listing(top: &Path) -> BTreeMap<String, (u64, u32, u64, i64, i64)> {
    let entries = walkdir::WalkDir::new(top).into_iter().map(|entry| {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let what = (meta.ino(), meta.mode(), meta.size(), meta.mtime(), meta.mtime_nsec());
        (entry.path().display().to_string(), what)
    });
    let passing = ["/tmp", "/locks"];
    entries.filter(|(path, _)| !passing.iter().any(|it| path.ends_with(it))).collect()
}

/// The lines about everything that leads to a layer.
fn about_layer(store: &Prepared, layer: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, (_, text)) in store.records("step") {
        if text.contains(layer) {
            let body: serde_json::Value =
                serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
            let name = body["name"].as_str().unwrap();
            lines.push(format!("step {key}: `{name}` lacks layer {layer}: removed"));
        }
    }
    let chains = store.records("chain");
    let chains: Vec<_> = chains.iter().filter(|(_, (_, text))| text.contains(layer)).collect();
    assert!(!lines.is_empty() && !chains.is_empty());
    lines.extend(about_image(store, &format!("its layer {}", tar(store, layer))));
    lines.extend(chains.iter().map(|(id, _)| format!("chain {id}: lacks layer {layer}: removed")));
    lines
}

/// The lines about what leads to the image.
fn about_image(store: &Prepared, lack: &str) -> Vec<String> {
    let id = store.id.trim().trim_start_matches("sha256:");
    vec![
        format!("name app:latest: lacks {lack}: taken away"),
        format!("image {id}: lacks {lack}: removed"),
    ]
}

/// The digest of a layer's tar.
fn tar(store: &Prepared, layer: &str) -> String {
    fs::read_to_string(store.files(layer).with_file_name("diff-id")).unwrap()
}

/// What a check that changes nothing says in place of what a repair says.
fn undone(line: &str) -> String {
    let (what, done) = line.rsplit_once(": ").unwrap();
    let done = match done {
        "counts again" => "would count again".to_owned(),
        "swept" | "removed" | "taken away" | "removed, to be made again of the rest" => {
            format!("would be {done}")
        }
        done => done.to_owned(),
    };
    format!("{what}: {done}")
}

fn lines(text: &str) -> (Vec<String>, String) {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    (lines, last.rsplit_once(" read: ").unwrap().1.to_owned())
}

/// Holds the store, after it was damaged, against what must be said of it, and has it repaired.
fn assert_repaired(store: &Prepared, case: &str, expected: &[String]) {
    let count = expected.iter().filter(|line| !line.ends_with(": swept")).count();
    let problems = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
    let is_lost = expected.iter().any(|line| line.ends_with(": taken away"));
    let before = listing(&store.state());
    let looked = store.check(&["--dry-run"]);
    let (said, verdict) = lines(&looked.stdout);
    assert_eq!(said, expected.iter().map(|it| undone(it)).collect::<Vec<_>>(), "{case}");
    let all_is_well = "all is well".to_owned();
    let unchanged = format!("{problems}, nothing was changed");
    assert_eq!(verdict, if count == 0 { all_is_well.clone() } else { unchanged }, "{case}");
    assert_eq!(looked.code, Some(i32::from(count > 0)), "{case}: {}", looked.stderr);
    assert_eq!(listing(&store.state()), before, "{case}");

    let repaired = store.check(&[]);
    let (said, verdict) = lines(&repaired.stdout);
    assert_eq!(said, expected, "{case}");
    let lost = format!("{problems}; pull or build again what has lost its name");
    let done = match (count, is_lost) {
        (0, _) => all_is_well,
        (_, true) => lost,
        (_, false) => format!("{problems}, all repaired"),
    };
    assert_eq!((verdict, repaired.code), (done, Some(i32::from(is_lost))), "{case}");
    store.settle();
    store.assert_sound(case);
    store.assert_builds(case);
}

/// Damages a store, with what must be said of it.
type Damage = fn(&Prepared) -> Vec<String>;

fn all(cases: &[(&str, Damage)]) {
    let store = Prepared::new();
    store.assert_sound("untouched");
    for (case, damage) in cases {
        store.restore();
        let expected = damage(&store);
        assert_repaired(&store, case, &expected);
    }
}

#[test]
fn damaged_blobs() {
    all(&[
        ("a byte of the manifest", |store| {
            flip(&store.blob(&store.digest));
            let now = kiln::digest::Digest::of(&fs::read(store.blob(&store.digest)).unwrap());
            let name = store.digest.trim_start_matches("sha256:");
            let mut lines = about_image(store, &format!("its manifest {}", store.digest));
            lines.push(format!("blob {name}: has the digest {now}: removed"));
            lines
        }),
        ("no manifest", |store| {
            fs::remove_file(store.blob(&store.digest)).unwrap();
            about_image(store, &format!("its manifest {}", store.digest))
        }),
        ("no config", |store| {
            fs::remove_file(store.blob(store.id.trim())).unwrap();
            about_image(store, &format!("its config {}", store.id.trim()))
        }),
        // The layer's directory is there as well.
        ("a tar cut short", |store| {
            let tar = tar(store, &store.layer("copied"));
            let file = fs::File::options().write(true).open(store.blob(&tar)).unwrap();
            file.set_len(512).unwrap();
            let now = kiln::digest::Digest::of(&fs::read(store.blob(&tar)).unwrap());
            let name = tar.trim_start_matches("sha256:");
            vec![format!("blob {name}: has the digest {now}: removed")]
        }),
        ("an empty tar", |store| {
            let tar = tar(store, &store.layer("bin/busybox"));
            fs::write(store.blob(&tar), "").unwrap();
            vec![format!("blob {}: is empty: removed", tar.trim_start_matches("sha256:"))]
        }),
        ("a stranger", |store| {
            fs::write(store.blob("stranger"), "").unwrap();
            vec!["blob stranger: is no blob: removed".to_owned()]
        }),
        ("a directory for a blob", |store| {
            let tar = tar(store, &store.layer("copied"));
            fs::remove_file(store.blob(&tar)).unwrap();
            fs::create_dir(store.blob(&tar)).unwrap();
            let name = tar.trim_start_matches("sha256:");
            vec![format!("blob {name}: is no regular file: removed")]
        }),
    ]);
}

/// Damages the directory of a RUN's layer, with what must be said of the layer.
type FileDamage = (&'static str, fn(&Path), &'static str);

const FILE_DAMAGES: [FileDamage; 10] = [
    ("a byte", |files| flip(&files.join("own/f")), "its `/own/f` has another content"),
    (
        "zeros",
        |files| fs::write(files.join("own/f"), [0; 4]).unwrap(),
        "its `/own/f` has another content",
    ),
    (
        "less",
        |files| fs::write(files.join("own/f"), "").unwrap(),
        "its `/own/f` has 0 bytes, not 4",
    ),
    (
        "gone",
        |files| fs::remove_file(files.join("own/link")).unwrap(),
        "its `/own/link` is missing",
    ),
    (
        "mode",
        |files| fs::set_permissions(files.join("own"), fs::Permissions::from_mode(0o700)).unwrap(),
        "its `/own` has mode 700, not 755",
    ),
    (
        "owner",
        |files| chown(files.join("own"), Some(5), Some(6)).unwrap(),
        "its `/own` belongs to 5:6, not to 0:0",
    ),
    (
        "target",
        |files| {
            fs::remove_file(files.join("own/link")).unwrap();
            symlink("hard", files.join("own/link")).unwrap();
        },
        "its `/own/link` leads to `hard`, not to `f`",
    ),
    (
        "kind",
        |files| {
            fs::remove_file(files.join("own/link")).unwrap();
            fs::create_dir(files.join("own/link")).unwrap();
        },
        "its `/own/link` is a directory, not a link",
    ),
    (
        "no hard link",
        |files| {
            fs::remove_file(files.join("own/hard")).unwrap();
            fs::copy(files.join("own/f"), files.join("own/hard")).unwrap();
            chown(files.join("own/hard"), Some(7), Some(8)).unwrap();
        },
        "its `/own/hard` is no link to `/own/f`",
    ),
    (
        "a stranger",
        |files| fs::write(files.join("own/stranger"), "").unwrap(),
        "its `/own/stranger` is not of this layer",
    ),
];

#[test]
fn damaged_files() {
    let store = Prepared::new();
    for (case, damage, problem) in FILE_DAMAGES {
        store.restore();
        let layer = store.layer("own/f");
        let mut expected = about_layer(&store, &layer);
        expected.push(format!("layer {layer}: {problem}: removed"));
        damage(&store.files(&layer));
        assert_repaired(&store, case, &expected);
    }
}

#[test]
fn damaged_layers() {
    all(&[
        // What has a tar needs no directory.
        ("files of a COPY", |store| {
            let layer = store.layer("copied");
            flip(&store.files(&layer).join("copied"));
            let problem = "its `/copied` has another content";
            vec![format!("layer {layer}: {problem}: removed, to be made again of the rest")]
        }),
        ("no files of a COPY", |store| {
            let layer = store.layer("copied");
            fs::remove_dir_all(store.files(&layer)).unwrap();
            Vec::new()
        }),
        ("neither files nor tar", |store| {
            let layer = store.layer("copied");
            let expected = about_layer(store, &layer);
            fs::remove_file(store.blob(&tar(store, &layer))).unwrap();
            fs::remove_dir_all(store.files(&layer)).unwrap();
            let own = format!("layer {layer}: has lost its files: removed");
            expected.into_iter().chain([own]).collect()
        }),
        ("a whiteout that hides nothing", |store| {
            let layer = store.layer("last");
            let expected = about_layer(store, &layer);
            fs::remove_file(store.files(&layer).join("copied")).unwrap();
            let own = format!("layer {layer}: its `/copied` is missing: removed");
            expected.into_iter().chain([own]).collect()
        }),
        ("zeros for changes", |store| {
            let layer = store.layer("last");
            let expected = about_layer(store, &layer);
            fs::write(store.files(&layer).with_file_name("changes"), [0; 100]).unwrap();
            let own = format!("layer {layer}: has a damaged list of its changes: removed");
            expected.into_iter().chain([own]).collect()
        }),
        ("no changes", |store| {
            let layer = store.layer("last");
            let expected = about_layer(store, &layer);
            fs::remove_file(store.files(&layer).with_file_name("changes")).unwrap();
            let own = format!("layer {layer}: has no list of its changes: removed");
            expected.into_iter().chain([own]).collect()
        }),
        ("zeros for the digest of the tar", |store| {
            let layer = store.layer("own/f");
            fs::write(store.files(&layer).with_file_name("diff-id"), [0; 71]).unwrap();
            let problem = "notes no digest of its tar";
            vec![format!("layer {layer}: {problem}: removed, to be made again of the rest")]
        }),
    ]);
}

#[test]
fn damaged_records() {
    all(&[
        ("garbage", |store| {
            let (key, (path, _)) = store.records("step").pop_first().unwrap();
            fs::write(path, "garbage").unwrap();
            vec![format!("step {key}: does not have its checksum: removed")]
        }),
        ("an empty name", |store| {
            let (file, (path, _)) = store.records("tag").pop_first().unwrap();
            fs::write(path, "").unwrap();
            vec![format!("name {file}: does not have its checksum: removed")]
        }),
        ("a pipe", |store| {
            let layer = store.layer("own/f");
            let chains = store.records("chain");
            let (key, (path, _)) = chains.iter().find(|(_, (_, it))| it.contains(&layer)).unwrap();
            let lost = about_image(store, &format!("its layer {}", tar(store, &layer)));
            fs::remove_file(path).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap();
            let own = format!("chain {key}: is no regular file: removed");
            std::iter::once(own).chain(lost).collect()
        }),
        ("leftovers of the dead", |store| {
            fs::create_dir(store.state().join("tmp/lease-1-0")).unwrap();
            fs::write(store.state().join("tmp/lease-1-0/b"), "x").unwrap();
            fs::write(store.state().join("locks/lease-1-0"), "blobs/x\n").unwrap();
            let line = |path| format!("{path}: left by a process that died: swept");
            vec![line("locks/lease-1-0"), line("tmp/lease-1-0")]
        }),
    ]);
}
