//! Archives as trees: a context that is a tar, and what ADD unpacks.

use std::io::{Cursor, Read};

use super::SourceError;
use crate::fs::PathError;
use crate::layer::{LayerError, Limits, Tree, decoder, is_archive, read_archive};
use crate::store::Store;

/// How much of a file is looked at to see whether it is an archive: enough for any compression to give one header.
const PROBE: u64 = 1 << 20;

/// Reads an archive, compressed or not; its contents go to a scratch file of the store.
pub fn read(input: impl Read + Send, store: &Store) -> Result<Tree, SourceError> {
    let spool = tempfile::tempfile_in(store.scratch());
    let mut spool = spool.map_err(PathError::of("create a file in", store.scratch()))?;
    let plain = decoder(input).map_err(LayerError::Read)?;
    read_archive(plain, &mut spool, Limits::default()).map_err(|error| match error {
        LayerError::Write(source) => {
            PathError::of("write to a file in", store.scratch())(source).into()
        }
        error => error.into(),
    })
}

/// Returns whether a file is an archive that ADD unpacks, which its content alone decides.
pub fn probe(input: impl Read) -> Result<bool, SourceError> {
    let mut head = Vec::new();
    input.take(PROBE).read_to_end(&mut head).map_err(LayerError::Read)?;
    if head.len() < 10 {
        return Ok(false);
    }
    Ok(match decoder(Cursor::new(head)) {
        Ok(plain) => is_archive(plain),
        Err(_) => false,
    })
}
