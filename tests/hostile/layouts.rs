//! OCI layouts on disk whose files are not files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::doors::Victim;
use crate::support::Kiln;

/// A layout of a small image, and the files in it: the index, and each blob.
fn layout(victim: &Victim) -> (String, Vec<std::path::PathBuf>) {
    let kiln: &Kiln = &victim.kiln;
    let path = kiln.context().join("layout");
    let _ = fs::remove_dir_all(&path);
    let dest = format!("type=oci,tar=false,dest={}", path.display());
    kiln.file("here", "here\n");
    let ended = kiln.build("FROM scratch\nCOPY here /here\n", &["--output", &dest]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let blobs = fs::read_dir(path.join("blobs/sha256")).unwrap();
    let mut files: Vec<_> = blobs.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.push(path.join("index.json"));
    (path.to_str().unwrap().to_owned(), files)
}

/// What stands in a file's place.
fn put(kind: &str, file: &Path) {
    fs::remove_file(file).unwrap();
    match kind {
        "a pipe" => {
            assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
        }
        "a directory" => fs::create_dir(file).unwrap(),
        "a link to zeros without end" => symlink("/dev/zero", file).unwrap(),
        "a link to itself" => symlink(file, file).unwrap(),
        _ => symlink("/etc/shadow", file).unwrap(),
    }
}

#[test]
fn files_that_are_none() {
    let (victim, builder) = (Victim::new(), Victim::new());
    let kinds =
        ["a pipe", "a directory", "a link to zeros without end", "a link to itself", "a link out"];
    let here = |name: &str| victim.kiln.context().join(name).to_str().unwrap().to_owned();
    for kind in kinds {
        for number in 0..4 {
            let (path, files) = layout(&builder);
            assert_eq!(files.len(), 4, "{files:?}");
            put(kind, &files[number]);
            let from = format!("base=oci-layout://{path}");
            victim.kiln.file("Dockerfile", "FROM base\nCOPY --from=base /here /again\n");
            let dest = format!("type=tar,dest={}", here("t"));
            for words in [
                &["load", "-i", &path][..],
                &["copy", &format!("oci:{path}"), &format!("oci:{}", here("copied"))],
                &["build", "--build-context", &from, "--output", &dest, "."],
            ] {
                let ended = victim.run(words);
                let error = ended.error();
                assert!(matches!(ended.code, Some(1..=3)), "{kind}, {words:?}: {}", ended.stderr);
                // Not a word of what is in the file that a link leads to.
                assert!(error.contains(&*path) || error.contains("is damaged"), "{error}");
                assert!(!error.contains("root:"), "{error}");
                let _ = fs::remove_dir_all(here("copied"));
                let _ = fs::remove_dir_all(victim.kiln.path("state"));
            }
        }
    }
}
