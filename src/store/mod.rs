//! The state root: plain files and rename, no database.
//!
//! ```text
//! blobs/sha256/<hex>          manifests, configs, layers as pulled, layers as packed
//! snapshots/<id>/             one layer's changes, and its files if something had to mount them (`snapshot/`)
//! records/step/<xx>/<key>     what a build step made, by cache key (`cache/`)
//! records/tag/<name>          an image's name -> the digest of its manifest
//! records/context/<id>        what was known of a context's files when it was last read (`source/`)
//! records/image/<id>          an image's id -> the digest of its manifest
//! records/build/<id>          which steps the last build of a Dockerfile had (`cache/`)
//! records/chain/<chain id>    which layer is the uppermost of a chain (`source/`)
//! records/blob/<name>         in which blob a layer is compressed (`export/`) or a download is (`source/`)
//! records/verified-<boot>     somebody has looked at what was doubtful when this boot began (`verify/`)
//! records/settled-<boot>      how far the records of a boot are known to be on the disk
//! mounts/<id>/                directories of RUN --mount=type=cache
//! locks/<name>                flock files: leases of running builds, steps in flight; removed by their holders
//! guard                       flock: shared while something is looked up, exclusive while something is removed
//! usage                       how large everything was when it was last counted (`gc/`)
//! tmp/<lease>/                files in the making; belongs to a live lease or is garbage
//! ```
//!
//! Many processes share a root. Everything is written under `tmp/` and renamed into place, content first and the
//! record that names it last, so that a reader sees a thing whole or not at all and a killed build leaves only
//! garbage in `tmp/`, which the next one sweeps. The store knows nothing of what the bytes mean.

mod blob;
mod collect;
mod hold;
mod lock;
mod record;
mod trash;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use blob::{BlobCopy, BlobWriter, SMALL_BLOB_LIMIT};
pub use collect::Collection;
pub use hold::{Guard, Made};
pub use lock::Lock;
pub use lock::abandoned;
pub use record::{Judged, RecordKind, settle};

use crate::digest::Digest;
use crate::fs::{self, PathError};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Bytes do not have the digest they were announced with.
    #[error("expected content `{expected}` but got `{actual}`")]
    Mismatch {
        /// What was announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A blob has fewer bytes than it was announced with.
    #[error("`{digest}` has {} bytes, not the {size} that it should have", size - missing)]
    Short {
        /// Which.
        digest: Digest,
        /// What was announced.
        size: u64,
        /// How many are missing.
        missing: u64,
    },
    /// A blob that something names is not there.
    #[error("blob `{0}` is missing from the store")]
    Missing(Digest),
    /// Other processes did not let go of the guard.
    #[error("other processes are at work in `{}` and do not pause", _0.display())]
    Busy(PathBuf),
}

impl StoreError {
    /// Returns a remedy, if there is one to name.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Path(error) if error.source.kind() == std::io::ErrorKind::StorageFull => Some(
                "the disk is full: free some space, or name another state root with `--root`"
                    .into(),
            ),
            Self::Path(error) if fs::remedy(error).is_some() => fs::remedy(error),
            Self::Path(error) if error.source.kind() == std::io::ErrorKind::PermissionDenied => {
                Some("name a state root that you may write to with `--root`".into())
            }
            Self::Missing(_) => Some("pull the image again, or build it with `--no-cache`".into()),
            Self::Busy(_) => Some("wait until they have ended, and try again".into()),
            Self::Path(_) | Self::Mismatch { .. } | Self::Short { .. } => None,
        }
    }
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// An open state root, with a lease that keeps what this process is making.
pub struct Store {
    root: PathBuf,
    scratch: PathBuf,
    boot: String,
    wrote: std::sync::atomic::AtomicBool,
    holds: hold::Holds,
    reopened: Arc<fs::Reopened>,
    trash: trash::Trash,
}

impl Store {
    /// Opens a state root, creating it if need be, and sweeps what dead processes left in `tmp/`.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self::open_unswept(root)?;
        lock::sweep(&store.root);
        Ok(store)
    }

    /// The same, but what dead processes left stays.
    pub fn open_unswept(root: &Path) -> Result<Self> {
        // Layers hold programs that would run with their owner's rights, and files that only their owner may read.
        for directory in ["", "blobs", "snapshots", "mounts", "locks", "records", "tmp"] {
            let own = directory.is_empty();
            fs::create_private_dir(&root.join(directory), !own)?;
        }
        fs::create_dir_all(&root.join("blobs/sha256"))?;
        for kind in RecordKind::ALL {
            fs::create_dir_all(&root.join("records").join(kind.directory()))?;
        }
        let root = std::fs::canonicalize(root).map_err(PathError::of("open", root))?;
        let (name, lease) = lock::take_lease(&root)?;
        let scratch = root.join("tmp").join(name);
        fs::create_dir_all(&scratch)?;
        let holds = hold::Holds::new(lease, &root)?;
        Ok(Self {
            boot: boot_id(),
            wrote: false.into(),
            root,
            scratch,
            holds,
            reopened: Arc::default(),
            trash: trash::Trash::default(),
        })
    }

    /// Returns the state root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns those of the store's files that are open to be read.
    pub fn reopened(&self) -> &Arc<fs::Reopened> {
        &self.reopened
    }

    /// Returns the directory for files in the making; on the same file system as everything else.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Makes a new directory under [`Store::scratch`].
    pub fn scratch_dir(&self) -> Result<PathBuf> {
        let made = tempfile::Builder::new().prefix("d").tempdir_in(&self.scratch);
        Ok(made.map_err(PathError::of("create a directory in", &self.scratch))?.keep())
    }

    /// Returns where the snapshot of that name is or will be.
    pub fn snapshot_dir(&self, id: &str) -> PathBuf {
        self.root.join("snapshots").join(id)
    }

    /// Returns whether a snapshot is there: its directory alone is none. One that is there is held until this process
    /// ends.
    pub fn has_snapshot(&self, id: &str) -> bool {
        self.hold(&format!("snapshots/{id}"), "changes")
    }

    /// Returns whether the cache mount of that name is there. One that is there is held until this process ends.
    pub fn has_mount(&self, id: &str) -> bool {
        let place = format!("mounts/{id}");
        let is_there = self.hold(&place, "");
        if is_there {
            self.hold_as_made(&place);
        }
        is_there
    }

    /// Returns where the cache mount of that name is or will be.
    pub fn mount_dir(&self, id: &str) -> PathBuf {
        self.root.join("mounts").join(id)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.has_made() {
            // Nobody counted it.
            usage::forget(&self.root);
        }
        self.trash.empty();
        // What cannot be removed now is swept by the next process that opens the store.
        let _ = fs::remove_tree(&self.scratch);
    }
}

/// The kernel's id of this boot; empty where it has none, so that all records count as of this boot.
fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_look_into_a_store() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("new");
        let mode =
            |name: &str| std::fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o777;
        for before in [None, Some(0o755)] {
            if let Some(before) = before {
                let wide = std::fs::Permissions::from_mode(before);
                std::fs::set_permissions(root.join("snapshots"), wide).unwrap();
            }
            drop(Store::open(&root).unwrap());
            let modes = ["", "blobs", "snapshots", "mounts", "locks", "records", "tmp"].map(mode);
            assert_eq!(modes, [0o700; 7]);
        }
    }

    #[test]
    fn a_store_sweeps_the_garbage_of_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        let live = Store::open(dir.path()).unwrap();
        let dead = dir.path().join("tmp/lease-dead");
        fs::create_dir_all(&dead.join("x")).unwrap();
        let second = Store::open(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(live.scratch().exists() && second.scratch().exists());
        let scratch = live.scratch().to_owned();
        drop(live);
        assert!(!scratch.exists());
    }
}
