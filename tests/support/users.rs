//! Accounts of the tests' own, gone when the test ends, however it ends.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::tool;

/// An account that exists as long as this value.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    pub(crate) fn new(kind: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kiln-{}-{count}-{kind}", std::process::id());
        tool("passwd", "useradd", &["--system", "--user-group", "--no-create-home", &name]);
        let mut user = Self { name, uid: 0, gid: 0 };
        let id = |what| tool("coreutils", "id", &[what, &user.name]).trim().parse().unwrap();
        (user.uid, user.gid) = (id("--user"), id("--group"));
        user
    }

    /// Gives it 65536 subordinate ids that nobody else has.
    pub(crate) fn with_range(self) -> Self {
        let last = ["/etc/subuid", "/etc/subgid"].iter().flat_map(|path| ends(Path::new(path)));
        let first = last.max().unwrap_or(0).max(100_000);
        let range = format!("{first}-{}", first + 65_535);
        let flags = ["--add-subuids", &range, "--add-subgids", &range, &self.name];
        tool("passwd", "usermod", &flags);
        self
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // By force, because what settles the store may still be running.
        let removed = Command::new("/usr/sbin/userdel").args(["--force", &self.name]).status();
        let gone = removed.is_ok_and(|status| status.success());
        assert!(gone || std::thread::panicking(), "the user {} is still there", self.name);
    }
}

/// The ids that follow each range of a file such as /etc/subuid.
fn ends(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let end = |line: &str| {
        let mut words = line.split(':').skip(1).map(|word| word.parse::<u64>().ok());
        Some(words.next()?? + words.next()??)
    };
    text.lines().filter_map(end).collect()
}
