//! The files of a local context: walked, filtered by its ignore file, and known by content.
//!
//! Only what the build names is walked. Ignored directories are not entered. Files that are as they were when they
//! were last read are not read again, and if all are, what instructions take of them is known without a tree. Owners become 0:0, so that checkouts of different users are the same.

mod listed;
mod selections;
mod stat_cache;
mod walk;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use listed::Listed;
pub use selections::reads_selections;
pub use stat_cache::reads_context;
use walk::Listing;

use super::SourceError;
use crate::dockerignore::Matcher;
use crate::event::Cancel;
use crate::fs;
use crate::layer::{Tree, TreePath};
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
    /// Lists the files, and reads none.
    pub fn list(&self, cancel: &Cancel) -> Result<Listed, SourceError> {
        let matcher = self.matcher()?;
        let list = |wanted: &[TreePath]| walk::list(&self.root, matcher.as_ref(), wanted, cancel);
        let mut listing = list(&self.wanted())?;
        if self.takes_a_link(&listing) {
            listing = list(&[TreePath::root()])?;
        }
        Ok(Listed::new(self.clone(), listing))
    }

    /// Reads the files, most of them only by their times.
    pub fn load(&self, store: &Store, cancel: &Cancel) -> Result<Tree, SourceError> {
        self.list(cancel)?.tree(store, cancel)
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
    fn takes_a_link(&self, listing: &Listing) -> bool {
        let patterns = || self.paths.iter().map(|path| path.trim_start_matches('/'));
        let mut links = listing.links();
        links.any(|link| {
            let name = String::from_utf8_lossy(link.as_bytes());
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
