//! Changes to an overlay lower directory, with contents from anywhere.
//!
//! Invariant: what is in the directory afterwards is what unpacking the packed changes would have put there, and
//! every content was verified against the changes on its way. Files are written by several threads; directories
//! come before them, links, whiteouts and the directories' own metadata after.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use super::disk::{Disk, Flavour};
use super::error::{LayerError, Result, misfit};
use super::sequence::{Sequence, complete};
use super::{Change, Changes, Contents, Kind, TreePath};
use crate::digest::ContentHasher;

const BUFFER: usize = 256 << 10;

/// Writes changes into `root`, an empty directory, with as many threads as the machine has.
pub fn materialise(
    changes: &dyn Sequence,
    contents: &dyn Contents,
    root: &Path,
    flavour: Flavour,
) -> Result<()> {
    let mut disk = Disk::open(root, flavour)?;
    let others = make_directories(&mut disk, changes)?;
    let files = changes.begin().filter(|(_, change)| is_file(change));
    in_parallel(&disk, files, run_of(changes.count()), |disk, (path, change), buffer| {
        write_with(disk, (path, change), contents, buffer)
    })?;
    for (path, change) in &others {
        match change {
            Change::Put { kind: Kind::Directory | Kind::File { .. }, .. } => {}
            Change::Put { kind: Kind::Hardlink { .. }, .. } => {}
            Change::Put { kind, meta } => disk.make(path, kind, meta)?,
            Change::Remove | Change::Clear { .. } => {}
        }
    }
    for (path, change) in &others {
        if let Change::Put { kind: Kind::Hardlink { to }, .. } = change {
            disk.link(path, to)?;
        }
    }
    finish(&mut disk, &others)
}

/// Adds whiteouts, marks opaque directories, and gives all directories their metadata, the deepest first.
pub(super) fn finish(disk: &mut Disk, changes: &Changes) -> Result<()> {
    for (path, change) in changes {
        if *change == Change::Remove {
            disk.whiteout(path)?;
        }
    }
    for (path, change) in changes.iter().rev() {
        match change {
            Change::Put { kind: Kind::Directory, meta } => disk.describe_directory(path, meta)?,
            Change::Clear { meta } => {
                disk.set_opaque(path)?;
                disk.describe_directory(path, meta)?;
            }
            Change::Put { .. } | Change::Remove => {}
        }
    }
    Ok(())
}

/// Writes one regular file with its metadata.
pub(super) fn write_file(
    disk: &mut Disk,
    path: &TreePath,
    change: &Change,
    contents: &dyn Contents,
) -> Result<()> {
    write_with(disk, (path, change), contents, &mut vec![0; BUFFER])
}

const fn is_file(change: &Change) -> bool {
    matches!(change, Change::Put { kind: Kind::File { .. }, .. })
}

/// Makes the directories; returns what is no regular file.
fn make_directories(disk: &mut Disk, changes: &dyn Sequence) -> Result<Changes> {
    let (mut last, mut others, mut seen) = (TreePath::root(), Changes::new(), 0);
    for (path, change) in changes.begin() {
        seen += 1;
        let is_directory =
            matches!(*change, Change::Put { kind: Kind::Directory, .. } | Change::Clear { .. });
        if is_directory && !path.is_root() {
            disk.mkdir(&path)?;
        }
        // Sorted, so a parent that nobody described would have come just before.
        let parent = path.parent().unwrap_or_default();
        if parent != last && !parent.is_root() && !is_described(&others, &parent) {
            return Err(misfit(&path, "has a parent that is not among the changes"));
        }
        last = parent;
        if !is_file(&change) {
            others.insert(path.into_owned(), change.into_owned());
        }
    }
    complete(changes, seen)?;
    Ok(others)
}

fn is_described(changes: &Changes, directory: &TreePath) -> bool {
    matches!(
        changes.get(directory),
        Some(Change::Put { kind: Kind::Directory, .. } | Change::Clear { .. })
    )
}

/// Returns how many of so many items [`in_parallel`] should give to a thread at once: not all of them are in memory.
pub(super) fn run_of(count: usize) -> usize {
    count.div_ceil(4 * threads()).clamp(16, 1024)
}

fn threads() -> usize {
    crate::parallel::processors().min(8)
}

/// Gives each thread a run of neighbours, so that each stays within few directories.
pub(super) fn in_parallel<T: Send>(
    disk: &Disk,
    items: impl Iterator<Item = T> + Send,
    run: usize,
    each: impl Fn(&mut Disk, &T, &mut Vec<u8>) -> Result<()> + Sync,
) -> Result<()> {
    let mut items = items.fuse();
    // What two threads take at once is no work for several.
    let first: Vec<T> = items.by_ref().take(32).collect();
    let few = first.len() < 32;
    let items = Mutex::new(first.into_iter().chain(items));
    let work = || -> Result<()> {
        let mut disk = disk.another()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let next = items.lock().map(|mut items| items.by_ref().take(run).collect());
            let next: Vec<T> = next.unwrap_or_default();
            if next.is_empty() {
                return Ok(());
            }
            for item in &next {
                each(&mut disk, item, &mut buffer)?;
            }
        }
    };
    let threads = threads();
    if threads == 1 || few {
        return work();
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| worker.join());
        let ended: Vec<Result<()>> = ended
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        ended.into_iter().collect()
    })
}

fn write_with(
    disk: &mut Disk,
    (path, change): (&TreePath, &Change),
    contents: &dyn Contents,
    buffer: &mut [u8],
) -> Result<()> {
    let Change::Put { kind: Kind::File { size, content }, meta } = change else { return Ok(()) };
    let mut file = disk.create(path, meta)?;
    let mut hasher = ContentHasher::new();
    if *size > 0 {
        let mut source = contents.open(path)?;
        let mut written = 0;
        loop {
            let n = super::pack::read(&mut source, buffer, path)?;
            written += n as u64;
            if n == 0 || written > *size {
                break;
            }
            hasher.update(&buffer[..n]);
            disk.write(&mut file, path, &buffer[..n])?;
        }
        if written != *size {
            return Err(LayerError::Changed(path.clone()));
        }
    }
    if hasher.content() != *content {
        return Err(LayerError::Changed(path.clone()));
    }
    Ok(disk.describe_file(&file, path, meta)?)
}
