//! Layers of which the store has a compressed tar alone: what an output wanted compressed and nothing else read.

use std::path::PathBuf;

use super::{listed, ok, prune};
use crate::support::{Kiln, tars};

const EPOCH: [&str; 2] = ["--build-arg", "SOURCE_DATE_EPOCH=1"];
const OUTPUT: &str = "type=oci,compression=zstd,dest=image.tar";

/// A store with such a layer, and the Dockerfile whose last step made it.
fn prepared() -> (Kiln, String) {
    let kiln = Kiln::new();
    let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
    kiln.file("data/lines", &text);
    kiln.file("data/few", "few\n");
    let dockerfile = "FROM scratch\nCOPY busybox /bin/sh\nCOPY data /data\n".to_owned();
    ok(kiln.build(&dockerfile, &["-o", OUTPUT]));
    (kiln, dockerfile)
}

/// Its blobs: the one that is its only body, and the tar that is not there.
fn blobs(kiln: &Kiln) -> (PathBuf, PathBuf) {
    let layers = std::fs::read_dir(kiln.path("state/snapshots")).unwrap();
    let of_note = |note: PathBuf| {
        let digest = std::fs::read_to_string(note).unwrap();
        kiln.path("state/blobs").join(digest.replace(':', "/"))
    };
    let compressed: Vec<PathBuf> = (layers.map(|layer| layer.unwrap().path()))
        .filter(|layer| layer.join("compressed").exists())
        .collect();
    let [layer] = compressed.as_slice() else { panic!("{compressed:?}") };
    assert!(!layer.join("fs").exists());
    (of_note(layer.join("compressed")), of_note(layer.join("diff-id")))
}

fn entries(kiln: &Kiln, dockerfile: &str, args: &[&str]) -> Vec<String> {
    let tree = kiln.tree(dockerfile, args);
    tree.iter().map(|entry: &tars::Entry| format!("{} {:?}", entry.line(), entry.content)).collect()
}

#[test]
fn its_files_are_those_of_the_tar() {
    let (kiln, dockerfile) = prepared();
    let (compressed, tar) = blobs(&kiln);
    assert!(compressed.exists() && !tar.exists());
    let more = format!("{dockerfile}COPY --chown=7:8 --from=busybox /data/few /data/more\n");
    let more = format!("FROM scratch AS busybox\nCOPY data /data\n{more}");
    let copy = format!("{dockerfile}FROM scratch\nCOPY --from=0 /data/lines /lines\n");
    // The same, in a store that has the tar.
    let other = kiln.path("other");
    let plain = ["--root", other.to_str().unwrap()];
    for dockerfile in [&dockerfile, &more, &copy] {
        let here = ok(kiln.build(dockerfile, &EPOCH));
        let there = ok(kiln.build(dockerfile, &[EPOCH, plain].concat()));
        assert_eq!(here.stdout, there.stdout, "{dockerfile}");
    }
    assert_eq!(entries(&kiln, &dockerfile, &[]), entries(&kiln, &dockerfile, &plain));
    for kind in ["type=oci,compression=gzip", "type=docker,compression=uncompressed"] {
        let output = |args: &[&str]| {
            let output = format!("{kind},dest=again.tar");
            ok(kiln.build(&dockerfile, &[&EPOCH, &["-o", &output][..], args].concat()));
            std::fs::read(kiln.context().join("again.tar")).unwrap()
        };
        assert!(output(&[]) == output(&plain), "{kind}");
    }
}

#[test]
fn the_last_body_is_no_spare_one() {
    let (kiln, dockerfile) = prepared();
    let (compressed, _) = blobs(&kiln);
    let digest = compressed.file_name().unwrap().to_str().unwrap();
    let kind = |kiln: &Kiln| {
        let items = listed(kiln, &[]);
        let item = items.iter().find(|item| item["ID"].as_str().unwrap().contains(digest));
        item.unwrap()["Kind"].as_str().unwrap().to_owned()
    };
    assert_eq!(kind(&kiln), "layer");
    // Its image's documents name it as well.
    let spare = ["--all", "--filter", "type=compressed", "--filter", "type=image"];
    prune(&kiln, &spare);
    assert!(compressed.exists());
    let run = format!("{dockerfile}RUN tail -n 1 /data/lines\n");
    let built = ok(kiln.build(&run, &[]));
    assert!(built.cached() == 2 && built.stderr.contains("line 4999\n"), "{}", built.stderr);
    // Now there is a directory.
    ok(kiln.build(&dockerfile, &["-o", OUTPUT]));
    assert_eq!(kind(&kiln), "compressed");
    prune(&kiln, &spare);
    assert!(!compressed.exists());
    assert_eq!(ok(kiln.build(&run, &[])).cached(), 3);
    prune(&kiln, &["--all"]);
    let left = listed(&kiln, &[]);
    assert!(left.iter().all(|item| item["Kind"] == "internal"), "{left:#?}");
}

#[test]
fn damage_is_found_and_mended() {
    let (kiln, dockerfile) = prepared();
    let check = |args: &[&str]| kiln.run(&[&["check-store", "--progress", "quiet"], args].concat());
    ok(check(&["--dry-run"]));
    let (compressed, tar) = blobs(&kiln);
    let mut bytes = std::fs::read(&compressed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&compressed, bytes).unwrap();
    let checked = ok(check(&[]));
    let lines: Vec<&str> = checked.stdout.lines().collect();
    let told = |what: &str| lines.iter().any(|line| line.contains(what));
    assert!(
        told(": has lost its files: removed") && told(": has the digest sha256:"),
        "{lines:#?}"
    );
    assert!(!compressed.exists());
    let again = ok(kiln.build(&dockerfile, &["-o", OUTPUT]));
    assert_eq!(again.cached(), 1, "{}", again.stderr);
    assert_eq!(blobs(&kiln), (compressed.clone(), tar));
    ok(check(&["--dry-run"]));
    // A note of something else.
    let note = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let layers = walkdir::WalkDir::new(kiln.path("state/snapshots")).into_iter();
    let notes = layers.map(Result::unwrap).filter(|entry| entry.file_name() == "compressed");
    notes.for_each(|entry| std::fs::write(entry.path(), note).unwrap());
    let checked = ok(check(&[]));
    assert!(checked.stdout.contains(": has lost its files: removed"), "{}", checked.stdout);
    assert_eq!(ok(kiln.build(&dockerfile, &["-o", OUTPUT])).cached(), 1);
    ok(check(&["--dry-run"]));
}
