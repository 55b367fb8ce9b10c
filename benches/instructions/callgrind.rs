//! Counting what a process of this program executes.

use std::path::Path;
use std::process::Command;

/// The first argument of a process that does a work; its name and how many times come after it.
pub(crate) const WORK: &str = "--work";

/// Returns how many instructions a work takes.
pub(crate) fn instructions(name: &str) -> u64 {
    let (once, twice) = (process(name, 1), process(name, 2));
    twice.checked_sub(once).expect("it takes more to do a work again")
}

/// Returns how many instructions a process executes that does a work so many times.
///
/// It has an empty directory and next to no environment, because both are in what it reads when it starts.
fn process(name: &str, times: u32) -> u64 {
    let profile =
        format!("callgrind.{}.{times}", name.replace(|c: char| !c.is_alphanumeric(), "-"));
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(profile);
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--vgdb=no"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe().unwrap())
        .args([WORK, name, &times.to_string()])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .current_dir(&directory)
        .output()
        .unwrap_or_else(|error| panic!("cannot run valgrind ({error}): apt-get install valgrind"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{name}` under valgrind: {errors}");
    total(&std::fs::read_to_string(&profile).unwrap())
}

/// Returns the sum of a profile.
fn total(profile: &str) -> u64 {
    let mut totals = profile.lines().filter_map(|line| line.strip_prefix("totals: "));
    totals.next_back().expect("callgrind writes a sum").trim().parse().unwrap()
}
