//! Blobs: each is hashed against its name.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FileType, Stat};

use super::place::{Place, judge, kind, list};
use super::{Amount, Reader, Result, VerifyError};
use crate::digest::{Digest, Sha256Hasher};
use crate::fs::{PathError, open_unmarked};
use crate::parallel;

const DIRECTORY: &str = "blobs/sha256";

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    /// Those that are what they should be.
    pub(super) sound: BTreeMap<Digest, Place>,
    /// The others, each with what is wrong.
    pub(super) damaged: Vec<(Place, String)>,
}

pub(super) fn read(reader: &Reader<'_>, amount: &mut Amount) -> Result<Blobs> {
    let root = reader.store.root();
    let entries = list(root, DIRECTORY)?;
    let total = entries.iter().map(|(_, stat)| stat.st_size as u64).sum();
    let done = AtomicU64::new(0);
    let report = |bytes: u64| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        (reader.progress)("blobs", before + bytes, total);
    };
    let judged = parallel::map(parallel::processors(), &entries, |(place, stat)| {
        let name = place.path.rsplit('/').next().unwrap_or_default();
        match format!("sha256:{name}").parse::<Digest>() {
            Err(_) => Ok(Some(Err("is no blob".to_owned()))),
            Ok(digest) if place.is_before(reader.since) => Ok(Some(Ok(digest))),
            Ok(digest) => hash(reader, &root.join(&place.path), (digest, stat), &report),
        }
    })?;
    let mut blobs = Blobs::default();
    for ((place, _), judged) in entries.into_iter().zip(judged) {
        match judged {
            None => continue,
            Some(Ok(digest)) => drop(blobs.sound.insert(digest, place)),
            Some(Err(problem)) => blobs.damaged.push((place, problem)),
        }
        amount.blobs += 1;
    }
    amount.bytes += done.into_inner();
    Ok(blobs)
}

/// What is known of a blob: nothing if it is gone, its digest, or what is wrong.
type Judged = Option<std::result::Result<Digest, String>>;

fn hash(
    reader: &Reader<'_>,
    path: &Path,
    (digest, stat): (Digest, &Stat),
    report: &dyn Fn(u64),
) -> Result<Judged> {
    if kind(stat) != FileType::RegularFile {
        return Ok(Some(Err("is no regular file".to_owned())));
    }
    match digest_of(reader, path, report) {
        Ok(None) => Ok(None),
        Ok(Some(actual)) if actual == digest => Ok(Some(Ok(digest))),
        Ok(Some(_)) if stat.st_size == 0 => Ok(Some(Err("is empty".to_owned()))),
        Ok(Some(actual)) => Ok(Some(Err(format!("has the digest {actual}")))),
        Err(VerifyError::Path(error)) => Ok(Some(Err(judge(error)?))),
        Err(error) => Err(error),
    }
}

fn digest_of(reader: &Reader<'_>, path: &Path, report: &dyn Fn(u64)) -> Result<Option<Digest>> {
    let Some(mut file) = open_unmarked(path)? else { return Ok(None) };
    let mut hasher = Sha256Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        reader.go_on()?;
        match file.read(&mut buffer).map_err(PathError::of("read", path))? {
            0 => return Ok(Some(hasher.digest())),
            n => {
                hasher.update(&buffer[..n]);
                report(n as u64);
            }
        }
    }
}
