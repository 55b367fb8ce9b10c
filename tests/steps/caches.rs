//! Cache mounts that several steps have at once.

use std::fmt::Write as _;

use crate::support::{BASE, Kiln, ended};

/// Stages on busybox that run at once, each a RUN with these mounts and this script; the last needs them all.
fn at_once(stages: &[(&str, String)]) -> String {
    let mut text = BASE.replacen("FROM scratch", "FROM scratch AS base", 1);
    for (name, run) in stages {
        let _ = write!(text, "FROM base AS {name}\nRUN {run}\n");
    }
    text += "FROM scratch\n";
    for (name, _) in stages {
        let _ = writeln!(text, "COPY --from={name} /out /{name}");
    }
    text
}

/// A script that goes on when both steps have come this far. `/b` is a cache mount that both have.
fn meet(me: &str, other: &str) -> String {
    format!(
        "touch /b/{me}; i=0; while [ ! -e /b/{other} ]; do i=$((i+1)); [ $i -lt 3000 ] || exit 9; usleep 10000; done"
    )
}

/// What each stage wrote to `/out`.
fn outcomes(kiln: &Kiln, dockerfile: &str) -> Vec<(String, String)> {
    let tree = kiln.tree(dockerfile, &[]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    tree.iter().map(|entry| (text(&entry.path), text(&entry.content))).collect()
}

#[test]
fn as_many_steps_run_at_once_as_may_wait_for_each_other() {
    let kiln = Kiln::new();
    let names: Vec<String> = (0..16).map(|number| format!("s{number}")).collect();
    let wait = "i=0; while [ $(ls /b | wc -l) -lt 16 ]; do i=$((i+1)); [ $i -lt 3000 ] || exit 9; usleep 10000; done";
    let run = |name: &String| {
        format!("--mount=type=cache,id=meeting,target=/b touch /b/{name}; {wait}; echo met > /out")
    };
    let stages: Vec<_> = names.iter().map(|name| (name.as_str(), run(name))).collect();
    let found = outcomes(&kiln, &at_once(&stages));
    assert_eq!(found.iter().filter(|(_, content)| content == "met\n").count(), 16, "{found:?}");
}

#[test]
fn steps_at_once_may_mount_inside_one_cache() {
    let kiln = Kiln::new();
    kiln.file("file", "bound");
    let mut stages = Vec::new();
    for pair in 0..12 {
        for half in ["a", "b"] {
            let run = format!(
                "--mount=type=cache,id=c{pair},target=/c --mount=type=tmpfs,target=/c/deep/down \
                 --mount=type=bind,source=file,target=/c/deep/file --mount=type=cache,id=inner{pair},target=/c/inner \
                 cat /c/deep/file > /out && touch /c/deep/down/{half} && echo {half} > /c/inner/{half}"
            );
            stages.push((format!("{half}{pair}"), run));
        }
    }
    let stages: Vec<_> = stages.iter().map(|(name, run)| (name.as_str(), run.clone())).collect();
    let found = outcomes(&kiln, &at_once(&stages));
    assert_eq!(found.len(), 24);
    assert!(found.iter().all(|(_, content)| content == "bound"), "{found:?}");
    let left = format!(
        "{BASE}RUN --mount=type=cache,id=c3,target=/c --mount=type=cache,id=inner3,target=/i find /c /i | sort > /out\nFROM scratch\nCOPY --from=0 /out /\n"
    );
    let tree = kiln.tree(&left, &[]);
    let found = String::from_utf8(tree[0].content.clone()).unwrap();
    assert!(found.ends_with("/i\n/i/a\n/i/b\n"), "what was written stays: {found}");
}

#[test]
fn a_shared_cache_is_seen_by_all() {
    let kiln = Kiln::new();
    let run = |me: &str, other: &str| {
        let meet = meet(me, other);
        format!(
            "--mount=type=cache,target=/b --mount=type=cache,target=/c touch /c/{me}; {meet}; ls /c > /out"
        )
    };
    let found = outcomes(&kiln, &at_once(&[("x", run("x", "y")), ("y", run("y", "x"))]));
    assert_eq!(
        found,
        [("x", "x\ny\n"), ("y", "x\ny\n")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

#[test]
fn a_private_cache_is_another_for_each() {
    let kiln = Kiln::new();
    let run = |me: &str, other: &str| {
        let meet = meet(me, other);
        format!(
            "--mount=type=cache,target=/b --mount=type=cache,target=/c,sharing=private \
             {meet}; touch /c/{me}; ls /c > /out; touch /b/{me}.done; while [ ! -e /b/{other}.done ]; do usleep 10000; done"
        )
    };
    let found = outcomes(&kiln, &at_once(&[("x", run("x", "y")), ("y", run("y", "x"))]));
    assert_eq!(found, [("x", "x\n"), ("y", "y\n")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let next = format!(
        "{BASE}RUN --mount=type=cache,target=/c,sharing=private ls /c > /out\nFROM scratch\nCOPY --from=0 /out /\n"
    );
    let (_, content) = outcomes(&kiln, &next).remove(0);
    assert!(
        content == "x\n" || content == "y\n",
        "one that nobody has any more is taken again: {content:?}"
    );
}

/// Fails if somebody else is at it.
fn alone(me: &str) -> String {
    format!(
        "mkdir /c/busy || exit 7; echo {me} >> /c/log; usleep 200000; rmdir /c/busy; wc -l < /c/log > /out"
    )
}

#[test]
fn a_locked_cache_is_had_by_one_at_a_time() {
    let kiln = Kiln::new();
    let run = |me: &str| format!("--mount=type=cache,target=/c,sharing=locked {}", alone(me));
    let names = ["w", "x", "y", "z"];
    let stages: Vec<_> = names.iter().map(|name| (*name, run(name))).collect();
    let mut counts: Vec<_> =
        outcomes(&kiln, &at_once(&stages)).into_iter().map(|(_, content)| content).collect();
    counts.sort();
    assert_eq!(counts, ["1\n", "2\n", "3\n", "4\n"]);
}

#[test]
fn a_locked_cache_is_locked_for_other_builds_too() {
    let kiln = Kiln::new();
    assert_eq!(kiln.build(BASE, &[]).code, Some(0));
    let build = |name: &str| {
        let file = kiln.path(name);
        let run = format!("RUN --mount=type=cache,target=/c,sharing=locked {}\n", alone(name));
        std::fs::write(&file, format!("{BASE}{run}")).unwrap();
        let file = file.display().to_string();
        kiln.command(&["build", "--progress", "plain", "-f", &file, "."]).output().unwrap()
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = ["p", "q", "r"].map(|name| scope.spawn(move || build(name))).into();
        for other in others {
            let ended = ended(other.join().unwrap());
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        }
    });
}
