//! How many instructions the work takes that every build does, against the counts that were accepted.
//!
//! `cargo bench --locked --profile release --bench instructions` counts, compares with `accepted.txt`, and fails if a
//! count is more than three per cent away from it; words after `--` choose the works that contain one of them.
//! `-- --accept` writes the counts down instead: in the commit that means to change them, which says why. Needs
//! Debian's valgrind.
//!
//! Each work is one process under callgrind, which does it once, and another that does it twice: the difference is
//! what it takes, without the start and the making of inputs. Time plays no part, so a busy machine counts as an idle
//! one does. Nor does the processor, as long as it has AVX2: valgrind shows every program the same one, without
//! instructions for SHA-256 and AVX-512. What the kernel does is not counted.
//!
//! Where the instructions went is in `target/tmp/callgrind.*`, and `callgrind_annotate` shows it; with names, if it was
//! run without `--profile release`. That counts the same, but for zstd: C keeps frame pointers where there is debug
//! information, and takes 2.7 % more.
//!
//! * Three per cent: a program counts the same each time (zstd's worker: within 0.005 %), from another directory or on
//!   another file system within 0.8 %. The rest is for what is inlined elsewhere because of code that has nothing to
//!   do with the work.
//! * Fewer instructions fail as well: unless they are accepted, the next change may waste unseen what was won.
//! * Other compilers or another C library than the file names count otherwise: then fifteen per cent are allowed, and
//!   it is said that the counts want to be accepted anew. So a new compiler stops nobody's work, and a pass too many is
//!   seen still.
//! * gungraun does the like, but needs a runner of the same version and a program with debug information, and
//!   keeps what it compares with in `target`, where no commit can say that it changed.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its data has failed")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its answer is a table")]

mod accepted;
mod callgrind;
#[path = "../inputs/mod.rs"]
mod inputs;
mod works;

use std::collections::BTreeSet;
use std::process::ExitCode;

use accepted::Accepted;
use works::{WORKS, Work};

/// How far a count may be from the accepted one, in per cent.
const TOLERANCE: f64 = 3.0;

/// The same with other tools than those that the accepted counts were made with.
const OTHER_TOOLS: f64 = 15.0;

const ACCEPT: &str = "cargo bench --locked --profile release --bench instructions -- --accept";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, times] = arguments.as_slice()
        && word == callgrind::WORK
    {
        work(name).run(times.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let is_asked =
        |work: &&Work| words.is_empty() || words.iter().any(|word| work.name.contains(*word));
    let asked: Vec<&Work> = WORKS.iter().filter(is_asked).collect();
    assert!(!asked.is_empty(), "no work has {words:?} in its name");
    let counts = kiln::parallel::map(kiln::parallel::processors(), &asked, |work| {
        Ok::<_, ()>((work.name, callgrind::instructions(work.name)))
    });
    let counts = counts.unwrap();
    let accepted = Accepted::read();
    let names: BTreeSet<&str> = WORKS.iter().map(|work| work.name).collect();
    if arguments.iter().any(|word| word == "--accept") {
        print(&accepted, &counts, f64::INFINITY);
        accepted.with(&counts, &names).write();
        return ExitCode::SUCCESS;
    }
    compare(&accepted, &counts, &names)
}

fn work(name: &str) -> &'static Work {
    WORKS.iter().find(|work| work.name == name).expect("a work of this name")
}

/// Says whether the counts are what they were.
fn compare(accepted: &Accepted, counts: &[(&str, u64)], names: &BTreeSet<&str>) -> ExitCode {
    let others = accepted.other_tools();
    let tolerance = if others.is_empty() { TOLERANCE } else { OTHER_TOOLS };
    let beyond = print(accepted, counts, tolerance);
    for (then, now) in &others {
        eprintln!("instructions: counted with {now}, accepted with {then}");
    }
    if !others.is_empty() {
        eprintln!(
            "instructions: {tolerance} % are allowed therefore; please accept the counts anew"
        );
    }
    let gone: Vec<_> = accepted.names().filter(|name| !names.contains(name)).collect();
    for name in &gone {
        eprintln!("instructions: nobody counts `{name}` any more");
    }
    if beyond == 0 && gone.is_empty() {
        return ExitCode::SUCCESS;
    }
    if beyond > 0 {
        let all = counts.len();
        eprintln!(
            "instructions: {beyond} of {all} are not within {tolerance} % of what was accepted"
        );
    }
    eprintln!("instructions: if that is meant: {ACCEPT}");
    ExitCode::FAILURE
}

/// Prints the table and returns how many rows are not within the tolerance.
fn print(accepted: &Accepted, counts: &[(&str, u64)], tolerance: f64) -> usize {
    println!("| instructions for | accepted | now | change |");
    println!("|---|---|---|---|");
    let mut beyond = 0;
    for (name, now) in counts {
        let Some(then) = accepted.count(name) else {
            println!("| {name} | | {now} | **new** |");
            beyond += 1;
            continue;
        };
        let change = (*now as f64 / then as f64 - 1.0) * 100.0;
        let mark = if change.abs() > tolerance { "**" } else { "" };
        println!("| {name} | {then} | {now} | {mark}{change:+.2} %{mark} |");
        beyond += usize::from(change.abs() > tolerance);
    }
    beyond
}
