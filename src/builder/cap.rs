//! The limit of the store's size, held however a build ends.

use std::time::Instant;

use crate::event::{Event, Reporter, StepId};
use crate::gc;
use crate::store::Store;

/// Far above any vertex and any image that is looked up.
const STEP: StepId = StepId(u32::MAX);

/// An open store that is brought below its limit when it is closed.
pub(super) struct Capped<'a> {
    pub(super) store: Store,
    /// In bytes; `None`: there is none.
    pub(super) cap: Option<u64>,
    pub(super) reporter: &'a dyn Reporter,
}

impl std::ops::Deref for Capped<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Drop for Capped<'_> {
    fn drop(&mut self) {
        let Some(cap) = self.cap.filter(|_| !std::thread::panicking()) else { return };
        let begun = Instant::now();
        // What could not be removed now will be after a later build, or `kiln prune` says why not.
        let Ok(pruned) = gc::hold_cap(&self.store, cap) else { return };
        if !pruned.items.is_empty() {
            let (count, size) = (pruned.items.len(), pruned.size());
            let name = format!("[internal] remove {count} old results ({size} bytes)");
            self.reporter.report(Event::Started { step: STEP, name });
            self.reporter.report(Event::Done { step: STEP, took: begun.elapsed() });
        }
    }
}
