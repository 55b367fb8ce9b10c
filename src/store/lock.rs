//! Locks between processes: `flock` on files under `locks/`.
//!
//! The kernel releases a lock when its holder dies, however it dies, so a lock never outlives its owner. A file is
//! removed only by whoever holds it, after which it is useless: takers check that what they locked is still what
//! the name means.

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Result, Store};
use crate::fs::{self, PathError};

/// A held lock; released when dropped.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The locked file itself; a lease has lines (`hold`).
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still held here: whoever waits for the file sees that its name is gone and makes a new one.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Waits for the lock `name`, asking `give_up` now and then; `None` if it said so.
    pub fn lock(&self, name: &str, give_up: &dyn Fn() -> bool) -> Result<Option<Lock>> {
        let path = self.root.join("locks").join(name);
        let mut pause = std::time::Duration::from_millis(1);
        loop {
            if let Some(lock) = try_lock(&path)? {
                return Ok(Some(lock));
            }
            if give_up() {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(std::time::Duration::from_millis(50));
        }
    }

    /// Takes the lock `name` if nobody holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        try_lock(&self.root.join("locks").join(name))
    }
}

fn try_lock(path: &Path) -> Result<Option<Lock>> {
    let fail = PathError::of("lock", path);
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(&fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(fail(error).into()),
    }
    let held = file.metadata().map_err(&fail)?.ino();
    let named = std::fs::metadata(path).map(|meta| meta.ino());
    Ok(named.is_ok_and(|inode| inode == held).then(|| Lock { path: path.to_owned(), file }))
}

/// Takes a lease of a new name for this process.
pub(super) fn take_lease(root: &Path) -> Result<(String, Lock)> {
    let pid = std::process::id();
    for attempt in 0_u32.. {
        let name = format!("lease-{pid}-{attempt}");
        // A scratch directory of that name may belong to a process of another pid namespace.
        if root.join("tmp").join(&name).exists() {
            continue;
        }
        if let Some(lock) = try_lock(&root.join("locks").join(&name))? {
            bury(&lock, root);
            lock.file.set_len(0).map_err(PathError::of("write", &lock.path))?;
            return Ok((name, lock));
        }
    }
    unreachable!("four billion leases of one process")
}

/// Takes note that the holder of a lease died: what it made was never counted.
fn bury(lease: &Lock, root: &Path) {
    if lease.file.metadata().map_or(true, |meta| meta.len() > 0) {
        super::usage::forget(root);
    }
}

/// Returns the lines of all leases that are held, but not of `own`: paths beneath the root. To be called by whoever
/// holds the guard exclusively, so that no line is missing.
pub(super) fn held_lines(root: &Path, own: &Path) -> Result<HashSet<String>> {
    let directory = root.join("locks");
    let fail = PathError::of("list", &directory);
    let mut lines = HashSet::new();
    for entry in std::fs::read_dir(&directory).map_err(&fail)? {
        let path = entry.map_err(&fail)?.path();
        let is_lease =
            path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"lease-"));
        if !is_lease || path == own {
            continue;
        }
        let Ok(file) = File::open(&path) else { continue };
        if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            let text = std::io::read_to_string(&file).map_err(PathError::of("read", &path))?;
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}

/// Removes scratch directories whose lease nobody holds, and locks that their holders died with. What cannot be
/// removed is left for the next time.
pub(super) fn sweep(root: &Path) {
    let entries = |name| std::fs::read_dir(root.join(name)).into_iter().flatten().flatten();
    for entry in entries("tmp") {
        let lease = root.join("locks").join(entry.file_name());
        if let Ok(Some(lock)) = try_lock(&lease) {
            bury(&lock, root);
            let _ = fs::remove_tree(&entry.path());
        }
    }
    for entry in entries("locks") {
        // Whoever wants a private directory takes another if the lock is held, be it for an instant only.
        if !entry.file_name().as_encoded_bytes().starts_with(b"mount-") {
            let is_lease = entry.file_name().as_encoded_bytes().starts_with(b"lease-");
            if let Ok(Some(lock)) = try_lock(&entry.path())
                && is_lease
            {
                bury(&lock, root);
            }
        }
    }
}

/// Returns what dead processes left, as paths beneath the root, sorted: what opening the store sweeps.
pub fn abandoned(root: &Path) -> Result<Vec<String>> {
    let is_abandoned = |lock: &Path| match File::open(lock) {
        Ok(file) => !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(_) => true,
    };
    let mut found = Vec::new();
    for directory in ["locks", "tmp"] {
        let path = root.join(directory);
        let fail = PathError::of("list", &path);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(&fail)?,
        };
        for entry in entries {
            let name = entry.map_err(&fail)?.file_name();
            let is_mount = name.as_encoded_bytes().starts_with(b"mount-");
            if !is_mount && is_abandoned(&root.join("locks").join(&name)) {
                found.push(format!("{directory}/{}", name.display()));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let held = store.try_lock("a").unwrap();
        assert!(held.is_some());
        assert!(store.try_lock("a").unwrap().is_none());
        assert!(store.lock("a", &|| true).unwrap().is_none());
        drop(held);
        assert!(store.lock("a", &|| true).unwrap().is_some());
    }
}
