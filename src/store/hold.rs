//! What this process uses, so that collecting garbage leaves it alone.
//!
//! Whatever the store hands out or puts in its place is *held* until the process ends: a line with its path beneath
//! the root is added to the process's lease in `locks/`. Looking a thing up and writing that line happen under the
//! *guard*, a shared `flock` on the file `guard`; whoever removes things holds it exclusively and reads the lines of
//! all live leases (`collect`). So a thing is gone before it is looked up, or it stays; no clock is asked.
//!
//! Time of last access is when a thing was last used: it decides what is collected first, never what is kept safe.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lock::Lock;
use super::{Result, Store};
use crate::fs::PathError;

/// The lease of this process and what stands in it.
pub(super) struct Holds {
    lease: Lock,
    guard: File,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How many of this process's threads are under the guard.
    guards: usize,
    /// Paths beneath the root.
    held: HashSet<String>,
    /// Lines that the lease lacks.
    unwritten: String,
    /// What this process put in its place, of `held`.
    made: BTreeSet<String>,
    /// Bytes of records that it wrote.
    records: u64,
    /// Whether what is found does not count as used.
    leaves_no_marks: bool,
    /// The lease could not be written, so the guard is kept until the process ends: nothing is collected meanwhile.
    is_stuck: bool,
}

/// Keeps collectors away while it lives; for what is looked up in several goes.
pub struct Guard<'a>(&'a Holds);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        self.0.write_lines(&mut state);
        state.guards -= 1;
        if state.guards == 0 && !state.is_stuck {
            let _ = self.0.guard.unlock();
        }
    }
}

impl Holds {
    pub(super) fn new(lease: Lock, root: &Path) -> Result<Self> {
        let path = root.join("guard");
        let guard = File::options().create(true).truncate(false).write(true).open(&path);
        let guard = guard.map_err(PathError::of("open", &path))?;
        Ok(Self { lease, guard, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guard(&self) -> Guard<'_> {
        let mut state = self.state();
        if state.guards == 0 && !state.is_stuck {
            // It fails only where the lease could not have been locked either.
            while self.guard.lock_shared().is_err_and(|e| e.raw_os_error() == Some(EINTR)) {}
        }
        state.guards += 1;
        Guard(self)
    }

    /// To be called under the guard.
    fn write_lines(&self, state: &mut State) {
        let lines = std::mem::take(&mut state.unwritten);
        if !lines.is_empty() && self.lease.file().write_all(lines.as_bytes()).is_err() {
            state.is_stuck = true;
        }
    }
}

const EINTR: i32 = rustix::io::Errno::INTR.raw_os_error();

/// What a process made since it opened the store.
#[derive(Debug, Default, Clone)]
pub struct Made {
    /// Blobs, snapshots, cache mounts: paths beneath the root. A cache mount that is in use counts as made.
    pub paths: Vec<String>,
    /// Bytes of records, rounded up to what files take.
    pub records: u64,
}

impl Made {
    /// Returns whether it made nothing.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.records == 0
    }
}

impl Store {
    /// Keeps collectors away for as long as the value lives.
    pub fn guard(&self) -> Guard<'_> {
        self.holds.guard()
    }

    /// Holds what lies at `place`, a path beneath the root, and marks it, or `mark` inside of it, as used just now.
    /// Returns whether it is there.
    pub(super) fn hold(&self, place: &str, mark: &str) -> bool {
        let guard = self.holds.guard();
        let path = self.root.join(place).join(mark);
        let path = if mark.is_empty() { self.root.join(place) } else { path };
        let mut state = self.holds.state();
        if state.held.contains(place) {
            return path.exists();
        }
        // Whoever may not mark it can still use it.
        let is_there = !state.leaves_no_marks && touch(&path).is_ok() || path.exists();
        if is_there {
            note(&mut state, place);
        }
        drop(state);
        drop(guard);
        is_there
    }

    /// From now on nothing that is found counts as used: for whoever only looks.
    pub fn leave_no_marks(&self) {
        self.holds.state().leaves_no_marks = true;
    }

    /// Puts something at `place`, a path beneath the root, by calling `put`, and holds it.
    pub fn place<T>(&self, place: &str, put: impl FnOnce() -> T) -> T {
        let _guard = self.holds.guard();
        let mut state = self.holds.state();
        note(&mut state, place);
        state.made.insert(place.to_owned());
        // Before there is anything, so that the lease of a process that dies here says that it made something.
        self.holds.write_lines(&mut state);
        drop(state);
        put()
    }

    /// Notes that what is held may grow.
    pub(super) fn hold_as_made(&self, place: &str) {
        self.holds.state().made.insert(place.to_owned());
    }

    /// Notes that a record was written.
    pub(super) fn count_record(&self, size: usize) {
        const BLOCK: u64 = 4096;
        self.holds.state().records += (size as u64).next_multiple_of(BLOCK);
    }

    /// Returns what this process made so far, and forgets it: the caller sees to it that it is counted.
    pub fn take_made(&self) -> Made {
        let mut state = self.holds.state();
        Made {
            paths: std::mem::take(&mut state.made).into_iter().collect(),
            records: std::mem::take(&mut state.records),
        }
    }

    pub(super) fn has_made(&self) -> bool {
        let state = self.holds.state();
        !state.made.is_empty() || state.records > 0
    }

    /// Returns whether this process holds what lies at `place`.
    pub fn holds(&self, place: &str) -> bool {
        self.holds.state().held.contains(place)
    }

    /// Returns where this process's lease is.
    pub fn lease(&self) -> &Path {
        self.holds.lease.path()
    }
}

fn note(state: &mut State, place: &str) {
    if state.held.insert(place.to_owned()) {
        state.unwritten.push_str(place);
        state.unwritten.push('\n');
    }
}

/// Sets the time of last access.
pub(super) fn touch(path: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
    };
    utimensat(CWD, path, &times, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_or_made_stands_in_the_lease() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        let digest = first.put_blob(b"hello").unwrap();
        let line = format!("blobs/sha256/{}\n", digest.hex());
        let lines = |store: &Store| std::fs::read_to_string(store.lease()).unwrap();
        assert_eq!(lines(&first), line);
        let second = Store::open(dir.path()).unwrap();
        assert_eq!(lines(&second), "");
        assert_eq!(second.blob_size(&crate::digest::Digest::of(b"absent")), None);
        assert_eq!(lines(&second), "");
        second.blob_size(&digest);
        second.blob_size(&digest);
        assert_eq!(lines(&second), line);
        assert_eq!(first.take_made().paths, [line.trim_end()]);
        assert_eq!(second.take_made().paths, [""; 0]);
    }

    #[test]
    fn the_guard_is_shared_until_its_last_holder() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let other = File::options().write(true).open(dir.path().join("guard")).unwrap();
        let (one, two) = (store.guard(), store.guard());
        drop(one);
        assert!(other.try_lock().is_err());
        drop(two);
        other.try_lock().unwrap();
    }
}
