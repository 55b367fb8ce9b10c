//! Whether everything in the store is what it should be, and making it so where it is not.
//!
//! Everything is read: blobs are hashed against their names, layers' changes against their ids and their files against
//! these changes, records against their checksums; then whatever names something is held against what is here. What is
//! damaged is dropped together with all records that lead to it, so that the next build makes it anew, and a name whose
//! image is no longer whole is taken away. Records that the machine's end made doubtful count again once what they name
//! was found to be whole.
//!
//! The reading takes no lock. What live processes hold is left alone; the rest is moved away in an instant in which
//! nothing can be looked up, names before what they name, after looking once more whether it is still what was read.
//! The directories of `RUN --mount=type=cache` are people's data, of which nobody knows how they should be.

mod blobs;
mod files;
mod images;
mod layers;
mod place;
mod records;
mod repair;

use std::collections::HashSet;
use std::time::SystemTime;

use crate::event::Cancel;
use crate::fs::{PathError, remedy};
use crate::snapshot::SnapshotError;
use crate::store::{Store, StoreError};

/// Why the store could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A layer.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The user asked to stop. Nothing was changed.
    #[error("canceled")]
    Canceled,
}

impl VerifyError {
    /// Returns a remedy, if there is one to name.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Path(_) | Self::Snapshot(_) => remedy(self),
            Self::Canceled => None,
        }
    }
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, VerifyError>;

/// What is done about what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is repaired or dropped.
    Repair,
    /// Nothing: it is only said.
    Look,
}

/// What was done about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone; what was made by kiln is made anew when it is needed.
    Removed,
    /// A layer's directory is gone, or the note of its digest; it is made anew from what else the store has.
    Reduced,
    /// A name is gone whose image cannot be had from what is here.
    Lost,
    /// It counts again.
    Renewed,
    /// A running process uses it: it is as it was.
    InUse,
}

impl Outcome {
    /// Returns its name, as programs read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Reduced => "reduced",
            Self::Lost => "lost",
            Self::Renewed => "renewed",
            Self::InUse => "in-use",
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is: `blob`, `layer`, `name`, or a kind of record.
    pub kind: &'static str,
    /// Its name, of its kind.
    pub id: String,
    /// What is wrong: a sentence about it without its subject.
    pub problem: String,
    /// What was done about it, or with [`Mode::Look`] would be.
    pub outcome: Outcome,
}

/// How much was read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Blobs.
    pub blobs: u64,
    /// Layers.
    pub layers: u64,
    /// Files of layers.
    pub files: u64,
    /// Records.
    pub records: u64,
    /// Bytes of blobs and files.
    pub bytes: u64,
}

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Report {
    /// What was read.
    pub amount: Amount,
    /// What is wrong: records first, then what they name.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Returns whether everything is as it should be after a repair: all of it can be had or made again.
    pub fn is_repaired(&self) -> bool {
        let is_open = |it: &Finding| matches!(it.outcome, Outcome::Lost | Outcome::InUse);
        !self.findings.iter().any(is_open)
    }
}

/// Reads everything in the store. `progress` hears of bytes: what, so far, in all.
pub fn verify(
    store: &Store,
    mode: Mode,
    progress: &(dyn Fn(&str, u64, u64) + Sync),
    cancel: &Cancel,
) -> Result<Report> {
    let reader = Reader { store, progress, cancel, since: None };
    let report = verify_with(&reader, mode)?;
    if mode == Mode::Repair {
        store.note_verified()?;
    }
    Ok(report)
}

/// Looks, once after the machine has been started, at whatever was not known to be on the disk when it stopped: what is
/// there by its name may have lost its bytes. To be called by whoever will put something into the store, before it looks
/// anything up. Returns what was found. What cannot be read by this user is left to the next one.
pub fn recover(store: &Store, cancel: &Cancel) -> Result<Vec<Finding>> {
    let Some(since) = store.doubtful_since()? else { return Ok(Vec::new()) };
    let Some(_lock) = store.lock("recover", &|| cancel.is_canceled())? else {
        return Err(VerifyError::Canceled);
    };
    if store.doubtful_since()?.is_none() {
        return Ok(Vec::new());
    }
    let reader = Reader { store, progress: &|_, _, _| {}, cancel, since: Some(since) };
    let is_denied = |error: &PathError| error.source.kind() == std::io::ErrorKind::PermissionDenied;
    match verify_with(&reader, Mode::Repair) {
        Ok(report) => {
            store.note_verified()?;
            Ok(report.findings)
        }
        Err(VerifyError::Path(error)) if is_denied(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn verify_with(reader: &Reader<'_>, mode: Mode) -> Result<Report> {
    let store = reader.store;
    let mut amount = Amount::default();
    // What names something is read before what it names: what comes meanwhile is there by then.
    let records = records::read(reader, &mut amount)?;
    let layers = layers::read(reader, &mut amount)?;
    let blobs = blobs::read(reader, &mut amount)?;
    let found = repair::Found { records, layers, blobs };
    let findings = match mode {
        Mode::Look => {
            let held = store.collect()?.held().clone();
            repair::Plan::new(store, &found, &held)?.findings
        }
        Mode::Repair => repair::repair(store, &found)?,
    };
    Ok(Report { amount, findings })
}

/// What reading needs.
struct Reader<'a> {
    store: &'a Store,
    progress: &'a (dyn Fn(&str, u64, u64) + Sync),
    cancel: &'a Cancel,
    /// What was written before is known to be what it should be.
    since: Option<SystemTime>,
}

impl Reader<'_> {
    fn go_on(&self) -> Result<()> {
        match self.cancel.is_canceled() {
            true => Err(VerifyError::Canceled),
            false => Ok(()),
        }
    }
}

/// Paths beneath the root.
type Places = HashSet<String>;
