//! The files of a local context: walked, filtered by its ignore file, and known by content.
//!
//! Only what the build names is walked. Ignored directories are not entered. Files that are as they were when they
//! were last read are not read again. Owners become 0:0, so that checkouts of different users are the same.

use std::collections::{BTreeMap, HashMap};
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use super::SourceError;
use super::stat_cache::{self, Fingerprint, Known, StatCache};
use crate::digest::ContentDigest;
use crate::dockerignore::{Matcher, Parents, Verdict};
use crate::event::Cancel;
use crate::fs::{self, PathError};
use crate::layer::{
    Changes, Contents, DirectoryContents, Kind, Metadata, Timestamp, Tree, TreePath, Xattrs,
    check_depth,
};
use crate::snapshot::upper;
use crate::store::Store;
use crate::wildcard;

/// A directory whose files a build may use.
#[derive(Debug, Clone)]
pub struct LocalContext {
    /// The directory.
    pub root: PathBuf,
    /// The ignore file that counts: its path and text.
    pub ignore: Option<(PathBuf, Vec<u8>)>,
    /// What is needed of it, absolute paths as instructions name them; `/` or a pattern means everything.
    pub paths: Vec<String>,
}

impl LocalContext {
    /// Reads the files, most of them only by their times.
    pub fn load(&self, store: &Store, cancel: &Cancel) -> Result<Tree, SourceError> {
        let matcher = self.matcher()?;
        let name = ContentDigest::of(self.root.as_os_str().as_bytes()).hex();
        let cache = stat_cache::load(store, &name);
        let walk = |wanted: &[TreePath]| {
            let mut walk =
                Walk { root: &self.root, matcher: matcher.as_ref(), entries: Vec::new() };
            walk.run(wanted).map(|()| walk.entries)
        };
        let mut entries = walk(&self.wanted())?;
        if self.takes_a_link(&entries) {
            entries = walk(&[TreePath::root()])?;
        }
        let read_at = now();
        let digests = self.digests(&entries, &cache, cancel)?;
        remember(store, &name, &entries, (&digests, read_at), cache);
        self.tree(entries, digests)
    }

    fn matcher(&self) -> Result<Option<Matcher>, SourceError> {
        let Some((file, text)) = &self.ignore else { return Ok(None) };
        let matcher = Matcher::parse(text).map_err(|error| SourceError::Ignore {
            file: file.clone(),
            message: error.to_string(),
            hint: error.hint(),
        })?;
        Ok(Some(matcher).filter(|matcher| !matcher.is_empty()))
    }

    /// Returns the paths to walk: the roots of what is named, or everything.
    fn wanted(&self) -> Vec<TreePath> {
        let mut wanted: Vec<TreePath> = Vec::new();
        for path in &self.paths {
            let fixed: Vec<&str> =
                path.split('/').take_while(|part| !part.contains(['*', '?', '[', '\\'])).collect();
            match TreePath::clean(fixed.join("/")) {
                Some(path) if !path.is_root() && self.is_plain(&path) => wanted.push(path),
                _ => return vec![TreePath::root()],
            }
        }
        wanted.sort();
        let mut reduced: Vec<TreePath> = Vec::new();
        for path in wanted {
            if !reduced.last().is_some_and(|last| path.starts_with(last)) {
                reduced.push(path);
            }
        }
        reduced
    }

    /// Returns whether a pattern matches a link, which is followed: it may lead out of what the pattern names.
    fn takes_a_link(&self, entries: &[Entry]) -> bool {
        let patterns = || self.paths.iter().map(|path| path.trim_start_matches('/'));
        let links = entries.iter().filter(|entry| entry.file_type() == FileType::Symlink);
        links.map(|entry| String::from_utf8_lossy(entry.path.as_bytes())).any(|name| {
            patterns().any(|pattern| wildcard::matches(pattern, &name).unwrap_or(false))
        })
    }

    /// Returns whether neither the path nor anything that it leads through is a link: a link may lead anywhere in
    /// the context. What is inside a directory may be links; they are copied as such.
    fn is_plain(&self, path: &TreePath) -> bool {
        let mut at = self.root.clone();
        path.components().all(|name| {
            at.push(std::ffi::OsStr::from_bytes(name));
            !at.symlink_metadata().is_ok_and(|meta| meta.file_type().is_symlink())
        })
    }

    /// Returns the digest and attributes of every regular file: known ones from the cache, others by reading.
    fn digests(
        &self,
        entries: &[Entry],
        cache: &StatCache,
        cancel: &Cancel,
    ) -> Result<Vec<Option<Digested>>, SourceError> {
        let mut digests = Vec::with_capacity(entries.len());
        let mut unread = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let known =
                cache.get(&entry.path).filter(|known| known.fingerprint == entry.fingerprint());
            match (entry.is_file(), known) {
                (true, Some(known)) => {
                    digests.push(Some(Digested {
                        content: known.content,
                        xattrs: known.xattrs.clone(),
                    }));
                }
                (true, None) => {
                    unread.push(index);
                    digests.push(None);
                }
                (false, _) => digests.push(None),
            }
        }
        let paths: Vec<PathBuf> =
            unread.iter().map(|i| self.root.join(entries[*i].path.as_path())).collect();
        let contents = upper::hash_files(&paths, cancel)?;
        for ((index, path), content) in unread.iter().zip(&paths).zip(contents) {
            let mut xattrs = upper::xattrs(path, FileType::RegularFile)?;
            // A file of somebody's state root.
            xattrs.remove(crate::ownership::ATTRIBUTE.as_bytes());
            digests[*index] = Some(Digested { content, xattrs });
        }
        Ok(digests)
    }

    fn tree(
        &self,
        entries: Vec<Entry>,
        digests: Vec<Option<Digested>>,
    ) -> Result<Tree, SourceError> {
        let mut changes = BTreeMap::new();
        let mut firsts: HashMap<(u64, u64), TreePath> = HashMap::new();
        for (entry, digested) in entries.into_iter().zip(digests) {
            let (content, xattrs) = match digested {
                Some(digested) => (digested.content, digested.xattrs),
                None => (ContentDigest::of(b""), Xattrs::new()),
            };
            let Some(mut kind) = entry.kind(&self.root, content)? else { continue };
            if entry.stat.st_nlink > 1 && entry.is_file() {
                let inode = (entry.stat.st_dev, entry.stat.st_ino);
                match firsts.get(&inode) {
                    Some(first) => kind = Kind::Hardlink { to: first.clone() },
                    None => drop(firsts.insert(inode, entry.path.clone())),
                }
            }
            changes.insert(entry.path.clone(), (kind, entry.metadata(xattrs)));
        }
        let mut list = Changes::new();
        for (path, (kind, meta)) in changes {
            list.put(path, kind, meta);
        }
        let contents: Arc<dyn Contents> = Arc::new(DirectoryContents::open(&self.root)?);
        Ok(Tree::empty().apply(&list, &contents)?)
    }
}

struct Digested {
    content: ContentDigest,
    xattrs: Xattrs,
}

/// Returns the time now as files are stamped.
fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: now.as_secs() as i64, nanoseconds: now.subsec_nanos() }
}

/// Writes down what was learned, unless it was all known.
fn remember(
    store: &Store,
    name: &str,
    entries: &[Entry],
    (digests, read_at): (&[Option<Digested>], Timestamp),
    mut cache: StatCache,
) {
    let mut changed = false;
    for (entry, digested) in entries.iter().zip(digests) {
        let Some(digested) = digested else { continue };
        let fingerprint = entry.fingerprint();
        if cache.get(&entry.path).is_some_and(|known| known.fingerprint == fingerprint)
            || !fingerprint.is_settled(read_at)
        {
            continue;
        }
        let known =
            Known { fingerprint, content: digested.content, xattrs: digested.xattrs.clone() };
        cache.insert(entry.path.clone(), known);
        changed = true;
    }
    if changed {
        // Files that are gone would make the record grow for ever; those merely not walked this time stay.
        if cache.len() > 2 * entries.len() + 1024 {
            let walked: std::collections::HashSet<_> =
                entries.iter().map(|entry| &entry.path).collect();
            cache.retain(|path, _| walked.contains(path));
        }
        stat_cache::save(store, name, &cache);
    }
}

struct Entry {
    path: TreePath,
    stat: Stat,
}

impl Entry {
    fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    fn fingerprint(&self) -> Fingerprint {
        let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds };
        Fingerprint {
            size: self.stat.st_size as u64,
            mtime: time(self.stat.st_mtime, self.stat.st_mtime_nsec as u32),
            ctime: time(self.stat.st_ctime, self.stat.st_ctime_nsec as u32),
            inode: self.stat.st_ino,
        }
    }

    fn metadata(&self, xattrs: Xattrs) -> Metadata {
        Metadata { uid: 0, gid: 0, xattrs, ..upper::metadata(&self.stat) }
    }

    fn kind(&self, root: &Path, content: ContentDigest) -> Result<Option<Kind>, SourceError> {
        let (major, minor) =
            (rustix::fs::major(self.stat.st_rdev), rustix::fs::minor(self.stat.st_rdev));
        Ok(Some(match self.file_type() {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => Kind::File { size: self.stat.st_size as u64, content },
            FileType::Symlink => {
                let path = root.join(self.path.as_path());
                let target =
                    std::fs::read_link(&path).map_err(PathError::of("read the link", &path))?;
                Kind::Symlink { target: target.as_os_str().as_bytes().to_vec() }
            }
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(None),
        }))
    }
}

struct Walk<'a> {
    root: &'a Path,
    matcher: Option<&'a Matcher>,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn check(
        &self,
        matcher: &Matcher,
        path: &TreePath,
        parents: &Parents,
    ) -> Result<Verdict, SourceError> {
        let fail = |error: crate::dockerignore::IgnoreError| SourceError::Ignore {
            file: self.root.join(path.as_path()),
            message: error.to_string(),
            hint: error.hint(),
        };
        matcher.check(path.as_bytes(), parents).map_err(fail)
    }

    fn run(&mut self, wanted: &[TreePath]) -> Result<(), SourceError> {
        let fail = PathError::of("read", self.root);
        let stat = rustix::fs::stat(self.root).map_err(&fail)?;
        self.entries.push(Entry { path: TreePath::root(), stat });
        for path in wanted {
            if let Some(progress) = self.descend_to(path)? {
                self.from(path, progress)?;
            }
        }
        Ok(())
    }

    /// Adds the directories above a path; returns what the ignore file says on the way, or `None` if the path is
    /// ignored for good or not there.
    fn descend_to(&mut self, path: &TreePath) -> Result<Option<Parents>, SourceError> {
        let mut progress = Parents::default();
        let mut at = TreePath::root();
        let parents = path.components().count().saturating_sub(1);
        for name in path.components().take(parents) {
            at = at.join(name).unwrap_or_default();
            if let Some(matcher) = self.matcher {
                let verdict = self.check(matcher, &at, &progress)?;
                if verdict.matched && matcher.can_prune(at.as_bytes()) {
                    return Ok(None);
                }
                progress = verdict.parents;
            }
            let full = self.root.join(at.as_path());
            match rustix::fs::lstat(&full) {
                Ok(stat) => self.entries.push(Entry { path: at.clone(), stat }),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
                Err(errno) => return Err(PathError::of("read", &full)(errno).into()),
            }
        }
        Ok(Some(progress))
    }

    fn from(&mut self, path: &TreePath, progress: Parents) -> Result<(), SourceError> {
        let full = self.root.join(path.as_path());
        if path.is_root() {
            let fd = open(&full).map_err(PathError::of("read", &full))?;
            return self.directory(&fd, path, &progress);
        }
        let parent = full.parent().unwrap_or(self.root).to_owned();
        let parent = open(&parent).map_err(PathError::of("read", &parent))?;
        let name = path.name().unwrap_or_default();
        let Ok(name) = std::ffi::CString::new(name) else { return Ok(()) };
        self.entry(&parent, &name, path.clone(), &progress)
    }

    fn directory(
        &mut self,
        fd: &OwnedFd,
        at: &TreePath,
        progress: &Parents,
    ) -> Result<(), SourceError> {
        let full = self.root.join(at.as_path());
        let fail = PathError::of("read", &full);
        for entry in Dir::read_from(fd).map_err(&fail)? {
            let entry = entry.map_err(&fail)?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            let Some(path) = at.join(entry.file_name().to_bytes()) else { continue };
            self.entry(fd, entry.file_name(), path, progress)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &CStr,
        path: TreePath,
        progress: &Parents,
    ) -> Result<(), SourceError> {
        let Verdict { matched: ignored, parents: next } = match self.matcher {
            Some(matcher) => self.check(matcher, &path, progress)?,
            None => Verdict { matched: false, parents: Parents::default() },
        };
        let pruned =
            ignored && self.matcher.is_some_and(|matcher| matcher.can_prune(path.as_bytes()));
        if pruned {
            return Ok(());
        }
        let full = self.root.join(path.as_path());
        let fail = PathError::of("read", &full);
        let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since the directory was listed.
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(fail(errno).into()),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let index = self.entries.len();
        if !ignored {
            self.entries.push(Entry { path: path.clone(), stat });
        }
        if is_directory {
            check_depth(&path)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(&fail)?;
            let before = self.entries.len();
            self.directory(&fd, &path, &next)?;
            if ignored && self.entries.len() > before {
                // Something in it was taken back: the directory comes with it.
                self.entries.insert(index, Entry { path, stat });
            }
        }
        Ok(())
    }
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// In bytes.
const LARGEST_IGNORE_FILE: u64 = 16 << 20;

/// Finds the ignore file of a context: the one beside the Dockerfile that bears its name, else the context's own.
pub fn find_ignore_file(
    root: &Path,
    dockerfile: Option<&Path>,
) -> Result<Option<(PathBuf, Vec<u8>)>, SourceError> {
    let beside = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in beside.into_iter().chain([root.join(".dockerignore")]) {
        if let Some(text) = fs::read_within(root, &path, LARGEST_IGNORE_FILE)? {
            if text.len() as u64 == LARGEST_IGNORE_FILE {
                let message = format!("it has {} MiB or more", LARGEST_IGNORE_FILE >> 20);
                return Err(SourceError::Ignore { file: path, message, hint: None });
            }
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}
