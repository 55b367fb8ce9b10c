//! `--snapshotter`, and its key of the configuration file.

use clap::ValueEnum;
use kiln::snapshot::SnapshotterKind;
use serde::Deserialize;

/// How the file systems of commands are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Snapshotter {
    /// Overlays, and copies where they are refused
    Auto,
    /// Overlays, or an error
    Overlay,
    /// Copies; `native` (BuildKit) and `vfs` (buildah) are the same
    #[value(aliases = ["native", "vfs"])]
    #[serde(alias = "native", alias = "vfs")]
    Copy,
}

impl Snapshotter {
    /// Returns what a flag says, or else the configuration.
    pub(super) fn choose(flag: Option<Self>, config: Option<Self>) -> SnapshotterKind {
        match flag.or(config).unwrap_or(Self::Auto) {
            Self::Auto => SnapshotterKind::Auto,
            Self::Overlay => SnapshotterKind::Overlay,
            Self::Copy => SnapshotterKind::Copy,
        }
    }
}
