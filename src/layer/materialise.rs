//! Changes to an overlay lower directory, with contents from anywhere.
//!
//! Invariant: what is in the directory afterwards is what unpacking the packed changes would have put there, and
//! every content was verified against the changes on its way. Files are written by several threads; directories
//! come before them, links, whiteouts and the directories' own metadata after.

use std::path::Path;
use std::thread;

use super::disk::{Disk, Flavour};
use super::error::{LayerError, Result, misfit};
use super::{Change, Changes, Contents, Kind, TreePath};
use crate::digest::ContentHasher;

const BUFFER: usize = 256 << 10;

/// Writes changes into `root`, an empty directory, with as many threads as the machine has.
pub fn materialise(
    changes: &Changes,
    contents: &dyn Contents,
    root: &Path,
    flavour: Flavour,
) -> Result<()> {
    let mut disk = Disk::open(root, flavour)?;
    make_directories(&mut disk, changes)?;
    let files: Vec<(&TreePath, &Change)> = changes.iter().filter(|(_, c)| is_file(c)).collect();
    write_files(&disk, &files, contents)?;
    for (path, change) in changes {
        match change {
            Change::Put { kind: Kind::Directory | Kind::File { .. }, .. } => {}
            Change::Put { kind: Kind::Hardlink { .. }, .. } => {}
            Change::Put { kind, meta } => disk.make(path, kind, meta)?,
            Change::Remove | Change::Clear { .. } => {}
        }
    }
    for (path, change) in changes {
        if let Change::Put { kind: Kind::Hardlink { to }, .. } = change {
            disk.link(path, to)?;
        }
    }
    finish(&mut disk, changes)
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

fn make_directories(disk: &mut Disk, changes: &Changes) -> Result<()> {
    let mut last = TreePath::root();
    for (path, change) in changes {
        let is_directory =
            matches!(change, Change::Put { kind: Kind::Directory, .. } | Change::Clear { .. });
        if is_directory && !path.is_root() {
            disk.mkdir(path)?;
        }
        // Sorted, so a parent that nobody described would have come just before.
        let parent = path.parent().unwrap_or_default();
        if parent != last && !parent.is_root() && !is_described(changes, &parent) {
            return Err(misfit(path, "has a parent that is not among the changes"));
        }
        last = parent;
    }
    Ok(())
}

fn is_described(changes: &Changes, directory: &TreePath) -> bool {
    matches!(
        changes.get(directory),
        Some(Change::Put { kind: Kind::Directory, .. } | Change::Clear { .. })
    )
}

fn write_files(disk: &Disk, files: &[(&TreePath, &Change)], contents: &dyn Contents) -> Result<()> {
    in_parallel(disk, files, |disk, file, buffer| write_with(disk, *file, contents, buffer))
}

/// Gives each thread a run of neighbours, so that each stays within few directories.
pub(super) fn in_parallel<T: Sync>(
    disk: &Disk,
    items: &[T],
    each: impl Fn(&mut Disk, &T, &mut Vec<u8>) -> Result<()> + Sync,
) -> Result<()> {
    let threads = crate::parallel::processors().min(8);
    let chunk = items.len().div_ceil(4 * threads).max(16);
    let chunks = std::sync::Mutex::new(items.chunks(chunk));
    let work = || -> Result<()> {
        let mut disk = disk.another()?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let next = chunks.lock().map_or(None, |mut chunks| chunks.next());
            let Some(items) = next else { return Ok(()) };
            for item in items {
                each(&mut disk, item, &mut buffer)?;
            }
        }
    };
    if threads == 1 || items.len() < 32 {
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
