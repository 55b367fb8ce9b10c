//! kiln alone, at sizes that grow tenfold: what a build takes must grow no faster than what is built.
//!
//! `cargo bench --locked --bench scale`, as root; words after `--` choose the rows that contain one of them, `--list`
//! names them. Needs busybox-static and docker-registry, and some 25 GB for a while. Every size is run once for memory,
//! descriptors and threads, which are looked at every few milliseconds, and then for its times, of which the medians
//! are printed. `growth` is how many times as much processor time a unit takes as at the next smaller size.

#![expect(clippy::unwrap_used, reason = "a bench that cannot make its data has failed")]
#![expect(clippy::print_stdout, reason = "its answer is a table")]

#[path = "../compare/contexts.rs"]
mod contexts;
#[path = "../compare/measure.rs"]
mod measure;
#[path = "../compare/registry.rs"]
#[expect(dead_code, reason = "what was asked is no matter here")]
mod registry;
mod rows;

use std::path::Path;

use measure::{Cost, measure, median};
use rows::Work;

/// How often something is timed that takes less than a few seconds; what takes more is timed once.
const ROUNDS: usize = 3;
const LONG: f64 = 5.0;

/// Fewer seconds of processors than this are too few ticks of the kernel's to compare with.
const MEASURABLE: f64 = 0.05;

/// What a row's work takes at one size: seen in a run of its own, then timed.
fn cost(work: &mut Work<'_>) -> Cost {
    let seen = measure(work(0), &[], true).unwrap();
    let mut costs = Vec::new();
    while costs.len() < ROUNDS && costs.iter().map(|cost: &Cost| cost.wall).sum::<f64>() < LONG {
        costs.push(measure(work(costs.len() + 1), &[], false).unwrap());
    }
    Cost { most: seen.most, ..median(&costs) }
}

/// Prints one size of a row, and returns the processor seconds that it takes by the unit, if they can be compared.
fn print(name: &str, size: usize, cost: &Cost, smaller: Option<f64>) -> Option<f64> {
    let unit = cost.cpu / size as f64;
    let growth = smaller.map_or(String::new(), |smaller| format!("{:.2}", unit / smaller));
    let (Cost { wall, cpu, most }, micro) = (cost, unit * 1e6);
    let (memory, descriptors, threads) = (most.memory, most.descriptors, most.threads);
    println!(
        "| {name} | {size} | {wall:.3} | {cpu:.2} | {micro:.0} | {growth} | {memory:.0} | {descriptors} | {threads} |"
    );
    (cost.cpu >= MEASURABLE).then_some(unit)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let list = words.iter().any(|word| word == "--list");
    let words: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let directory = tempfile::Builder::new().prefix("kiln-scale").tempdir().unwrap();
    let at: &Path = directory.path();
    if !list {
        println!(
            "| work | size | s | processor s | µs of it a unit | growth | peak MiB | descriptors | threads |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
    }
    for (number, row) in rows::ROWS.iter().enumerate() {
        if list {
            println!("{}", row.name);
        } else if words.is_empty() || words.iter().any(|word| row.name.contains(*word)) {
            let mut smaller = None;
            for size in row.sizes {
                let at = at.join(format!("{number}-{size}"));
                let cost = (row.measure)(&at, *size);
                smaller = print(row.name, *size, &cost, smaller);
                // Few inodes, or so many that the next size needs their room.
                std::fs::remove_dir_all(&at).unwrap();
            }
        }
    }
}
