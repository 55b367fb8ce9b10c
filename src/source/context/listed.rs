//! A context that was listed: what identifies its state, and its tree, which is made when somebody needs it.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, major, minor};

use super::LocalContext;
use super::selections::Selections;
use super::stat_cache::{Known, StatCache};
use super::walk::{Entries, Facts, Listing};
use crate::digest::{ContentDigest, ContentHasher};
use crate::event::Cancel;
use crate::fs::PathError;
use crate::layer::{
    Change, Changes, Contents, DirectoryContents, Kind, Metadata, Timestamp, Tree, TreePath, Xattrs,
};
use crate::snapshot::files;
use crate::source::SourceError;
use crate::store::Store;

/// A context as it was at one moment.
#[derive(Debug)]
pub struct Listed {
    context: LocalContext,
    /// What identifies the state of its files; `None`: a change could be missed, so shortly before was the last one.
    state: Option<ContentDigest>,
    files: Mutex<Files>,
    selections: Mutex<Option<Selections>>,
}

#[derive(Debug)]
enum Files {
    Listing(Listing, Timestamp),
    Tree(Tree),
}

impl Listed {
    pub(super) fn new(context: LocalContext, listing: Listing) -> Self {
        let read_at = now();
        let state = listing.is_settled(read_at).then(|| listing.digest());
        let files = Mutex::new(Files::Listing(listing, read_at));
        Self { context, state, files, selections: Mutex::default() }
    }

    /// Returns the tree; reads the files that are not as they were when they were last read.
    pub fn tree(&self, store: &Store, cancel: &Cancel) -> Result<Tree, SourceError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let tree = match std::mem::replace(&mut *files, Files::Tree(Tree::empty())) {
            Files::Tree(tree) => tree,
            Files::Listing(listing, read_at) => {
                let entries = listing.into_entries();
                Reading { context: &self.context, store, cancel }.tree(entries, read_at)?
            }
        };
        *files = Files::Tree(tree.clone());
        Ok(tree)
    }

    /// Returns the identity of what an instruction takes, by a digest of how it says so: from what was written down
    /// when the files were last in this state, or as `find` finds it in the tree.
    pub fn selection<E: From<SourceError>>(
        &self,
        how: ContentDigest,
        store: &Store,
        cancel: &Cancel,
        find: impl FnOnce(&Tree) -> Result<ContentDigest, E>,
    ) -> Result<ContentDigest, E> {
        let Some(state) = self.state else { return find(&self.tree(store, cancel)?) };
        let mut selections = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        let name = || self.name();
        let selections = selections.get_or_insert_with(|| Selections::load(store, name(), state));
        if let Some(known) = selections.get(how) {
            return Ok(known);
        }
        let found = find(&self.tree(store, cancel)?)?;
        selections.insert(how, found);
        Ok(found)
    }

    /// Returns whether something was written down when the files were last in this state.
    pub fn is_known(&self, store: &Store) -> bool {
        let Some(state) = self.state else { return false };
        let mut selections = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        let selections =
            selections.get_or_insert_with(|| Selections::load(store, self.name(), state));
        !selections.is_empty()
    }

    /// Writes down what was found in this state. A failure costs time in the next build and nothing else.
    pub fn remember(&self, store: &Store) {
        let selections = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(selections) = &*selections {
            selections.save(store);
        }
    }

    /// What is listed: other paths of the same directory, or another ignore file, make another one.
    fn name(&self) -> String {
        let LocalContext { root, ignore, paths } = &self.context;
        let mut hasher = ContentHasher::new();
        hasher.field(root.as_os_str().as_bytes());
        hasher.field(ignore.as_ref().map_or(b"", |(_, text)| text));
        paths.iter().for_each(|path| hasher.field(path.as_bytes()));
        hasher.content().hex()
    }
}

/// Returns the time now as files are stamped.
fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: now.as_secs() as i64, nanoseconds: now.subsec_nanos() }
}

/// How a tree is made of what the kernel said.
struct Reading<'a> {
    context: &'a LocalContext,
    store: &'a Store,
    cancel: &'a Cancel,
}

/// What is to be known of a regular file besides that.
struct Digested {
    content: ContentDigest,
    xattrs: Xattrs,
    /// Whether it was not known before.
    is_new: bool,
}

impl Reading<'_> {
    fn tree(&self, entries: Entries, read_at: Timestamp) -> Result<Tree, SourceError> {
        let name = ContentDigest::of(self.context.root.as_os_str().as_bytes()).hex();
        let cache = StatCache::load(self.store, &name);
        let digests = self.digests(&entries, &cache)?;
        remember((self.store, &name), &entries, (&digests, read_at), cache);
        let mut list = Vec::with_capacity(entries.len());
        let mut firsts: HashMap<(u64, u64), TreePath> = HashMap::new();
        for ((path, facts), digested) in entries.into_iter().zip(digests) {
            let (content, xattrs) = match digested {
                Some(digested) => (digested.content, digested.xattrs),
                None => (ContentDigest::of(b""), Xattrs::new()),
            };
            let Some(mut kind) = kind(&self.context.root, &path, &facts, content)? else {
                continue;
            };
            if facts.links > 1 && is_file(&facts) {
                match firsts.get(&(facts.device, facts.inode)) {
                    Some(first) => kind = Kind::Hardlink { to: first.clone() },
                    None => drop(firsts.insert((facts.device, facts.inode), path.clone())),
                }
            }
            let meta =
                Metadata { uid: 0, gid: 0, mode: facts.mode & 0o7777, mtime: facts.mtime, xattrs };
            list.push((path, Change::Put { kind, meta }));
        }
        let list = Changes::from_sorted(list);
        let contents: Arc<dyn Contents> = Arc::new(DirectoryContents::open(&self.context.root)?);
        Ok(Tree::empty().apply(&list, &contents)?)
    }

    /// Returns the digest and attributes of every regular file: known ones from the cache, others by reading.
    fn digests(
        &self,
        entries: &Entries,
        cache: &StatCache,
    ) -> Result<Vec<Option<Digested>>, SourceError> {
        let mut known = cache.iter().peekable();
        let mut digests = Vec::with_capacity(entries.len());
        let mut unread: Vec<usize> = Vec::new();
        for (index, (path, facts)) in entries.iter().enumerate() {
            while known.next_if(|(other, _)| other < path).is_some() {}
            let known = known.next_if(|(other, _)| other == path).map(|(_, known)| known);
            let known =
                known.filter(|known| is_file(facts) && known.fingerprint == facts.fingerprint());
            if is_file(facts) && known.is_none() {
                unread.push(index);
            }
            digests.push(known.map(|Known { content, xattrs, .. }| Digested {
                content,
                xattrs,
                is_new: false,
            }));
        }
        let read = files::of_files(&unread, self.cancel, |index, reader| {
            let path = self.context.root.join(entries[*index].0.as_path());
            let (content, mut xattrs) = reader.read(&path)?;
            // A file of somebody's state root.
            xattrs.remove(crate::ownership::ATTRIBUTE.as_bytes());
            Ok::<_, SourceError>(Digested { content, xattrs, is_new: true })
        })?;
        for (index, digested) in unread.into_iter().zip(read) {
            digests[index] = Some(digested);
        }
        Ok(digests)
    }
}

fn is_file(facts: &Facts) -> bool {
    facts.file_type() == FileType::RegularFile
}

fn kind(
    root: &Path,
    path: &TreePath,
    facts: &Facts,
    content: ContentDigest,
) -> Result<Option<Kind>, SourceError> {
    let (major, minor) = (major(facts.special), minor(facts.special));
    Ok(Some(match facts.file_type() {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File { size: facts.size, content },
        FileType::Symlink => {
            let path = root.join(path.as_path());
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

/// Writes down what was learned, unless it was all known.
fn remember(
    (store, name): (&Store, &str),
    entries: &Entries,
    (digests, read_at): (&[Option<Digested>], Timestamp),
    cache: StatCache,
) {
    let learned = entries.iter().zip(digests).filter_map(|((path, facts), digested)| {
        let Digested { content, xattrs, .. } = digested.as_ref().filter(|it| it.is_new)?;
        let fingerprint = facts.fingerprint();
        let known = Known { fingerprint, content: *content, xattrs: xattrs.clone() };
        fingerprint.is_settled(read_at).then_some((path, known))
    });
    let mut learned = learned.peekable();
    if learned.peek().is_some() {
        // Files that are gone would make the record grow for ever; those merely not walked this time stay.
        let crowded = cache.iter().count() > 2 * entries.len() + 1024;
        let walked = |path: &TreePath| entries.binary_search_by(|(it, _)| it.cmp(path)).is_ok();
        cache.with(learned, |path| !crowded || walked(path)).save(store, name);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;
    use crate::source::context::LocalContext;

    fn context(root: &Path, ignore: &str, paths: &[&str]) -> LocalContext {
        let ignore = Some((root.join(".dockerignore"), ignore.as_bytes().to_vec()));
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        LocalContext { root: root.to_owned(), ignore, paths }
    }

    fn names(context: &LocalContext, store: &Store) -> Vec<String> {
        let tree = context.load(store, &Cancel::new()).unwrap();
        tree.walk(&TreePath::root()).map(|(path, _)| path.to_string()).collect()
    }

    /// Waits until a change would show in the times of files.
    fn settle() {
        std::thread::sleep(std::time::Duration::from_millis(30));
    }

    #[test]
    fn directories_come_with_what_is_taken_back_in_them() {
        let top = tempfile::tempdir().unwrap();
        let (root, store) = (top.path().join("c"), Store::open(&top.path().join("s")).unwrap());
        fs::create_dir_all(root.join("out/deep/kept")).unwrap();
        fs::create_dir_all(root.join("out/gone")).unwrap();
        for file in ["out/deep/kept/file", "out/deep/other", "out/gone/x", "y"] {
            fs::write(root.join(file), file).unwrap();
        }
        let ignore = "out\n!out/deep/kept/file\n";
        let kept = ["/", "/out", "/out/deep", "/out/deep/kept", "/out/deep/kept/file"];
        let all = context(&root, ignore, &["/"]);
        assert_eq!(names(&all, &store), [&kept[..], &["/y"]].concat());
        assert_eq!(names(&context(&root, ignore, &["/out"]), &store), kept);
        assert_eq!(names(&context(&root, ignore, &["/out/deep/kept", "/y"]), &store).len(), 6);
        assert_eq!(names(&context(&root, "*\n", &["/"]), &store), ["/"]);
    }

    #[test]
    fn a_large_context_is_what_a_small_one_is() {
        let top = tempfile::tempdir().unwrap();
        let (root, store) = (top.path().join("c"), Store::open(&top.path().join("s")).unwrap());
        let mut expected = vec!["/".to_owned()];
        for directory in 0..30 {
            fs::create_dir_all(root.join(format!("d{directory:02}/e"))).unwrap();
            expected.push(format!("/d{directory:02}"));
            expected.push(format!("/d{directory:02}/e"));
            for file in 0..40 {
                let name = format!("d{directory:02}/e/f{file:02}");
                fs::write(root.join(&name), &name).unwrap();
                expected.push(format!("/{name}"));
            }
        }
        let context = context(&root, "", &["/"]);
        assert_eq!(names(&context, &store), expected);
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(matches!(context.list(&cancel), Err(SourceError::Canceled)));
    }

    #[test]
    fn what_is_known_holds_until_something_changes() {
        let top = tempfile::tempdir().unwrap();
        let (root, store) = (top.path().join("c"), Store::open(&top.path().join("s")).unwrap());
        fs::create_dir_all(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "one").unwrap();
        std::os::unix::fs::symlink("f", root.join("d/l")).unwrap();
        let context = context(&root, "", &["/"]);
        let (how, cancel) = (ContentDigest::of(b"how"), Cancel::new());
        // Returns whether the tree was looked at.
        let looked = || {
            let (listed, looked) = (context.list(&cancel).unwrap(), Cell::new(false));
            let find = |tree: &Tree| {
                looked.set(true);
                Ok::<_, SourceError>(tree.identity(&TreePath::root()).unwrap())
            };
            let found = listed.selection(how, &store, &cancel, find).unwrap();
            let tree = listed.tree(&store, &cancel).unwrap();
            assert_eq!(Some(found), tree.identity(&TreePath::root()), "it is the tree's");
            listed.remember(&store);
            looked.get()
        };
        settle();
        assert!(looked() && !looked() && !looked());
        let changes: [&dyn Fn(); 6] = [
            &|| fs::write(root.join("d/f"), "two").unwrap(),
            &|| fs::write(root.join("d/g"), "new").unwrap(),
            &|| fs::remove_file(root.join("d/g")).unwrap(),
            &|| fs::rename(root.join("d"), root.join("e")).unwrap(),
            &|| {
                fs::remove_file(root.join("e/l")).unwrap();
                std::os::unix::fs::symlink("g", root.join("e/l")).unwrap();
            },
            &|| {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(root.join("e"), fs::Permissions::from_mode(0o700)).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            change();
            settle();
            assert!(looked(), "change {number}");
            assert!(!looked(), "after change {number}");
        }
        // What was changed a moment ago may be changed again without a trace.
        fs::write(root.join("e/f"), "now").unwrap();
        let first = looked();
        fs::write(root.join("e/f"), "not").unwrap();
        assert!(first && looked());
    }
}
