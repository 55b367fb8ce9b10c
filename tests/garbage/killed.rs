//! A prune that is killed at any moment leaves a store that works.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{du, ok, prune, settled, total};
use crate::support::{BASE, Kiln, tool};

/// Where a run of numbers that looks random goes on (Knuth, MMIX).
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

fn text(steps: usize) -> String {
    let steps: String = (0..steps)
        .map(|step| {
            format!("RUN mkdir /d{step} && echo {step} > /d{step}/f\nCOPY small /b{step}\n")
        })
        .collect();
    format!("{BASE}{steps}")
}

fn prune_command(kiln: &Kiln) -> Command {
    let mut command = kiln.command(&["prune", "--all", "--force"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn a_killed_prune_leaves_a_store_that_works() {
    let kiln = Kiln::new();
    kiln.file("small", "small");
    let named = format!("{}RUN echo kept > /kept\n", text(1));
    ok(kiln.build(&named, &["-t", "named"]));
    let unnamed = format!("{}RUN cat /d2/f /d4/f > /both\n", text(5));
    ok(kiln.build(&unnamed, &[]));
    settled(&kiln);
    let (state, full) = (kiln.path("state"), kiln.path("full"));
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        drop(std::fs::remove_dir_all(to));
        tool("coreutils", "cp", &["--archive", from.to_str().unwrap(), to.to_str().unwrap()]);
    };
    copy(&state, &full);
    let begun = Instant::now();
    assert!(prune_command(&kiln).status().unwrap().success());
    let (mut longest, mut seed, mut cut_short) = (begun.elapsed().as_micros() as u64, 20, 0);
    for round in 0..15 {
        copy(&full, &state);
        let mut child = prune_command(&kiln).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(next(&mut seed) % longest));
        child.kill().unwrap();
        // What one undisturbed prune took says little of the next, on a machine that does other things.
        if child.wait().unwrap().success() {
            longest = longest * 3 / 4;
        } else {
            longest = longest * 9 / 8;
            cut_short += 1;
        }
        let kept = ok(kiln.run(&["run", "named", "cat", "/kept"]));
        assert_eq!(kept.stdout, "kept\n", "round {round}");
        let again = ok(kiln.build(&unnamed, &["-t", "again"]));
        let both = ok(kiln.run(&["run", "again", "cat", "/both"]));
        assert_eq!(both.stdout, "2\n4\n", "round {round}: {}", again.stderr);
        settled(&kiln);
        assert_eq!(total(&kiln), du(&state), "round {round}");
    }
    assert!(cut_short > 3, "only {cut_short} were killed before they ended");
    // Nothing that a killed one left is beyond the next.
    prune(&kiln, &["--all"]);
    assert_eq!(std::fs::read_dir(state.join("tmp")).unwrap().count(), 0);
}
