//! What the sources of COPY name: the rows of kind `resolve` of `testdata/corpus/match.json`, each as an instruction
//! of a real build. A row says which names the reference finds; what a copy of these makes follows from the tree.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use kiln::wildcard;
use serde_json::Value;

use crate::support::{Ended, Kiln};

/// The rows of kind `resolve`.
fn rows() -> Vec<Value> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/corpus");
    let folder = std::env::var_os("KILN_CORPUS").map_or_else(|| PathBuf::from(own), PathBuf::from);
    let text = std::fs::read(folder.join("match.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&text).unwrap();
    rows.into_iter().filter(|row| row["kind"] == "resolve").collect()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// Makes the files of a row; each holds its own name.
fn make_tree(root: &Path, row: &Value) {
    for name in strings(&row["tree"]) {
        let path = root.join(name);
        if name.ends_with('/') {
            std::fs::create_dir_all(path).unwrap();
        } else {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
    }
}

/// A path without `.` and `..`, below the tree.
fn below(root: &Path, name: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    root.join(path)
}

/// All files below a directory, if there is one, by relative path; `None` for directories.
fn files(root: &Path) -> BTreeMap<PathBuf, Option<String>> {
    if !root.exists() {
        return BTreeMap::new();
    }
    let walk = walkdir::WalkDir::new(root)
        .min_depth(1)
        .into_iter()
        .filter(|_| root.exists())
        .map(Result::unwrap);
    let one = |entry: walkdir::DirEntry| {
        let content = entry.file_type().is_file().then(|| std::fs::read_to_string(entry.path()));
        let name = entry.path().strip_prefix(root).unwrap().to_owned();
        (name, content.map(Result::unwrap))
    };
    walk.map(one).collect()
}

/// What a row's names make in a directory: directories give what is in them, files keep their names. `None` if a
/// name is not there, so that the copy fails.
fn expected(root: &Path, row: &Value) -> Option<BTreeMap<PathBuf, Option<String>>> {
    let mut made = BTreeMap::new();
    for path in strings(&row["resolved"]).into_iter().map(|name| below(root, name)) {
        if path.is_dir() {
            made.extend(files(&path));
        } else {
            let content = std::fs::read_to_string(&path).ok()?;
            made.insert(PathBuf::from(path.file_name().unwrap()), Some(content));
        }
    }
    row["error"].is_null().then_some(made)
}

/// Builds `COPY` instructions on a row's tree; the escape character leaves backslashes to the patterns.
fn build(kiln: &Kiln, root: &Path, copies: &str) -> Ended {
    let file = kiln.path("Dockerfile");
    std::fs::write(&file, format!("# escape=`\nFROM scratch\n{copies}")).unwrap();
    let (file, root) = (file.display().to_string(), root.display().to_string());
    let dest = format!("type=local,dest={}", kiln.path("out").display());
    kiln.run(&["build", "--progress", "plain", "-f", &file, "--output", &dest, &root])
}

fn instruction(row: &Value) -> String {
    let dest = format!("/{}/", row["id"].as_str().unwrap());
    format!("COPY {}\n", serde_json::json!([row["src"], dest]))
}

#[test]
fn sources_name_what_the_reference_finds() {
    let (kiln, rows) = (Kiln::new(), rows());
    assert!(rows.len() >= 45, "{} rows", rows.len());
    let root = kiln.path("tree");
    make_tree(&root, &rows[0]);
    assert!(rows.iter().all(|row| row["tree"] == rows[0]["tree"]), "one tree serves all rows");
    // In a malformed pattern the row's function finds nothing, and what calls it a mistake.
    let (malformed, rows): (Vec<&Value>, Vec<&Value>) = rows
        .iter()
        .partition(|row| wildcard::matches(row["src"].as_str().unwrap_or_default(), "").is_err());
    assert!(malformed.len() >= 4, "{malformed:?}");
    for row in malformed {
        let ended = build(&kiln, &root, &instruction(row));
        assert_eq!(ended.code, Some(2), "{row}: {}", ended.stderr);
        let first = ended.error().lines().next().unwrap_or_default().to_owned();
        assert!(first.ends_with("` is not a pattern"), "{row}: {first}");
    }
    let (found, missing): (Vec<&Value>, Vec<&Value>) =
        rows.into_iter().partition(|row| expected(&root, row).is_some());
    let copies: String = found.iter().map(|row| instruction(row)).collect();
    let ended = build(&kiln, &root, &copies);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for row in found {
        let made = files(&kiln.path("out").join(row["id"].as_str().unwrap_or_default()));
        assert_eq!(Some(made), expected(&root, row), "{row}");
    }
    assert!(missing.len() >= 3, "{missing:?}");
    for row in missing {
        let ended = build(&kiln, &root, &instruction(row));
        assert_eq!(ended.code, Some(2), "{row}: {}", ended.stderr);
        let first = ended.error().lines().next().unwrap_or_default().to_owned();
        assert!(first.ends_with("` is not in the build context"), "{row}: {first}");
    }
}

#[test]
fn a_malformed_pattern_is_refused() {
    let kiln = Kiln::new();
    for (text, shown) in [
        ("FROM scratch\nCOPY [\"busybox\", /x]\n", "`/[busybox,` is not a pattern"),
        ("FROM scratch\nCOPY [] /x\n", "`/[]` is not a pattern"),
        ("FROM scratch\nADD bus[a-] /x/\n", "`/bus[a-]` is not a pattern"),
        (
            "FROM scratch AS a\nCOPY busybox /\nFROM scratch\nCOPY --from=a /d/../[b /x/\n",
            "`/[b` is not a pattern",
        ),
    ] {
        let ended = kiln.build(text, &[]);
        assert_eq!(ended.code, Some(2), "{text}{}", ended.stderr);
        assert!(ended.error().starts_with(&format!("error: {shown}\n")), "{}", ended.error());
    }
}

#[test]
fn links_that_a_pattern_finds_are_followed_out_of_its_directory() {
    let kiln = Kiln::new();
    kiln.file("shared/settings", "shared");
    kiln.file("app/own", "own");
    std::os::unix::fs::symlink("../shared/settings", kiln.context().join("app/settings")).unwrap();
    std::os::unix::fs::symlink("/shared", kiln.context().join("app/directory")).unwrap();
    let lines = |text: &str| -> Vec<String> {
        kiln.tree(text, &[]).iter().map(crate::support::tars::Entry::line).collect()
    };
    let found = lines("FROM scratch\nCOPY app/s* app/o* /etc/\n");
    assert_eq!(found, ["d 755 0:0 etc/", "- 644 0:0 etc/own", "- 644 0:0 etc/settings"]);
    let found = lines("FROM scratch\nCOPY app/d* /etc/\n");
    assert_eq!(found, ["d 755 0:0 etc/", "- 644 0:0 etc/settings"]);
}
