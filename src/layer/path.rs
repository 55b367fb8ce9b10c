//! `TreePath`: a path beneath the root of some tree, whatever it came from.
//!
//! Invariant: relative, normalised, and harmless: components are separated by one `/`, none is empty, `.`, `..`
//! or contains NUL; the root is the empty path. Bytes, because names on Linux are bytes. Ordering is by
//! component, so a directory is followed at once by everything in it.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A normalised path beneath a root.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TreePath(Vec<u8>);

impl TreePath {
    /// The root itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Normalises any path as if it were absolute: `.` vanishes, `..` goes up but never above the root, as
    /// `path.Clean("/" + path)` has it. `None` if it contains NUL.
    pub fn clean(path: impl AsRef<[u8]>) -> Option<Self> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.as_ref().split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                _ if part.contains(&0) => return None,
                _ => parts.push(part),
            }
        }
        Some(Self(parts.join(&b'/')))
    }

    /// Takes bytes that must be a path already normalised; `None` if they are not.
    pub fn from_normalised(bytes: Vec<u8>) -> Option<Self> {
        let harmless = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        let normalised = bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(harmless);
        normalised.then_some(Self(bytes))
    }

    /// Returns the path with one more component; `None` if `name` is not a single harmless component.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Option<Self> {
        let name = name.as_ref();
        let harmless = !matches!(name, b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, b'/' | 0));
        harmless.then(|| {
            let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
            path.extend_from_slice(&self.0);
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            Self(path)
        })
    }

    /// Returns `self` followed by all of `below`.
    #[must_use]
    pub fn append(&self, below: &TreePath) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self([self.as_bytes(), below.as_bytes()].join(&b'/')),
        }
    }

    /// Returns whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..cut].to_vec()))
    }

    /// Returns whether this is the path of something in a directory, and not deeper.
    pub fn is_in(&self, directory: &TreePath) -> bool {
        let cut = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        !self.is_root() && self.0[..cut] == directory.0
    }

    /// Returns the last component; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.components().next_back()
    }

    /// Returns the components from the root down.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// Returns whether `self` is `ancestor` or lies beneath it.
    pub fn starts_with(&self, ancestor: &TreePath) -> bool {
        ancestor.is_root()
            || self
                .0
                .strip_prefix(ancestor.as_bytes())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }

    /// Returns the part of `self` beneath `ancestor`; `None` if it does not lie there.
    pub fn strip_prefix(&self, ancestor: &TreePath) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(ancestor.as_bytes())? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }

    /// Compares the bytes of two paths.
    pub(super) fn compare(one: &[u8], other: &[u8]) -> Ordering {
        // A slash sorts before every other byte of a name (NUL cannot occur), which orders by component.
        let rank = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        let differ = one.iter().zip(other).find(|(a, b)| a != b);
        differ.map_or_else(|| one.len().cmp(&other.len()), |(a, b)| rank(a).cmp(&rank(b)))
    }

    /// Returns the bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path for use beneath a directory that is known to be the tree's root.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        Self::compare(&self.0, &other.0)
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    #[test]
    fn clean_never_leaves_the_root() {
        assert_eq!(path("/../../etc/./passwd/").as_bytes(), b"etc/passwd");
        assert!(path("a/..").is_root());
        assert!(TreePath::clean(b"a\0b").is_none());
    }

    #[test]
    fn a_directory_is_followed_by_its_content() {
        let mut paths = [path("a-b"), path("a/z"), path("a"), path("b")];
        paths.sort();
        assert_eq!(paths.map(|p| p.to_string()), ["/a", "/a/z", "/a-b", "/b"]);
    }

    #[test]
    fn prefixes_end_at_components() {
        assert!(!path("ab/c").starts_with(&path("a")));
        assert_eq!(path("a/b/c").strip_prefix(&path("a")), Some(path("b/c")));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(path("a").join("../x"), None);
        assert!(path("a/b").is_in(&path("a")) && path("a").is_in(&path("")));
        assert!(!path("ab/c").is_in(&path("a")) && !path("a/b/c").is_in(&path("a")));
        assert!(!path("").is_in(&path("")) && !path("a/b").is_in(&path("")));
    }
}
