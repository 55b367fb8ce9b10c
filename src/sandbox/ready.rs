//! A keeper that waits for its order: while one command runs, the process that is to run the next is started beside it.
//!
//! It has heard and done nothing yet, so nothing of a command can be in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::launch::Keeper;

/// At most one keeper, as long as commands are expected.
#[derive(Debug, Default)]
pub(super) struct Ready {
    expected: AtomicUsize,
    keeper: Mutex<Option<Keeper>>,
}

impl Ready {
    /// Says that so many more commands will be run, perhaps.
    pub(super) fn expect(&self, commands: usize) {
        self.expected.fetch_add(commands, Ordering::Relaxed);
    }

    fn keeper(&self) -> MutexGuard<'_, Option<Keeper>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the keeper, if there is one and it lives, for one of the commands that were expected.
    pub(super) fn take(&self) -> Option<Keeper> {
        let less = |expected: usize| expected.checked_sub(1);
        let _ = self.expected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let keeper = self.keeper().take();
        keeper.and_then(|mut keeper| keeper.is_alive().then_some(keeper))
    }

    /// Starts a keeper if one is expected and there is none; one that cannot be started is started when it is needed.
    pub(super) fn prepare<E>(&self, start: impl FnOnce() -> Result<Keeper, E>) {
        let mut keeper = self.keeper();
        if keeper.is_none() && self.expected.load(Ordering::Relaxed) > 0 {
            *keeper = start().ok();
        }
    }
}
