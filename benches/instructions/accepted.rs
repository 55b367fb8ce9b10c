//! The counts that were accepted, and what they were made with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const HEAD: &str = "\
# Instructions for each work, as they were last accepted; written by `-- --accept`, see benches/instructions/main.rs.
";

/// Before the name of each tool.
const WITH: &str = "with ";

/// What stands in the file.
#[derive(Default)]
pub(crate) struct Accepted {
    tools: Vec<String>,
    counts: BTreeMap<String, u64>,
}

impl Accepted {
    /// Reads the file; without one nothing is accepted.
    pub(crate) fn read() -> Self {
        let mut accepted = Self::default();
        let text = std::fs::read_to_string(file()).unwrap_or_default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(tool) = line.strip_prefix(WITH) {
                accepted.tools.push(tool.to_owned());
                continue;
            }
            let (count, name) = line.trim_start().split_once("  ").expect("a count and a name");
            accepted.counts.insert(name.to_owned(), count.parse().unwrap());
        }
        accepted
    }

    /// Writes the file.
    pub(crate) fn write(&self) {
        let mut text = HEAD.to_owned();
        self.tools.iter().for_each(|tool| writeln!(text, "{WITH}{tool}").unwrap());
        text.push('\n');
        self.counts.iter().for_each(|(name, count)| writeln!(text, "{count:>12}  {name}").unwrap());
        std::fs::write(file(), text).unwrap();
    }

    /// Returns what is accepted once these counts are. What is not named any more is not, nor what other tools made.
    pub(crate) fn with(&self, counts: &[(&str, u64)], names: &BTreeSet<&str>) -> Self {
        let mut all = self.counts.clone();
        let others = !self.other_tools().is_empty();
        all.retain(|name, _| names.contains(name.as_str()) && !others);
        all.extend(counts.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        Self { tools: tools(), counts: all }
    }

    /// Returns the accepted count of a work.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.counts.get(name).copied()
    }

    /// Returns the names of all works that have one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.counts.keys().map(String::as_str)
    }

    /// Returns what the counts were made with and what is here instead.
    pub(crate) fn other_tools(&self) -> Vec<(String, String)> {
        let pairs = self.tools.iter().cloned().zip(tools());
        pairs.filter(|(then, now)| then != now).collect()
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/accepted.txt")
}

/// What the counts depend on besides the sources: the compilers, the C library that is linked, and the processor
/// that valgrind shows.
fn tools() -> Vec<String> {
    let printed = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    vec![
        printed("rustc", "--version"),
        format!("cc {}", printed("cc", "-dumpfullversion")),
        printed("getconf", "GNU_LIBC_VERSION"),
        printed("valgrind", "--version"),
        processor(),
    ]
}

fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64, AVX2".to_owned();
    }
    std::env::consts::ARCH.to_owned()
}
