//! Removing what nobody needs: the other side of `hold`.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::{Result, Store, StoreError, hold, lock};
use crate::fs::{self, PathError};

/// How long the guard is waited for. It is held for instants, but for longer where a lease could not be written.
const PATIENCE: Duration = Duration::from_secs(60);

/// A time in which nothing can be looked up: short, because builds wait for its end.
pub struct Collection<'a> {
    store: &'a Store,
    held: HashSet<String>,
    since: SystemTime,
    _guard: File,
}

impl Store {
    /// Waits until nobody is looking anything up, and keeps everybody from it while the value lives.
    pub fn collect(&self) -> Result<Collection<'_>> {
        let path = self.root.join("guard");
        let fail = PathError::of("lock", &path);
        let guard = File::options().write(true).open(&path).map_err(&fail)?;
        let begun = Instant::now();
        loop {
            match guard.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(self.root.clone())),
                Err(TryLockError::Error(error)) => return Err(fail(error).into()),
            }
        }
        let held = lock::held_lines(&self.root, self.lease())?;
        Ok(Collection { store: self, held, since: self.file_time()?, _guard: guard })
    }

    /// Returns what the file system's clock says, which ticks every few milliseconds.
    pub fn file_time(&self) -> Result<SystemTime> {
        let fail = PathError::of("read", self.lease());
        hold::touch(self.lease()).map_err(PathError::of("touch", self.lease()))?;
        Ok(std::fs::metadata(self.lease()).and_then(|meta| meta.accessed()).map_err(fail)?)
    }
}

impl Collection<'_> {
    /// Returns what other live processes hold: paths beneath the root.
    pub fn held(&self) -> &HashSet<String> {
        &self.held
    }

    /// Returns when it began. Whatever is used after its end is marked with this time or a later one.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Moves what lies at `place`, a path beneath the root, to `into`, a directory of this process's scratch, where it
    /// can be deleted at leisure. `None`: it is gone already.
    pub fn take(&self, place: &str, into: &Path) -> Result<Option<PathBuf>> {
        let taken = into.join(place.replace('/', "-"));
        match fs::rename(&self.store.root.join(place), &taken) {
            Ok(()) => Ok(Some(taken)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a record's file anew, with the mark of this boot: for whoever has found that what it names is whole.
    pub fn renew(&self, place: &str, body: &[u8]) -> Result<()> {
        let head = self.store.head(body)?;
        Ok(fs::replace_with_directory(
            &self.store.root.join(place),
            &[&head, body],
            &self.store.scratch,
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_living_hold_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let living = Store::open(dir.path()).unwrap();
        let digest = living.put_blob(b"hello").unwrap();
        let place = format!("blobs/sha256/{}", digest.hex());
        let own = Store::open(dir.path()).unwrap();
        own.put_blob(b"own").unwrap();
        let held =
            |store: &Store| store.collect().unwrap().held().iter().cloned().collect::<Vec<_>>();
        assert_eq!(held(&own), std::slice::from_ref(&place));
        drop(living);
        assert_eq!(held(&own), [""; 0]);
        let into = own.scratch_dir().unwrap();
        assert!(own.collect().unwrap().take(&place, &into).unwrap().unwrap().exists());
        assert_eq!(own.collect().unwrap().take(&place, &into).unwrap(), None);
        assert_eq!(own.blob_size(&digest), None);
    }
}
