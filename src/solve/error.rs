//! Why a step failed.

use crate::layer::{LayerError, TreePath};
use crate::oci::UserError;
use crate::sandbox;
use crate::snapshot::SnapshotError;
use crate::source::SourceError;
use crate::store::StoreError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A source that is not there.
    #[error("`{0}` not found")]
    NotFound(TreePath),
    /// A path with a character that no file name has.
    #[error("`{0}` is no valid path")]
    Name(String),
    /// A pattern that means nothing.
    #[error("{0}")]
    Pattern(String),
    /// A directory on a file.
    #[error("cannot copy a directory to `{0}`, which is not a directory")]
    NotDirectory(TreePath),
    /// A file on a directory.
    #[error("cannot replace the directory `{0}` with a file")]
    IsDirectory(TreePath),
    /// A source of ADD that is an archive and cannot be unpacked.
    #[error("cannot unpack `{path}`")]
    Archive {
        /// Where it is.
        path: TreePath,
        /// Why.
        source: SourceError,
    },
    /// A command that ended badly.
    #[error("the command `{command}` {how}")]
    Command {
        /// The command, shortened.
        command: String,
        /// `exited with code 2`, `was killed by signal 9`.
        how: String,
        /// What it wrote last.
        output: Vec<String>,
    },
    /// USER names nobody.
    #[error(transparent)]
    User(#[from] UserError),
    /// A secret or agent that was not given.
    #[error("the {kind} `{id}` is required but was not given")]
    Missing {
        /// `secret` or `SSH agent`.
        kind: &'static str,
        /// Its id.
        id: String,
    },
    /// A secret that is too large or cannot be read.
    #[error("cannot use the secret `{id}`: {problem}")]
    Secret {
        /// Its id.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// Something that kiln cannot do yet.
    #[error("{0}")]
    Unsupported(String),
    /// A command of a CPU for which there is no emulator.
    #[error(transparent)]
    Foreign(#[from] sandbox::ForeignError),
    /// The build was stopped.
    #[error("the build was canceled")]
    Canceled,
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(sandbox::Error),
    /// Layers.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// Snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Sources.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StepError {
    /// Returns whether the step was merely stopped.
    pub fn is_canceled(&self) -> bool {
        matches!(self, Self::Canceled | Self::Source(SourceError::Canceled))
    }
}

impl From<sandbox::Error> for StepError {
    fn from(error: sandbox::Error) -> Self {
        match error {
            sandbox::Error::Canceled => Self::Canceled,
            error => Self::Sandbox(error),
        }
    }
}
