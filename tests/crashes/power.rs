//! A machine that stops while nothing of what was built is known to be on the disk: the next build, on another boot,
//! uses what is whole, makes the rest again, and gives the same image.
//!
//! `KILN_POWER_RUNS` says how often, `KILN_POWER_SEED` from which seed it comes which files have lost what.

use std::fs;
use std::path::{Path, PathBuf};

use crate::killed::{next, number};
use crate::prepared::Prepared;

const OTHER_BOOT: &str = "00000000-0000-4000-8000-000000000000";

/// Makes everything in the store that of another boot, which never knew that it was on the disk.
fn stop_machine(store: &Prepared) {
    let records = store.state().join("records");
    for kind in ["step", "tag", "image", "context", "build", "chain", "blob"] {
        for (path, _) in store.records(kind).values() {
            let bytes = fs::read(path).unwrap();
            let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let words: Vec<_> = head.split(' ').collect();
            let head = format!("{} {} {OTHER_BOOT} {}", words[0], words[1], words[3]);
            fs::write(path, [head.as_bytes(), &bytes[end..]].concat()).unwrap();
        }
    }
    for entry in fs::read_dir(&records).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("settled-") || name.starts_with("verified-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::write(records.join(format!("settled-{OTHER_BOOT}")), "").unwrap();
}

/// All files that a machine can have lost the bytes of.
fn files(store: &Prepared) -> Vec<PathBuf> {
    let below = |name| walkdir::WalkDir::new(store.state().join(name)).sort_by_file_name();
    let all = ["blobs", "snapshots", "records"].into_iter().flat_map(below).map(Result::unwrap);
    all.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// Leaves a file as file systems leave it whose size is on the disk and whose bytes are not, or not all.
fn lose(path: &Path, how: u64) {
    let meta = fs::metadata(path).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    let half = meta.len() / 2;
    match how {
        0 => file.set_len(0).unwrap(),
        1 => file.set_len(half).unwrap(),
        2 => {
            file.set_len(half).unwrap();
            file.set_len(meta.len()).unwrap();
        }
        _ => {
            file.set_len(0).unwrap();
            file.set_len(meta.len()).unwrap();
        }
    }
    file.set_modified(meta.modified().unwrap()).unwrap();
}

#[test]
fn what_is_whole_counts_again() {
    let store = Prepared::new();
    stop_machine(&store);
    let looked = store.check(&["--dry-run"]);
    let mut said: Vec<_> = looked.stdout.lines().collect();
    let verdict = said.pop().unwrap();
    let problem = "was not yet known to be on the disk when the machine stopped";
    for line in &said {
        let does_count = !line.starts_with("context ") && !line.starts_with("build ");
        let done = if does_count { "would count again" } else { "would be removed" };
        assert!(line.ends_with(&format!(": {problem}: {done}")), "{line}");
    }
    assert!(
        said.contains(&&*format!("name app:latest: {problem}: would count again")),
        "{said:#?}"
    );
    assert!(
        verdict.ends_with(&format!("{} problems, nothing was changed", said.len())),
        "{verdict}"
    );
    let built = store.build();
    // The context is read again, and nothing else is done.
    assert_eq!(built.cached(), 7, "{}", built.stderr);
    assert_eq!((built.code, &built.stdout), (Some(0), &store.id), "{}", built.stderr);
    store.assert_builds("after it");
}

#[test]
fn a_name_that_was_lost_is_said() {
    let store = Prepared::new();
    stop_machine(&store);
    fs::write(store.blob(&store.digest), "").unwrap();
    let built = store.build();
    let said = format!(
        "warning: `app:latest` was lost when the machine stopped: it lacks its manifest {}",
        store.digest
    );
    assert!(built.stderr.lines().any(|line| line == said), "{}", built.stderr);
    store.assert_builds("after it");
}

#[test]
fn a_build_after_the_machine_stopped_gives_the_same_image() {
    let (runs, first) = (number("KILN_POWER_RUNS", 5), number("KILN_POWER_SEED", 1));
    let store = Prepared::new();
    let mut seed = first;
    for round in 0..runs {
        store.restore();
        stop_machine(&store);
        // From a few files to nearly all.
        let share = 1 + next(&mut seed) % 9;
        let mut lost = Vec::new();
        for path in files(&store) {
            if next(&mut seed) % 10 < share {
                let how = next(&mut seed) % 4;
                lose(&path, how);
                lost.push(format!("{how} {}", path.strip_prefix(store.state()).unwrap().display()));
            }
        }
        store.assert_builds(&format!("seed {first}, round {round}, lost: {lost:#?}"));
    }
    println!("{runs} rounds from seed {first}");
}
