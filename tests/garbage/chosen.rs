//! What goes and what stays.

use std::time::{Duration, SystemTime};

use super::{listed, ok, prune};
use crate::support::{BASE, Kiln, tars};

/// The root file system of an image as an archive of it has it.
fn entries(kiln: &Kiln, name: &str) -> Vec<String> {
    let tree = kiln.tree(&format!("FROM {name}\n"), &["--no-cache"]);
    tree.into_iter()
        .map(|entry: tars::Entry| format!("{} {:?}", entry.line(), entry.content))
        .collect()
}

fn kinds(items: &[serde_json::Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = items.iter().map(|item| item["Kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

#[test]
fn what_a_name_needs_stays() {
    let kiln = Kiln::new();
    let named = format!("{BASE}RUN echo kept > /kept && ln /kept /again\nCOPY busybox /copied\n");
    let id = ok(kiln.build(&named, &["-t", "named"])).stdout;
    let other =
        format!("{named}RUN --mount=type=cache,target=/c echo > /c/f && echo other > /other\n");
    let unnamed = ok(kiln.build(&other, &[])).stdout;
    let expected = entries(&kiln, "named");
    // The first takes the unnamed image, but no cache of the named one.
    let (deleted, _) = prune(&kiln, &[]);
    assert_eq!(kinds(&deleted), ["image", "layer", "step"]);
    assert_eq!(kiln.run(&["run", unnamed.trim(), "true"]).code, Some(2), "it is gone");
    let again = ok(kiln.build(&named, &["-t", "named"]));
    assert_eq!((again.cached(), &again.stdout), (4, &id), "{}", again.stderr);
    let (deleted, _) = prune(&kiln, &["--all"]);
    assert_eq!(kinds(&deleted), ["context", "mount", "step"]);
    assert_eq!(ok(kiln.run(&["run", "named", "cat", "/again"])).stdout, "kept\n");
    assert_eq!(ok(kiln.run(&["run", id.trim(), "cat", "/again"])).stdout, "kept\n");
    assert_eq!(entries(&kiln, "named"), expected);
    let again = ok(kiln.build(&named, &["-t", "named"]));
    assert_eq!(again.cached(), 0, "{}", again.stderr);
    assert_eq!(entries(&kiln, "named").len(), expected.len());
}

/// Makes everything in the state root look as if it was last used so many hours ago.
fn age(kiln: &Kiln, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3600);
    for entry in walkdir::WalkDir::new(kiln.path("state")) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let file = std::fs::File::open(entry.path()).unwrap();
            let times = std::fs::FileTimes::new().set_accessed(then).set_modified(then);
            file.set_times(times).unwrap();
        }
    }
}

#[test]
fn looking_is_not_using() {
    let kiln = Kiln::new();
    ok(kiln.build(&format!("{BASE}RUN echo old > /old\n"), &["-t", "old"]));
    age(&kiln, 48);
    let old = || listed(&kiln, &["--filter", "until=24h", "--filter", "type=image"]).len();
    let all = old();
    assert!(all > 0);
    for args in [&["images"][..], &["inspect", "old"], &["history", "old"]] {
        ok(kiln.run(args));
        assert_eq!(old(), all, "{args:?}");
    }
    ok(kiln.run(&["run", "old", "true"]));
    assert!(old() < all);
}

#[test]
fn only_what_is_old_or_of_a_kind() {
    let kiln = Kiln::new();
    ok(kiln.build(&format!("{BASE}RUN echo old > /old\n"), &[]));
    age(&kiln, 48);
    ok(kiln.build(&format!("{BASE}RUN echo new > /new\n"), &[]));
    let of = |items: &[serde_json::Value], what: &str| {
        items.iter().filter(|item| item["Description"].as_str().unwrap().contains(what)).count()
    };
    let old = ["--filter", "until=24h"];
    assert_eq!((of(&listed(&kiln, &old), "/old"), of(&listed(&kiln, &old), "/new")), (3, 0));
    let steps = listed(&kiln, &["--filter", "type=step"]);
    assert_eq!(kinds(&steps), ["step"]);
    assert_eq!(prune(&kiln, &["--all", "--filter", "until=72h"]).0, [serde_json::Value::Null; 0]);
    let (deleted, _) = prune(&kiln, &["--all", "--filter", "until=24h"]);
    assert_eq!((of(&deleted, "/old"), of(&deleted, "/new")), (3, 0), "{deleted:#?}");
    // What the new image and the old one had in common was used lately.
    let again = ok(kiln.build(&format!("{BASE}RUN echo new > /new\n"), &[]));
    assert_eq!(again.cached(), 3, "{}", again.stderr);
    let date = jiff::Timestamp::now().to_string();
    let (deleted, _) = prune(&kiln, &["--all", "--filter", &format!("until={date}")]);
    assert_eq!(of(&deleted, "/new"), 3, "{deleted:#?}");
}

#[test]
fn nothing_is_removed_without_being_asked_for() {
    let kiln = Kiln::new();
    ok(kiln.build(BASE, &[]));
    let ended = kiln.run(&["prune"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("  hint: give `--force`\n"), "{}", ended.stderr);
    assert_eq!(ok(kiln.build(BASE, &[])).cached(), 2);
    for (args, message) in [
        (["--filter", "until=soon"], "error: invalid time `soon` for the filter `until`\n"),
        (["--filter", "label=x"], "error: unknown filter `label=x`\n"),
        (["--keep-storage", "much"], "error: invalid size `much` for `--keep-storage`\n"),
    ] {
        let ended = kiln.run(&[&["prune", "--force"][..], &args].concat());
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.starts_with(message), "{}", ended.stderr);
    }
}
