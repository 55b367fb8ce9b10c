//! The walk of a context: what is there and what the kernel says of it, on several threads.
//!
//! Directories are entered through their parents' descriptors, so a link that takes a directory's place meanwhile
//! leads nowhere. What the ignore file excludes for good is not entered.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use super::stat_cache::Fingerprint;
use crate::digest::{ContentDigest, ContentHasher};
use crate::dockerignore::{Matcher, Parents, Verdict};
use crate::event::Cancel;
use crate::fs::PathError;
use crate::layer::{Timestamp, TreePath, check_depth};
use crate::parallel;
use crate::source::SourceError;

type Result<T> = std::result::Result<T, SourceError>;

/// More threads wait for each other in the kernel rather than get on.
const MOST_THREADS: usize = 8;

/// So many files are listed sooner than a thread begins.
const FEW: usize = 500;

/// What the kernel may say of a directory at once, in bytes.
const BUFFER: usize = 64 << 10;

/// What the kernel says of a file, as far as it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) mode: u32,
    pub(super) links: u32,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) special: u64,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
}

impl Facts {
    fn of(stat: &Stat) -> Self {
        let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        Self {
            mode: stat.st_mode,
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
            device: stat.st_dev,
            inode: stat.st_ino,
            special: stat.st_rdev,
            size: stat.st_size as u64,
            mtime: time(stat.st_mtime, stat.st_mtime_nsec as u32),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec as u32),
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint { size: self.size, mtime: self.mtime, ctime: self.ctime, inode: self.inode }
    }

    fn bytes(&self) -> [u8; 80] {
        let mut bytes = [0; 80];
        let numbers = [
            u64::from(self.mode),
            u64::from(self.links),
            self.device,
            self.inode,
            self.special,
            self.size,
            self.mtime.seconds as u64,
            u64::from(self.mtime.nanoseconds),
            self.ctime.seconds as u64,
            u64::from(self.ctime.nanoseconds),
        ];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

/// Files with what is known of them, sorted by path.
pub(super) type Entries = Vec<(TreePath, Facts)>;

/// A directory that was read: what is in it and not ignored.
#[derive(Debug, Default)]
struct Directory {
    /// The names, one after the other.
    names: Vec<u8>,
    /// Where each name ends, and what is there.
    entries: Vec<(usize, Facts)>,
    /// What it is itself, if it is ignored: it comes along if something in it does.
    ignored: Option<Facts>,
}

impl Directory {
    fn iter(&self) -> impl Iterator<Item = (&[u8], &Facts)> {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|(end, _)| *end));
        starts.zip(&self.entries).map(|(start, (end, facts))| (&self.names[start..*end], facts))
    }
}

/// Everything that a context has, as the kernel described it.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The directories that were read, by their paths.
    directories: BTreeMap<TreePath, Directory>,
    /// The root, what leads to what is wanted, and what is wanted itself.
    single: BTreeMap<TreePath, Facts>,
}

impl Listing {
    /// Returns everything that is in the listing, in order.
    pub(super) fn into_entries(self) -> Entries {
        let taken_back = self.taken_back();
        let mut entries: Entries = Vec::with_capacity(self.len() + taken_back.len());
        for (at, directory) in self.directories {
            let within = directory.iter();
            entries.extend(within.filter_map(|(name, facts)| Some((at.join(name)?, *facts))));
        }
        // What was found in a directory is as it was found last.
        entries.extend(self.single);
        entries.extend(taken_back);
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by(|later, earlier| later.0 == earlier.0);
        entries
    }

    fn len(&self) -> usize {
        let within = self.directories.values().map(|directory| directory.entries.len());
        self.single.len() + within.sum::<usize>()
    }

    /// Returns the symbolic links in it.
    pub(super) fn links(&self) -> impl Iterator<Item = TreePath> {
        let is_link = |facts: &Facts| facts.file_type() == FileType::Symlink;
        let single = self.single.iter().filter(move |(_, facts)| is_link(facts));
        let within = self.directories.iter().flat_map(move |(at, directory)| {
            let links = directory.iter().filter(move |(_, facts)| is_link(facts));
            links.filter_map(|(name, _)| at.join(name))
        });
        single.map(|(path, _)| path.clone()).chain(within)
    }

    /// The directories that are ignored and have something in them that is not.
    fn taken_back(&self) -> BTreeMap<TreePath, Facts> {
        let mut found = BTreeMap::new();
        let ignored = |path: &TreePath| self.directories.get(path)?.ignored;
        let filled = self.directories.iter().filter(|(_, directory)| !directory.entries.is_empty());
        for (path, _) in filled {
            let mut at = Some(path.clone());
            while let Some(path) = at {
                at = path.parent();
                if let Some(facts) = ignored(&path)
                    && found.insert(path, facts).is_some()
                {
                    break;
                }
            }
        }
        found
    }

    /// Returns a digest of all of it: two listings with the same one are of the same files, as they were.
    pub(super) fn digest(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new();
        for (path, facts) in &self.single {
            hasher.field(path.as_bytes());
            hasher.field(&facts.bytes());
        }
        // A few long updates are hashed faster than many short ones.
        let mut bytes = Vec::new();
        for (path, directory) in &self.directories {
            hasher.field(path.as_bytes());
            bytes.clear();
            for facts in directory.ignored.iter().chain(directory.entries.iter().map(|it| &it.1)) {
                bytes.extend_from_slice(&facts.bytes());
            }
            hasher.field(&bytes);
            bytes.clear();
            bytes.extend(directory.entries.iter().flat_map(|(end, _)| end.to_le_bytes()));
            hasher.field(&bytes);
            hasher.field(&directory.names);
        }
        hasher.content()
    }

    /// Returns whether any change after `read_at` would certainly show.
    pub(super) fn is_settled(&self, read_at: Timestamp) -> bool {
        let within = self.directories.values().flat_map(|directory| &directory.entries);
        let mut all = self.single.values().chain(within.map(|(_, facts)| facts));
        all.all(|facts| facts.fingerprint().is_settled(read_at))
    }
}

/// Lists what is wanted of the directory at `root`.
pub(super) fn list(
    root: &Path,
    matcher: Option<&Matcher>,
    wanted: &[TreePath],
    cancel: &Cancel,
) -> Result<Listing> {
    let walk = Walk { root, matcher, cancel, open: Mutex::default(), news: Condvar::new() };
    let mut single = BTreeMap::new();
    let stat = rustix::fs::stat(root).map_err(PathError::of("read", root))?;
    single.insert(TreePath::root(), Facts::of(&stat));
    for path in wanted {
        if let Some(above) = walk.descend_to(path, &mut single)? {
            walk.begin(path, above, &mut single)?;
        }
    }
    let directories = walk.run()?;
    Ok(Listing { directories, single })
}

/// A directory that is to be read.
struct Pending {
    parent: Arc<OwnedFd>,
    name: CString,
    path: TreePath,
    above: Parents,
    ignored: Option<Facts>,
}

#[derive(Default)]
struct Open {
    pending: Vec<Pending>,
    /// How many threads are reading a directory.
    busy: usize,
    failure: Option<SourceError>,
}

struct Walk<'a> {
    root: &'a Path,
    matcher: Option<&'a Matcher>,
    cancel: &'a Cancel,
    open: Mutex<Open>,
    /// There is more to read, or there will be no more.
    news: Condvar,
}

impl Walk<'_> {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, path: &TreePath, errno: Errno) -> SourceError {
        PathError::of("read", &self.root.join(path.as_path()))(errno).into()
    }

    /// Returns what the ignore file says of a path; `None`: it and all in it is ignored.
    fn judge(
        &self,
        matcher: &Matcher,
        path: &TreePath,
        above: &Parents,
    ) -> Result<Option<Verdict>> {
        let verdict = matcher.check(path.as_bytes(), above).map_err(|error| {
            let file = self.root.join(path.as_path());
            SourceError::Ignore { file, message: error.to_string(), hint: error.hint() }
        })?;
        let pruned = verdict.matched && matcher.can_prune(path.as_bytes());
        Ok(Some(verdict).filter(|_| !pruned))
    }

    /// Adds the directories above a path; returns what the ignore file says on the way, or `None` if the path is
    /// ignored for good or not there.
    fn descend_to(
        &self,
        path: &TreePath,
        single: &mut BTreeMap<TreePath, Facts>,
    ) -> Result<Option<Parents>> {
        let mut above = Parents::default();
        let mut at = TreePath::root();
        let parents = path.components().count().saturating_sub(1);
        for name in path.components().take(parents) {
            at = at.join(name).unwrap_or_default();
            if let Some(matcher) = self.matcher {
                let Some(verdict) = self.judge(matcher, &at, &above)? else { return Ok(None) };
                above = verdict.parents;
            }
            match rustix::fs::lstat(self.root.join(at.as_path())) {
                Ok(stat) => drop(single.insert(at.clone(), Facts::of(&stat))),
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                Err(errno) => return Err(self.failed(&at, errno)),
            }
        }
        Ok(Some(above))
    }

    /// Adds what is wanted itself, and what is in it to what is to be read.
    fn begin(
        &self,
        path: &TreePath,
        above: Parents,
        single: &mut BTreeMap<TreePath, Facts>,
    ) -> Result<()> {
        let parent = path.parent().unwrap_or_default();
        let directory = open(&self.root.join(parent.as_path()));
        let directory = Arc::new(directory.map_err(|errno| self.failed(&parent, errno))?);
        let parent = |path| {
            let name = c".".to_owned();
            Pending { parent: Arc::clone(&directory), name, path, above, ignored: None }
        };
        let Some(name) = path.name() else {
            self.open().pending.push(parent(TreePath::root()));
            return Ok(());
        };
        let Ok(name) = CString::new(name) else { return Ok(()) };
        let at = parent(path.parent().unwrap_or_default());
        let mut read = Directory::default();
        let within = self.entry((&directory, &name), &at, &mut read)?;
        single.extend(read.iter().map(|(_, facts)| (path.clone(), *facts)));
        self.open().pending.extend(within);
        Ok(())
    }

    /// Reads everything that is to be read.
    fn run(&self) -> Result<BTreeMap<TreePath, Directory>> {
        let mut done = self.work(FEW)?;
        if !self.open().pending.is_empty() {
            let threads: Vec<usize> = (0..parallel::processors().min(MOST_THREADS)).collect();
            let more = parallel::map(threads.len(), &threads, |_| self.work(usize::MAX))?;
            done.extend(more.into_iter().flatten());
        }
        match self.open().failure.take() {
            Some(error) => Err(error),
            None => Ok(done.into_iter().collect()),
        }
    }

    /// Reads directories until all are, or until so many entries were found.
    fn work(&self, most: usize) -> Result<Vec<(TreePath, Directory)>> {
        let mut buffer = Vec::with_capacity(BUFFER);
        let (mut done, mut found) = (Vec::new(), 0);
        while found < most
            && let Some(pending) = self.next()
        {
            let path = pending.path.clone();
            match self.directory(pending, &mut buffer) {
                Ok((directory, within)) => {
                    found += directory.entries.len();
                    done.push((path, directory));
                    self.done(within, None);
                }
                Err(error) => self.done(Vec::new(), Some(error)),
            }
        }
        Ok(done)
    }

    /// Returns what is to be read next; `None`: nothing will be.
    fn next(&self) -> Option<Pending> {
        let mut open = self.open();
        loop {
            if open.failure.is_some() {
                return None;
            }
            // The last one first: few directories are open at once then.
            if let Some(pending) = open.pending.pop() {
                open.busy += 1;
                return Some(pending);
            }
            if open.busy == 0 {
                return None;
            }
            open = self.news.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, within: Vec<Pending>, failure: Option<SourceError>) {
        let mut open = self.open();
        open.busy -= 1;
        open.pending.extend(within);
        if open.failure.is_none() {
            open.failure = failure;
        }
        drop(open);
        self.news.notify_all();
    }

    /// Reads a directory; returns what is in it, and which of that is to be read.
    fn directory(
        &self,
        pending: Pending,
        buffer: &mut Vec<u8>,
    ) -> Result<(Directory, Vec<Pending>)> {
        if self.cancel.is_canceled() {
            return Err(SourceError::Canceled);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*pending.parent, &pending.name, flags, Mode::empty());
        let fd = Arc::new(fd.map_err(|errno| self.failed(&pending.path, errno))?);
        let mut directory = Directory { ignored: pending.ignored, ..Directory::default() };
        let mut within = Vec::new();
        buffer.clear();
        let mut entries = RawDir::new(fd.as_fd(), buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| self.failed(&pending.path, errno))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                let named = (&fd, entry.file_name());
                within.extend(self.entry(named, &pending, &mut directory)?);
            }
        }
        Ok((directory, within))
    }

    /// Adds something in a directory to what is known of that; returns it if it is to be read itself.
    fn entry(
        &self,
        (parent, name): (&Arc<OwnedFd>, &CStr),
        at: &Pending,
        directory: &mut Directory,
    ) -> Result<Option<Pending>> {
        let path = || at.path.join(name.to_bytes()).unwrap_or_default();
        let mut verdict = Verdict { matched: false, parents: Parents::default() };
        if let Some(matcher) = self.matcher {
            let Some(judged) = self.judge(matcher, &path(), &at.above)? else { return Ok(None) };
            verdict = judged;
        }
        let facts = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Facts::of(&stat),
            // Removed since the directory was listed.
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed(&path(), errno)),
        };
        if !verdict.matched {
            directory.names.extend_from_slice(name.to_bytes());
            directory.entries.push((directory.names.len(), facts));
        }
        if facts.file_type() != FileType::Directory {
            return Ok(None);
        }
        let path = path();
        check_depth(&path)?;
        Ok(Some(Pending {
            parent: Arc::clone(parent),
            name: name.to_owned(),
            path,
            above: verdict.parents,
            ignored: Some(facts).filter(|_| verdict.matched),
        }))
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
