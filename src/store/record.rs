//! Records: one small checksummed file a name, written by rename.
//!
//! ```text
//! kiln-record 1 <boot id or "-"> <blake3 of the body>\n<body>
//! ```
//!
//! Content is written before the record that names it, but neither is flushed to the disk one by one. So a record
//! carries the id of the boot that wrote it. After a reboot the order of the writes is known to have held only for
//! records that a `syncfs` of the state root had passed: [`settle`] notes how far that is. All others are as
//! if they had never been written.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Result, Store};
use crate::digest::ContentDigest;
use crate::fs::{self, PathError};

/// What a record is about; each kind has its own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// What a build step made, by cache key.
    Step,
    /// An image's name.
    Tag,
    /// Which manifest has a config, by the config's digest: docker's image id.
    Image,
    /// What was known of a context's files.
    Context,
    /// What instructions took of a context, by its state.
    Selection,
    /// Which steps the last build of a Dockerfile had.
    Build,
    /// Which layer is the uppermost of a chain, by chain id.
    Chain,
    /// What is known of a blob: of a layer compressed, by diff id and compression; of a download, by URL.
    Blob,
}

impl RecordKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Step,
        Self::Tag,
        Self::Image,
        Self::Context,
        Self::Selection,
        Self::Build,
        Self::Chain,
        Self::Blob,
    ];

    /// Returns the name of its directory beneath `records/`.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Tag => "tag",
            Self::Image => "image",
            Self::Context => "context",
            Self::Selection => "selection",
            Self::Build => "build",
            Self::Chain => "chain",
            Self::Blob => "blob",
        }
    }

    /// Returns where the record of that name is, beneath the root. Names are file names: the caller escapes what is
    /// not.
    pub fn place(self, name: &str) -> String {
        let directory = self.directory();
        match self {
            Self::Step => format!("records/{directory}/{}/{name}", &name[..2]),
            Self::Tag
            | Self::Image
            | Self::Context
            | Self::Selection
            | Self::Build
            | Self::Chain
            | Self::Blob => format!("records/{directory}/{name}"),
        }
    }
}

const MAGIC: &str = "kiln-record 1";

/// What the bytes of a record's file are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It counts; this is its body.
    Counts(Vec<u8>),
    /// It is whole, but the machine stopped before it was known to be on the disk, with what it names.
    Unsettled(Vec<u8>),
    /// It is no record.
    Damaged,
}

impl Store {
    fn record_path(&self, kind: RecordKind, name: &str) -> PathBuf {
        self.root.join(kind.place(name))
    }

    /// Reads a record and holds it until this process ends; `None` if there is none, or none that can be trusted.
    pub fn record(&self, kind: RecordKind, name: &str) -> Result<Option<Vec<u8>>> {
        self.hold(&kind.place(name), "");
        self.peek_record(kind, name)
    }

    /// Reads a record without holding it or marking it as used: it may be gone at any time.
    pub fn peek_record(&self, kind: RecordKind, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.record_path(kind, name);
        let Some(mut bytes) = fs::read_unmarked(&path, u64::MAX)? else { return Ok(None) };
        let Some((boot, body)) = open_envelope(&bytes) else { return Ok(None) };
        let (begin, counts) = (bytes.len() - body.len(), self.counts(&boot, &path));
        bytes.drain(..begin);
        Ok(counts.then_some(bytes))
    }

    /// Takes apart what a record's file holds: the name, beneath the root, of the mark that the record counts by, and
    /// the body. `None` if it does not count.
    pub fn trusted(&self, path: &Path, bytes: &[u8]) -> Option<(String, Vec<u8>)> {
        let (boot, body) = open_envelope(bytes)?;
        self.counts(&boot, path).then(|| (format!("records/{}", mark_name(&boot)), body.to_vec()))
    }

    /// Says what the bytes of a record's file are worth.
    pub fn judge(&self, path: &Path, bytes: &[u8]) -> Judged {
        let Some((boot, body)) = open_envelope(bytes) else { return Judged::Damaged };
        match self.counts(&boot, path) {
            true => Judged::Counts(body.to_vec()),
            false => Judged::Unsettled(body.to_vec()),
        }
    }

    /// Returns where the mark of this boot is or will be, beneath the root.
    pub fn own_mark(&self) -> String {
        format!("records/{}", mark_name(&self.boot))
    }

    /// Writes a record, replacing what was there.
    pub fn put_record(&self, kind: RecordKind, name: &str, body: &[u8]) -> Result<()> {
        let path = self.record_path(kind, name);
        let head = self.head(body)?;
        self.count_record(head.len() + body.len());
        let _guard = self.guard();
        let replaced = fs::replace_with_directory(&path, &[&head, body], &self.scratch);
        self.hold(&kind.place(name), "");
        Ok(replaced?)
    }

    /// Returns what stands before the body in a record's file, as this boot writes it.
    pub(super) fn head(&self, body: &[u8]) -> Result<Vec<u8>> {
        if !self.wrote.swap(true, Ordering::Relaxed) {
            make_settled_mark(&self.root, &self.boot)?;
        }
        let boot = if self.boot.is_empty() { "-" } else { &self.boot };
        Ok(format!("{MAGIC} {boot} {}\n", ContentDigest::of(body).hex()).into_bytes())
    }

    /// Removes a record; one that is not there is no error.
    pub fn remove_record(&self, kind: RecordKind, name: &str) -> Result<()> {
        match fs::remove_file(&self.record_path(kind, name)) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Lists the names of a kind that has no subdirectories, sorted.
    pub fn record_names(&self, kind: RecordKind) -> Result<Vec<String>> {
        let directory = self.root.join("records").join(kind.directory());
        let fail = PathError::of("list", &directory);
        let entries = std::fs::read_dir(&directory).map_err(&fail)?;
        let names =
            entries.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<std::io::Result<Vec<_>>>().map_err(&fail)?;
        names.sort();
        Ok(names)
    }

    /// Returns whether this process wrote a record, which [`settle`] should follow.
    pub fn has_written(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    /// Returns whether a record that was written in this boot counts.
    fn counts(&self, boot: &str, record: &Path) -> bool {
        boot == self.boot || self.is_settled(boot, record)
    }

    fn is_settled(&self, boot: &str, record: &Path) -> bool {
        let written = std::fs::metadata(record).and_then(|meta| meta.modified());
        match (settled_until(&settled_path(&self.root, boot)), written) {
            (Some(until), Ok(written)) => written < until,
            _ => false,
        }
    }

    /// Returns since when it is not known whether what was put in its place reached the disk, because the machine
    /// stopped and nobody has looked since; `None` if somebody has, or it did not stop.
    pub fn doubtful_since(&self) -> Result<Option<SystemTime>> {
        if self.verified_path().exists() {
            return Ok(None);
        }
        let directory = self.root.join("records");
        let fail = PathError::of("list", &directory);
        let own = mark_name(&self.boot);
        let (mut since, mut has_other) = (UNIX_EPOCH, false);
        for entry in std::fs::read_dir(&directory).map_err(&fail)? {
            let name = entry.map_err(&fail)?.file_name();
            if name.as_encoded_bytes().starts_with(b"settled-") && *name != *own {
                has_other = true;
                since = since.max(settled_until(&directory.join(name)).unwrap_or(UNIX_EPOCH));
            }
        }
        Ok(has_other.then_some(since))
    }

    /// Notes that somebody has looked at what was doubtful when this boot began.
    pub fn note_verified(&self) -> Result<()> {
        let directory = self.root.join("records");
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let is_former = entry.file_name().as_encoded_bytes().starts_with(b"verified-");
            if is_former && entry.path() != self.verified_path() {
                fs::remove_file(&entry.path())?;
            }
        }
        match fs::create_new(&self.verified_path()) {
            Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    fn verified_path(&self) -> PathBuf {
        self.root.join("records").join(format!("verified-{}", self.boot))
    }
}

/// Flushes the state root's file system, after which every record written before now survives a crash of the machine.
/// Slow (it waits for the disk); run by a process of its own after a build that wrote something. Creates no file, so
/// that a state root may be removed meanwhile.
pub fn settle(root: &Path) -> Result<()> {
    let now = SystemTime::now();
    let path = settled_path(root, &super::boot_id());
    let mark = match std::fs::File::options().write(true).open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(PathError::of("open", &path))?,
    };
    let directory = std::fs::File::open(root).map_err(PathError::of("flush", root))?;
    rustix::fs::syncfs(&directory).map_err(PathError::of("flush", root))?;
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    // Always of one length: a later mark covers an earlier one, and half a mark is no number.
    let text = format!("{seconds:020}\n");
    Ok(mark.write_all_at(text.as_bytes(), 0).map_err(PathError::of("write", &path))?)
}

/// Makes the file that [`settle`] writes to, empty: nothing is settled.
fn make_settled_mark(root: &Path, boot: &str) -> Result<()> {
    match fs::create_new(&settled_path(root, boot)) {
        Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

/// Reads a mark: what was written before is on the disk.
fn settled_until(mark: &Path) -> Option<SystemTime> {
    let text = std::fs::read_to_string(mark).ok()?;
    let seconds = text.strip_suffix('\n')?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn mark_name(boot: &str) -> String {
    format!("settled-{boot}")
}

fn settled_path(root: &Path, boot: &str) -> PathBuf {
    root.join("records").join(mark_name(boot))
}

/// Takes a record's bytes apart into boot id and body; `None` if they are damaged.
fn open_envelope(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let header = std::str::from_utf8(&bytes[..end]).ok()?.strip_prefix(MAGIC)?;
    let (boot, sum) = header.trim_start().split_once(' ')?;
    let body = &bytes[end + 1..];
    let boot = if boot == "-" { "" } else { boot };
    (ContentDigest::of(body).hex() == sum).then(|| (boot.to_owned(), body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_damaged_record_is_no_record() {
        let (_dir, store) = store();
        store.put_record(RecordKind::Step, "abcd", b"body").unwrap();
        assert_eq!(store.record(RecordKind::Step, "abcd").unwrap().unwrap(), b"body");
        let path = store.record_path(RecordKind::Step, "abcd");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(store.record(RecordKind::Step, "abcd").unwrap(), None);
        assert_eq!(store.record(RecordKind::Step, "absent").unwrap(), None);
    }

    #[test]
    fn after_a_reboot_only_settled_records_count() {
        let (dir, mut store) = store();
        let this = store.boot.clone();
        store.put_record(RecordKind::Tag, "settled", b"x").unwrap();
        let old = SystemTime::now() - Duration::from_secs(5);
        let path = store.record_path(RecordKind::Tag, "settled");
        let file = std::fs::File::options().append(true).open(path).unwrap();
        file.set_modified(old).unwrap();
        settle(dir.path()).unwrap();
        assert!(settled_path(dir.path(), &this).exists());
        store.put_record(RecordKind::Tag, "unsettled", b"x").unwrap();
        store.boot = "after".into();
        assert_eq!(store.record(RecordKind::Tag, "unsettled").unwrap(), None);
        assert_eq!(store.record(RecordKind::Tag, "settled").unwrap().unwrap(), b"x");
        store.boot = this;
        assert_eq!(store.record(RecordKind::Tag, "unsettled").unwrap().unwrap(), b"x");
    }
}
