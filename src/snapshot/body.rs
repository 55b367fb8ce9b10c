//! Where the files of a layer are.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempPath;

use super::{COMPRESSED, DIFF_ID, LayerId, Result, SnapshotError, Snapshots};
use crate::digest::{DiffId, Digest};
use crate::event::Cancel;
use crate::fs::{self, PathError};
use crate::layer::{
    Contents, DirectoryContents, LayerError, PackOptions, Sequence, Stoppable, TarContents,
    TreePath, decoder,
};

/// The body of a layer that is read from most easily.
pub(super) enum Body {
    /// A directory.
    Directory(PathBuf),
    /// A tar that was packed here. That of a layer from elsewhere may have its files in another order; it has a directory.
    Tar(PathBuf),
    /// Such a tar, compressed.
    Compressed(PathBuf),
}

impl Snapshots<'_> {
    /// Returns where a layer's files can be read.
    pub fn contents(&self, id: LayerId, changes: &dyn Sequence) -> Result<Arc<dyn Contents>> {
        let contents = self.files(id, changes)?;
        Ok(match self.cancel {
            Some(cancel) => Arc::new(Stoppable::new(contents, cancel)),
            None => contents,
        })
    }

    fn files(&self, id: LayerId, changes: &dyn Sequence) -> Result<Arc<dyn Contents>> {
        // A build has hundreds of layers: none is opened before something is read from it.
        let reopened = || Arc::clone(self.store.reopened());
        let tar =
            |path| TarContents::reopened((path, reopened()), changes, &PackOptions::default());
        Ok(match self.body(id)? {
            Body::Directory(path) => Arc::new(DirectoryContents::reopened(path, reopened())),
            Body::Tar(path) => Arc::new(tar(path)?),
            Body::Compressed(blob) => {
                static COUNT: AtomicU64 = AtomicU64::new(0);
                let number = COUNT.fetch_add(1, Ordering::Relaxed);
                let path = self.store.scratch().join(format!("tar-{number}"));
                let (tar, cancel) = (tar(path.clone())?, self.canceled_by());
                Arc::new(Inflated { blob, path, tar, cancel, made: Mutex::default() })
            }
        })
    }

    pub(super) fn body(&self, id: LayerId) -> Result<Body> {
        let directory = self.dir(id).join("fs");
        match std::fs::metadata(&directory) {
            Ok(_) => return Ok(Body::Directory(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(PathError::of("open", &directory)(error).into()),
        }
        let is_there = |blob: &Digest| self.store.blob_size(blob).is_some();
        let tar = self.read_note(id, DIFF_ID)?;
        let tar = tar.map(|id: DiffId| Digest::from_bytes(*id.as_bytes()));
        if let Some(tar) = tar.filter(is_there) {
            return Ok(Body::Tar(self.store.blob_path(&tar)));
        }
        match self.read_note(id, COMPRESSED)?.filter(is_there) {
            Some(blob) => Ok(Body::Compressed(self.store.blob_path(&blob))),
            None => Err(SnapshotError::Missing(id)),
        }
    }
}

/// The files of a compressed tar, which is inflated into a file once something is read from it.
struct Inflated {
    blob: PathBuf,
    path: PathBuf,
    tar: TarContents,
    cancel: Cancel,
    made: Mutex<Option<TempPath>>,
}

impl Inflated {
    fn tar(&self) -> crate::fs::Result<&TarContents> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_none() {
            let failed = PathError::of("write", &self.path);
            let mut file = File::create_new(&self.path).map_err(&failed)?;
            let path = TempPath::try_from_path(&self.path).map_err(&failed)?;
            inflate(&self.blob, &self.cancel, &mut file).map_err(|error| match error {
                LayerError::Path(error) => error,
                LayerError::Write(error) => failed(error),
                error => failed(io::Error::other(error)),
            })?;
            *made = Some(path);
        }
        Ok(&self.tar)
    }
}

impl Contents for Inflated {
    fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        self.tar()?.open(path)
    }

    fn piece(&self, path: &TreePath) -> crate::fs::Result<Option<(File, u64)>> {
        self.tar()?.piece(path)
    }
}

/// Writes the tar that a blob is compressed from. It is not verified: whoever reads the files knows their digests.
pub(super) fn inflate(
    blob: &Path,
    cancel: &Cancel,
    out: &mut dyn Write,
) -> std::result::Result<(), LayerError> {
    let failed = PathError::of("read", blob);
    let mut plain = decoder(fs::open(blob)?).map_err(&failed)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        if cancel.is_canceled() {
            return Err(failed(io::Error::other("canceled")).into());
        }
        match plain.read(&mut buffer).map_err(&failed)? {
            0 => return Ok(()),
            n => out.write_all(&buffer[..n]).map_err(LayerError::Write)?,
        }
    }
}
