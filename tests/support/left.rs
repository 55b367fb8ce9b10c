//! What kiln leaves behind: processes, mounts, files in the making.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Kiln;

/// Asks again and again until something is so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The processes that have the state root mounted, or were started by a build with it.
pub(crate) fn processes(kiln: &Kiln) -> Vec<String> {
    let root = kiln.path("state").display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let text = |name| String::from_utf8_lossy(&read(name)).replace('\0', " ");
        let command = text("cmdline");
        // Nobody waits for the process that flushes what a finished build wrote.
        let is_settling = command.trim_end().ends_with(" settle");
        if !is_settling
            && ["cmdline", "environ", "mountinfo"].iter().any(|it| text(it).contains(&root))
        {
            found.push(format!("{} {command}", entry.file_name().display()));
        }
    }
    found
}

/// Nothing is left: no process, no mount, no lock, no file in the making.
pub(crate) fn assert_nothing_is_left(kiln: &Kiln, why: &str) {
    wait_until("all processes are gone", || processes(kiln).is_empty());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*kiln.path("state").to_string_lossy()), "{why}: {mounts}");
    let below = |name| std::fs::read_dir(kiln.path("state").join(name)).unwrap();
    let left = ["tmp", "locks"].into_iter().flat_map(below).map(|entry| entry.unwrap().path());
    assert_eq!(left.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{why}");
}
