//! Contents of small files, read on several threads and handed on in the order of their paths.
//!
//! To open a small file takes longer than to hash it, and a layer may have hundreds of thousands.
//!
//! Invariant: what is handed on was verified, and does not depend on the number of threads. [`AHEAD`] batches a thread
//! are in memory, which go back and forth.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, scope};

use super::changes::Iter;
use super::error::{LayerError, Result};
use super::pack::read;
use super::{Change, Changes, Contents, Kind, TreePath};
use crate::digest::ContentDigest;
use crate::parallel::processors;

/// Files of at most so many bytes are small.
const SMALL: u64 = 128 << 10;
/// A batch is full with so many bytes, or so many files.
const BYTES: u64 = 256 << 10;
const FILES: usize = 64;
const AHEAD: usize = 2;
const MOST_THREADS: usize = 4;

/// Returns whether a file of this size is read by [`SmallFiles`].
pub(super) const fn is_small(size: u64) -> bool {
    0 < size && size <= SMALL
}

/// Calls `work` with the small files of a layer.
pub(super) fn small_files<R>(
    changes: &Changes,
    contents: &dyn Contents,
    work: impl FnOnce(&mut SmallFiles<'_>) -> R,
) -> R {
    let batches = Batches { contents, next: Mutex::new((0, changes.iter())) };
    let some = changes.iter().filter_map(small).take(FILES + 1).count();
    let threads = if some > FILES { processors().min(MOST_THREADS) } else { 0 };
    let (filled, full) = channel();
    let (emptied, empty) = channel();
    let empty = Mutex::new(empty);
    scope(|scope| {
        let start = |_: &usize| {
            let (batches, empty, filled) = (&batches, &empty, filled.clone());
            let work = move || batches.read_all(empty, &filled);
            // Where no more threads are allowed, fewer do it, or none.
            Builder::new().name("read files".into()).spawn_scoped(scope, work).is_ok()
        };
        let threads = (0..threads).filter(start).count();
        for _ in 0..threads * AHEAD {
            drop(emptied.send(Vec::with_capacity((BYTES + SMALL) as usize)));
        }
        drop(filled);
        let alone = (threads == 0).then_some(&batches);
        let early = BTreeMap::new();
        let mut files =
            SmallFiles { alone, full, emptied, early, index: 0, bytes: Vec::new(), at: 0 };
        work(&mut files)
    })
}

/// The small files of a layer, each handed out once, in order.
pub(super) struct SmallFiles<'a> {
    /// They are few, and no thread reads them.
    alone: Option<&'a Batches<'a>>,
    full: Receiver<Batch>,
    emptied: Sender<Vec<u8>>,
    /// Batches that were faster than the one that is awaited.
    early: BTreeMap<usize, Result<Vec<u8>>>,
    /// The batch that comes next.
    index: usize,
    bytes: Vec<u8>,
    at: usize,
}

/// A batch's place, and the contents of its files one after the other.
type Batch = (usize, Result<Vec<u8>>);

impl SmallFiles<'_> {
    /// Returns the content of the next file, which has this size.
    pub(super) fn next(&mut self, size: u64) -> Result<&[u8]> {
        if self.at == self.bytes.len() {
            let used = std::mem::take(&mut self.bytes);
            (self.bytes, self.at) = (self.next_batch(used)?, 0);
        }
        let begin = self.at;
        self.at += usize::try_from(size).unwrap_or(usize::MAX);
        self.bytes.get(begin..self.at).ok_or(LayerError::Archive("it has more files than its list"))
    }

    fn next_batch(&mut self, used: Vec<u8>) -> Result<Vec<u8>> {
        if let Some(batches) = self.alone {
            return batches.take().1.map_or(Ok(Vec::new()), |files| batches.read(&files, used));
        }
        // The threads may have ended with nothing to do.
        drop(self.emptied.send(used));
        let index = self.index;
        self.index += 1;
        loop {
            if let Some(read) = self.early.remove(&index) {
                return read;
            }
            // All of them have ended: there is no further file.
            let Ok((index, read)) = self.full.recv() else { return Ok(Vec::new()) };
            self.early.insert(index, read);
        }
    }
}

/// A small file: where it is, its size, and the digest of what it is to hold.
type File<'a> = (&'a TreePath, usize, &'a ContentDigest);

fn small<'a>((path, change): (&'a TreePath, &'a Change)) -> Option<File<'a>> {
    match change {
        Change::Put { kind: Kind::File { size, content }, .. } if is_small(*size) => {
            Some((path, usize::try_from(*size).ok()?, content))
        }
        Change::Put { .. } | Change::Remove | Change::Clear { .. } => None,
    }
}

/// What is still to be read.
struct Batches<'a> {
    contents: &'a dyn Contents,
    /// How many batches were taken, and what follows them.
    next: Mutex<(usize, Iter<'a>)>,
}

impl<'a> Batches<'a> {
    fn lock(&self) -> MutexGuard<'_, (usize, Iter<'a>)> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next batch; `None`: there is none.
    fn take(&self) -> (usize, Option<Vec<File<'a>>>) {
        let mut next = self.lock();
        let (mut files, mut bytes) = (Vec::new(), 0);
        while files.len() < FILES && bytes < BYTES {
            let Some(change) = next.1.next() else { break };
            if let Some(file) = small(change) {
                bytes += file.1 as u64;
                files.push(file);
            }
        }
        let index = next.0;
        next.0 += 1;
        (index, (!files.is_empty()).then_some(files))
    }

    /// Reads batches until there is none, or nobody wants any.
    fn read_all(&self, empty: &Mutex<Receiver<Vec<u8>>>, filled: &Sender<Batch>) {
        loop {
            // Room comes before a batch is taken: so the batch that is awaited always has some.
            let room = empty.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(room) = room else { return };
            let (index, Some(files)) = self.take() else { return };
            let read = catch_unwind(AssertUnwindSafe(|| self.read(&files, room)));
            let read = read.unwrap_or_else(|panic| {
                // Who waits for this batch would wait for ever.
                drop(filled.send((index, Err(LayerError::Archive("its files cannot be read")))));
                resume_unwind(panic)
            });
            if filled.send((index, read)).is_err() {
                return;
            }
        }
    }

    /// Reads and verifies files, one after the other into `room`.
    fn read(&self, files: &[File<'_>], mut room: Vec<u8>) -> Result<Vec<u8>> {
        room.clear();
        for (path, size, content) in files {
            let begin = room.len();
            room.resize(begin + size, 0);
            let bytes = &mut room[begin..];
            let mut file = self.contents.open(path)?;
            let mut filled = 0;
            while filled < *size {
                match read(&mut file, &mut bytes[filled..], path)? {
                    0 => return Err(LayerError::Changed((*path).clone())),
                    n => filled += n,
                }
            }
            if read(&mut file, &mut [0], path)? > 0 || ContentDigest::of(bytes) != **content {
                return Err(LayerError::Changed((*path).clone()));
            }
        }
        Ok(room)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::Metadata;
    use super::*;

    /// Every file holds its own path over and over.
    struct Named;

    fn content(path: &TreePath, size: usize) -> Vec<u8> {
        path.as_bytes().iter().copied().cycle().take(size).collect()
    }

    impl Contents for Named {
        fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
            let size: usize = path.to_string().rsplit('-').next().unwrap().parse().unwrap();
            Ok(Box::new(std::io::Cursor::new(content(path, size))))
        }
    }

    /// So many files of many sizes, with a large one and an empty one among them.
    fn changes(count: usize) -> Changes {
        let mut changes = Changes::new();
        for number in 0..count {
            let size =
                [number % 7000, 200_000, 0, 100_000][usize::from(number % 97 == 0) * (number % 4)];
            let path = TreePath::clean(format!("d{}/f{number}-{size}", number % 13)).unwrap();
            let content = ContentDigest::of(&content(&path, size));
            let kind = Kind::File { size: size as u64, content };
            changes.put(path, kind, Metadata::default());
        }
        changes
    }

    #[test]
    fn files_come_in_order() {
        for count in [0, 1, FILES, FILES + 2, 3000] {
            let changes = changes(count);
            let seen = small_files(&changes, &Named, |files| {
                let mut seen = 0;
                for (path, size, _) in changes.iter().filter_map(small) {
                    assert!(files.next(size as u64).unwrap() == content(path, size), "{path}");
                    seen += 1;
                }
                seen
            });
            assert!(seen + 200 > count, "{seen} of {count}");
        }
    }

    #[test]
    fn a_file_that_changed_stops_the_rest_in_order() {
        let mut changes = changes(3000);
        let (damaged, _, _) = changes.iter().filter_map(small).nth(1500).unwrap();
        let damaged = damaged.clone();
        let content = ContentDigest::of(b"something else");
        changes.put(damaged.clone(), Kind::File { size: 5, content }, Metadata::default());
        small_files(&changes, &Named, |files| {
            let first = changes.iter().filter_map(small).find_map(|(path, size, _)| {
                let error = files.next(size as u64).err()?;
                Some((path.clone(), error))
            });
            let (path, error) = first.unwrap();
            // Others of its batch do not come either.
            assert!(path <= damaged);
            assert!(matches!(error, LayerError::Changed(path) if path == damaged));
        });
    }

    #[test]
    fn a_thread_that_panics_ends_it() {
        struct Panics;
        impl Contents for Panics {
            fn open(&self, _: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
                panic!("while reading")
            }
        }
        let changes = changes(3000);
        let read = || small_files(&changes, &Panics, |files| files.next(1).map(drop));
        catch_unwind(AssertUnwindSafe(read)).unwrap_err();
    }

    #[test]
    fn who_wants_no_more_does_not_wait() {
        let changes = changes(3000);
        small_files(&changes, &Named, |files| files.next(1).map(drop)).unwrap();
        small_files(&changes, &Named, |_| ());
    }
}
