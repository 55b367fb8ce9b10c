//! The one error of this module.
//!
//! Every variant names what it happened to; whoever shows it adds nothing but the step. It does not say what to
//! do: the remedy depends on whose archive it was.

use std::io;

use super::{DEEPEST, TreePath};
use crate::fs::PathError;

/// Why changes could not be read, applied, packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file of this machine could not be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The stream an archive comes from failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The stream an archive goes to failed.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// The archive is not a tar, or ends too early.
    #[error("malformed archive: {0}")]
    Archive(&'static str),
    /// One entry of an archive is not acceptable.
    #[error("entry `{name}` of the archive {problem}")]
    Entry {
        /// The entry's name as the archive has it.
        name: String,
        /// A verb phrase.
        problem: &'static str,
    },
    /// The archive is larger than allowed.
    #[error("archive exceeds the limit of {limit} {what}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// Directories lie deeper in one another than allowed.
    #[error("`{beneath}` has more than {DEEPEST} directories in one another")]
    Deep {
        /// The uppermost of them.
        beneath: TreePath,
    },
    /// A file does not hold what was recorded of it.
    #[error("`{0}` changed while it was being read")]
    Changed(TreePath),
    /// A change does not fit the tree it is made to.
    #[error("`{path}` {problem}")]
    Tree {
        /// Where.
        path: TreePath,
        /// A verb phrase.
        problem: &'static str,
    },
    /// Stored changes do not decode.
    #[error("corrupt record of changes: {0}")]
    Corrupt(&'static str),
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, LayerError>;

/// Returns an error if a directory lies deeper than any may.
pub fn check_depth(directory: &TreePath) -> Result<()> {
    if directory.components().count() as u64 <= DEEPEST {
        return Ok(());
    }
    let name = directory.components().next().unwrap_or_default();
    Err(LayerError::Deep { beneath: TreePath::root().join(name).unwrap_or_default() })
}

/// Makes the error of a change that does not fit.
pub(super) fn misfit(path: &TreePath, problem: &'static str) -> LayerError {
    LayerError::Tree { path: path.clone(), problem }
}
