//! kiln against other builders and against what the machine can do, in the same run.
//!
//! `cargo bench --locked --bench compare`, as root; words after `--` choose the rows that contain one of them, `--list`
//! names them. Needs Debian's busybox-static, docker.io, buildah, podman, skopeo, umoci, docker-registry, mmdebstrap,
//! pigz and zstd, and some 30 GB for a while; `KILN_BENCH_BUILDKIT=DIRECTORY` adds the buildkitd and buildctl of a
//! directory, with runc. Each round runs all programs of a row, in an order of its own; the table, in the form of
//! `RESULTS.md`, has the medians. `limit` is a plain program that does the part of the work that nobody can do without.
//!
//! Everything is below `TMPDIR`, which should be on a file system with a journal. Little is deleted before the end: ext4
//! without one does not take an inode again soon after it was freed, and looks at each of them whenever a file is made.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its data has failed")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its answer is a table")]

mod builder;
mod builds;
mod contexts;
#[path = "../../tests/support/debian.rs"]
mod debian;
mod images;
mod measure;
mod registry;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;

use measure::{Cost, Load, measure, median};

/// How often each program is timed, after it was run once for its memory.
const ROUNDS: usize = 3;

/// Runs a command, whose success is expected, and returns what it prints.
fn printed(package: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; this bench needs it: apt-get install {package}")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// One of the programs of a row.
struct Program<'a> {
    name: String,
    daemons: Vec<u32>,
    /// What it runs in the round with this number. What this does besides is not measured.
    run: Box<dyn Fn(usize) -> Vec<Command> + 'a>,
}

impl<'a> Program<'a> {
    fn new(name: &str, run: impl Fn(usize) -> Vec<Command> + 'a) -> Self {
        Self { name: name.to_owned(), daemons: Vec::new(), run: Box::new(run) }
    }
}

/// Which rows are asked for.
struct Asked {
    words: Vec<String>,
    list: bool,
}

impl Asked {
    /// Whether one of several rows is.
    fn any(&self, works: &[&str]) -> bool {
        if self.list {
            works.iter().for_each(|work| println!("{work}"));
            return false;
        }
        let names = |work: &&&str| self.words.iter().any(|word| work.contains(word));
        self.words.is_empty() || works.iter().any(|work| names(&work))
    }
}

/// Measures the programs of a row, several times, and returns each one's medians; none of one that failed.
fn costs(programs: &[Program<'_>]) -> Vec<Option<Cost>> {
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); programs.len()];
    let mut most = vec![Some(Load::default()); programs.len()];
    for round in 0..=ROUNDS {
        for number in order(programs.len(), round) {
            let program = &programs[number];
            if most[number].is_none() {
                continue;
            }
            match measure((program.run)(round), &program.daemons, round == 0) {
                Ok(cost) if round == 0 => most[number] = Some(cost.most),
                Ok(cost) => costs[number].push(cost),
                // The others' figures are worth having; without kiln's there are no ratios.
                Err(error) if number > 0 => {
                    eprintln!("{}: {error}", program.name);
                    most[number] = None;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    let all = costs.iter().zip(most);
    all.map(|(costs, most)| Some(Cost { most: most?, ..median(costs) })).collect()
}

/// Returns in which order the programs of a round run. It differs from round to round: what one leaves behind, memory that
/// it has touched and freed for instance, is worth a tenth to the next.
fn order(programs: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..programs).collect();
    if round > 0 {
        order.sort_by_cached_key(|program| {
            let mut hasher = DefaultHasher::new();
            (program, round).hash(&mut hasher);
            hasher.finish()
        });
    }
    order
}

/// Prints the lines of a row; kiln's is the first.
fn print(work: &str, programs: &[Program<'_>], costs: &[Option<Cost>]) {
    let first = costs[0].expect("kiln did not fail").wall;
    for (Program { name, .. }, cost) in programs.iter().zip(costs) {
        match cost {
            None => println!("| {work} | {name} | failed | | | |"),
            Some(Cost { wall, cpu, most }) => {
                let (peak, ratio) = (most.memory, wall / first);
                println!("| {work} | {name} | {wall:.4} | {cpu:.2} | {peak:.0} | {ratio:.2} |");
            }
        }
    }
}

/// Measures a row and prints it.
fn row(work: &str, programs: &[Program<'_>]) {
    print(work, programs, &costs(programs));
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let list = words.iter().any(|word| word == "--list");
    let words = words.into_iter().filter(|word| !word.starts_with('-')).collect();
    let asked = Asked { words, list };
    let directory = tempfile::Builder::new().prefix("kiln-compare").tempdir().unwrap();
    let at: &Path = directory.path();
    if !list {
        println!("| work | program | s | processor s | peak MiB | s / kiln's |");
        println!("|---|---|---|---|---|---|");
    }
    builds::rows(&asked, &at.join("builds"));
    images::rows(&asked, &at.join("images"));
}
