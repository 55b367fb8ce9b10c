//! Copying an image into the local store.

use std::io::{self, Write};

use super::SourceError;
use super::blobs::Blobs;
use super::closure::Closure;
use super::unpacking::{Counted, explain_copy};
use crate::event::Cancel;
use crate::fs::PathError;
use crate::oci::Descriptor;
use crate::parallel;
use crate::store::Store;

/// How many blobs are copied at once.
const PARALLEL: usize = 4;

/// Copies what the store does not have, documents last, so that whatever has a document is whole. `progress` hears of
/// bytes: what, so far, in all.
pub fn keep(
    store: &Store,
    place: &dyn Blobs,
    closure: &Closure,
    progress: &(dyn Fn(&str, u64, u64) + Sync),
    cancel: &Cancel,
) -> Result<(), SourceError> {
    keep_blobs(store, (place, &closure.blobs), progress, cancel)?;
    for (_, bytes) in &closure.documents {
        store.put_blob(bytes)?;
    }
    Ok(())
}

/// Copies those of some blobs that the store does not have.
pub fn keep_blobs(
    store: &Store,
    (place, blobs): (&dyn Blobs, &[Descriptor]),
    progress: &(dyn Fn(&str, u64, u64) + Sync),
    cancel: &Cancel,
) -> Result<(), SourceError> {
    let copied = parallel::map(PARALLEL, blobs, |blob| {
        match store.blob_size(&blob.digest) == Some(blob.size) {
            true => Ok(()),
            false => copy(store, place, blob, progress, cancel),
        }
    });
    copied.map(drop)
}

fn copy(
    store: &Store,
    place: &dyn Blobs,
    blob: &Descriptor,
    progress: &(dyn Fn(&str, u64, u64) + Sync),
    cancel: &Cancel,
) -> Result<(), SourceError> {
    let what = &blob.digest.hex()[..12];
    let report = |done| progress(what, done, blob.size);
    let mut from = Counted { inner: place.open(blob)?, count: 0, report: &report, cancel };
    let mut to = store.new_copy(&blob.digest)?;
    let path = to.path().to_owned();
    io::copy(&mut from, &mut to).map_err(|error| match cancel.is_canceled() {
        true => SourceError::Canceled,
        false => explain_copy(error, &path),
    })?;
    to.flush().map_err(PathError::of("write", &path))?;
    to.commit_verified()?;
    Ok(())
}
