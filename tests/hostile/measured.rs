//! Runs of kiln with the memory that they took.

use std::process::{Command, Stdio};

use crate::support::{Ended, Kiln, ended};

/// The most memory that any of these may take, of kiln and of every process that it starts, in KiB.
pub(crate) const MOST: u64 = 100 << 10;

/// Runs a command, and writes how much memory it and whatever it waited for had at most into a file, in KiB.
const TIMED: &str = "import resource, subprocess, sys
code = subprocess.run(sys.argv[2:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open(sys.argv[1], 'w'))
sys.exit(code)
";

/// Runs kiln, and returns how it ended and the most memory that one of its processes had, in KiB.
pub(crate) fn run(kiln: &Kiln, args: &[&str]) -> (Ended, u64) {
    let report = kiln.path("memory");
    let command = kiln.command(args);
    let mut timed = Command::new("python3");
    timed.args(["-c", TIMED]).arg(&report);
    timed.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    timed.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    let ended = ended(timed.output().unwrap());
    let peak = std::fs::read_to_string(report).unwrap();
    (ended, peak.trim().parse().unwrap())
}
