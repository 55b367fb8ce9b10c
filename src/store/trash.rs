//! Scratch directories that nobody needs any more, removed by a thread beside whatever comes next: on some file systems
//! the removal of each directory waits for the disk (ext4 without a journal, mounted with `discard`).

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle};

use super::Store;
use crate::fs;

/// The thread, once there was something to remove.
#[derive(Default)]
pub(super) struct Trash(Mutex<Option<Remover>>);

struct Remover {
    door: mpsc::Sender<PathBuf>,
    thread: JoinHandle<()>,
}

impl Remover {
    fn start() -> Option<Self> {
        let (door, thrown) = mpsc::channel::<PathBuf>();
        let thread = Builder::new().name("remover".to_owned()).spawn(move || {
            for path in thrown {
                // What is left is swept with the lease's scratch directory.
                let _ = fs::remove_tree(&path);
            }
        });
        Some(Self { door, thread: thread.ok()? })
    }
}

impl Trash {
    fn throw(&self, path: PathBuf) {
        let mut remover = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remover.is_none() {
            *remover = Remover::start();
        }
        let thrown = match &*remover {
            Some(remover) => remover.door.send(path).map_err(|mpsc::SendError(path)| path),
            None => Err(path),
        };
        if let Err(path) = thrown {
            let _ = fs::remove_tree(&path);
        }
    }

    /// Waits until everything is gone.
    pub(super) fn empty(&self) {
        let remover = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Remover { door, thread }) = remover {
            drop(door);
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Removes something of [`Store::scratch`] some time before this process closes the store.
    pub fn throw_away(&self, path: PathBuf) {
        self.trash.throw(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thrown_away_is_gone_when_the_trash_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let thrown: Vec<PathBuf> = (0..20).map(|_| store.scratch_dir().unwrap()).collect();
        for path in &thrown {
            fs::create_dir_all(&path.join("a/b")).unwrap();
            store.throw_away(path.clone());
        }
        store.throw_away(dir.path().join("never was"));
        store.trash.empty();
        assert!(thrown.iter().all(|path| !path.exists()));
        assert!(store.scratch().exists());
        // It may be filled again.
        let more = store.scratch_dir().unwrap();
        store.throw_away(more.clone());
        drop(store);
        assert!(!more.exists());
    }
}
