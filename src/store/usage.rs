//! A note of how large everything in the store is, so that a build need not count it all again.
//!
//! Whoever made something counts it and corrects the note. Where nobody could (a process was killed, or did not care)
//! the note is removed, and whoever wants to know counts everything. What the note says is the business of `gc/`.

use std::path::Path;

use super::{Result, Store};
use crate::fs;

const NAME: &str = "usage";

/// Removes the note. A failure leaves one that is too small until the next count.
pub(super) fn forget(root: &Path) {
    let _ = fs::remove_file(&root.join(NAME));
}

impl Store {
    /// Reads the note, if there is one.
    pub fn usage(&self) -> Result<Option<String>> {
        let bytes = fs::read_if_present(&self.root.join(NAME))?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Removes the note: it says too little.
    pub fn forget_usage(&self) {
        forget(&self.root);
    }

    /// Writes the note.
    pub fn set_usage(&self, text: &str) -> Result<()> {
        Ok(fs::replace(&self.root.join(NAME), text.as_bytes(), &self.scratch)?)
    }
}
