//! Pruning beside builds: they end as if nobody did.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{ok, prune};
use crate::support::{BASE, Ended, Kiln, ended};

/// Steps of every kind, with one in the middle that waits until a file is in its cache mount.
fn waiting() -> String {
    let base = BASE.replacen("scratch", "scratch AS base", 1);
    format!(
        "{base}RUN echo base > /base\n\
         FROM base AS side\nRUN echo side > /side\nCOPY few /few\n\
         FROM base\nRUN --mount=type=cache,target=/c,id=gate echo > /c/waits; until [ -e /c/go ]; do sleep 0.02; done\n\
         COPY --from=side /side /few /from/\n\
         RUN --mount=type=bind,target=/m cat /m/few /from/side /base > /all\n"
    )
}

fn start(kiln: &Kiln, args: &[&str]) -> Child {
    let all = ["build", "--progress", "plain", "--build-arg", "SOURCE_DATE_EPOCH=1"];
    let mut command = kiln.command(&[&all, args, &["."]].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> Ended {
    ok(ended(child.wait_with_output().unwrap()))
}

/// The cache mount in which the step waits.
fn gate(kiln: &Kiln) -> PathBuf {
    let begun = Instant::now();
    loop {
        let mounts = std::fs::read_dir(kiln.path("state/mounts")).into_iter().flatten();
        let mut paths = mounts.map(|entry| entry.unwrap().path());
        if let Some(path) = paths.find(|path| path.join("waits").exists()) {
            return path;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the step never began");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn output(kiln: &Kiln) -> String {
    format!("type=oci,rewrite-timestamp=true,dest={}", kiln.path("out.tar").display())
}

fn prepared() -> Kiln {
    let kiln = Kiln::new();
    kiln.file("few", "few\n");
    kiln.file("Dockerfile", &waiting());
    kiln
}

fn undisturbed() -> String {
    let kiln = prepared();
    let child = start(&kiln, &["--output", &output(&kiln)]);
    std::fs::write(gate(&kiln).join("go"), "").unwrap();
    finish(child).stdout
}

#[test]
fn a_running_build_keeps_what_it_uses() {
    let expected = undisturbed();
    let kiln = prepared();
    // What the build finds in the cache has no name that would keep it, and is used by nobody else.
    ok(kiln.build(&waiting(), &["--target", "side", "--build-arg", "SOURCE_DATE_EPOCH=1"]));
    let child = start(&kiln, &["--output", &output(&kiln)]);
    let gate = gate(&kiln);
    for _ in 0..5 {
        prune(&kiln, &["--all"]);
    }
    assert!(gate.join("waits").exists(), "its mount is there");
    std::fs::write(gate.join("go"), "").unwrap();
    for _ in 0..3 {
        prune(&kiln, &["--all"]);
    }
    let build = finish(child);
    assert_eq!(build.stdout, expected, "{}", build.stderr);
    assert!(build.cached() > 0, "{}", build.stderr);
    prune(&kiln, &["--all"]);
    assert!(!gate.exists(), "nobody uses it any more");
}

#[test]
fn a_running_build_keeps_a_base_that_lost_its_name() {
    let kiln = prepared();
    ok(kiln.build(&format!("{BASE}RUN echo base > /base\n"), &["-t", "parent"]));
    let text =
        waiting().replace(&BASE.replacen("scratch", "scratch AS base", 1), "FROM parent AS base\n");
    kiln.file("Dockerfile", &text);
    let child = start(&kiln, &["-t", "child"]);
    let gate = gate(&kiln);
    for tag in std::fs::read_dir(kiln.path("state/records/tag")).unwrap() {
        std::fs::remove_file(tag.unwrap().path()).unwrap();
    }
    prune(&kiln, &["--all"]);
    std::fs::write(gate.join("go"), "").unwrap();
    finish(child);
    prune(&kiln, &["--all"]);
    assert_eq!(ok(kiln.run(&["run", "child", "cat", "/all"])).stdout, "few\nside\nbase\n");
}

#[test]
fn builds_at_once_with_prunes() {
    let kiln = Kiln::new();
    let names = ["a", "b", "c", "d"];
    for name in names {
        let own = format!(
            "{BASE}RUN sleep 0.1; echo shared > /shared\nRUN echo {name} > /own\nCOPY Dockerfile.{name} /file\n\
             RUN cat /own /shared > /both\n"
        );
        kiln.file(&format!("Dockerfile.{name}"), &own);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruner = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) || count == 0 {
                prune(&kiln, &["--all"]);
                count += 1;
            }
        });
        for round in 0..3 {
            let builds: Vec<_> = [names, names]
                .concat()
                .into_iter()
                .enumerate()
                .map(|(index, name)| {
                    let file = format!("Dockerfile.{name}");
                    let tag = format!("{name}:{round}-{index}");
                    (start(&kiln, &["--file", &file, "--tag", &tag]), name, tag)
                })
                .collect();
            for (child, name, tag) in builds {
                let build = ended(child.wait_with_output().unwrap());
                if build.code != Some(0) {
                    done.store(true, Ordering::Relaxed);
                }
                ok(build);
                let ran = ok(kiln.run(&["run", &tag, "cat", "/both"]));
                assert_eq!(ran.stdout, format!("{name}\nshared\n"));
            }
        }
        done.store(true, Ordering::Relaxed);
        pruner.join().unwrap();
    });
    let making: Vec<_> = std::fs::read_dir(kiln.path("state/tmp")).unwrap().collect();
    assert!(making.is_empty(), "{making:?}");
}
