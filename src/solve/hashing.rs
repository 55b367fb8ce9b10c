//! Diff ids of layers that are done, found while other steps run. A failure shows when the layer is exported.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use crate::snapshot::{LayerId, Snapshots};

/// Layers that wait, and the threads that take them.
pub(super) struct Hashing {
    most_threads: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    layers: Vec<LayerId>,
    threads: usize,
}

impl Hashing {
    /// On at most so many threads, which start when there is something to do.
    pub(super) fn new(most_threads: usize) -> Self {
        Self { most_threads, open: Mutex::default() }
    }

    /// Adds a layer.
    pub(super) fn add<'scope, 'env>(
        &'env self,
        layer: LayerId,
        snapshots: Snapshots<'env>,
        scope: &'scope Scope<'scope, 'env>,
    ) {
        let mut open = self.lock();
        open.layers.push(layer);
        if open.threads < self.most_threads {
            open.threads += 1;
            scope.spawn(move || {
                while let Some(layer) = self.take() {
                    drop(snapshots.diff_id(layer));
                }
            });
        }
    }

    /// Returns what is next; without anything the thread that asks is done.
    fn take(&self) -> Option<LayerId> {
        let mut open = self.lock();
        let layer = open.layers.pop();
        open.threads -= usize::from(layer.is_none());
        layer
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
