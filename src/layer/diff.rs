//! What a step did, from the records of its overlay upper directory.
//!
//! The rules are BuildKit's: what was merely copied up is dropped, a whiteout of nothing is dropped, an opaque
//! directory becomes the removal of what the base had in it. Nothing is read from disk; the snapshot that has the
//! directory walks it and hashes its files.

use std::collections::{HashMap, HashSet};

use super::edit::drop_touched;
use super::node::Node;
use super::parents::include_parents;
use super::{Change, Changes, Kind, Metadata, Tree, TreePath};

/// Names of one inode of the upper directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inode {
    /// The device it is on.
    pub device: u64,
    /// Its number there.
    pub number: u64,
}

/// One thing found in an overlay upper directory.
#[derive(Debug, Clone)]
pub enum Found {
    /// A whiteout: a character device 0:0, or an empty file that overlayfs marked as one.
    Whiteout,
    /// A directory.
    Directory {
        /// With which metadata.
        meta: Metadata,
        /// Whether the base shows through.
        opacity: Opacity,
    },
    /// Anything else.
    Other {
        /// What it is, a regular file already hashed; never a directory or a hard link.
        kind: Kind,
        /// With which metadata.
        meta: Metadata,
        /// The inode, if it has more than one name.
        inode: Option<Inode>,
    },
}

/// Whether the base shows through a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opacity {
    /// It does.
    Merged,
    /// It does not.
    Opaque,
}

/// Returns how `upper` changes `base`. The records come in any order, the root directory's is optional.
pub fn diff_upper(base: &Tree, mut upper: Vec<(TreePath, Found)>) -> Changes {
    upper.sort_by(|(a, _), (b, _)| a.cmp(b));
    upper.iter_mut().for_each(|(_, found)| tidy(found));
    let changed_inodes = changed_inodes(base, &upper);
    let hides = |found: &Found| matches!(found, Found::Directory { opacity: Opacity::Opaque, .. });
    let present: HashSet<TreePath> = match upper.iter().any(|(_, found)| hides(found)) {
        true => upper.iter().map(|(path, _)| path.clone()).collect(),
        false => HashSet::new(),
    };
    let mut changes: Vec<(TreePath, Change)> = Vec::new();
    let mut firsts: HashMap<Inode, TreePath> = HashMap::new();
    let mut opaque: Option<TreePath> = None;
    for (path, found) in upper {
        let old = base.get(&path);
        match found {
            Found::Whiteout => {
                if old.is_some() {
                    changes.push((path, Change::Remove));
                }
            }
            Found::Directory { meta, opacity } => {
                // What is made in an opaque directory is opaque without being marked.
                if opaque.as_ref().is_none_or(|top| !path.starts_with(top)) {
                    opaque = (opacity == Opacity::Opaque).then(|| path.clone());
                }
                let missing = |child: &TreePath| !present.contains(child);
                if opaque.is_some() {
                    remove_children(old, &path, missing, &mut changes);
                }
                if !old.is_some_and(|old| old.is_directory() && *old.meta() == meta) {
                    changes.push((path, Change::Put { kind: Kind::Directory, meta }));
                }
            }
            Found::Other { kind, meta, inode } => {
                let linked = inode.filter(|inode| changed_inodes.contains(inode));
                if linked.is_none() && is_unchanged(old, &kind, &meta) {
                    continue;
                }
                let first = linked.map(|inode| firsts.entry(inode).or_insert_with(|| path.clone()));
                let kind = match first {
                    Some(first) if *first != path => Kind::Hardlink { to: first.clone() },
                    Some(_) | None => kind,
                };
                changes.push((path, Change::Put { kind, meta }));
            }
        }
    }
    let mut changes = Changes::from_sorted(changes);
    drop_touched(&mut changes, base);
    // A directory that is not among the changes is as the base has it.
    include_parents(&mut changes, base);
    changes
}

/// Names of an inode stand or fall together: they all stay out only if all are as the base has them, linked.
fn changed_inodes(base: &Tree, upper: &[(TreePath, Found)]) -> HashSet<Inode> {
    let mut names: HashMap<Inode, Vec<(&TreePath, bool)>> = HashMap::new();
    for (path, found) in upper {
        if let Found::Other { kind, meta, inode: Some(inode) } = found {
            let unchanged = is_unchanged(base.get(path), kind, meta);
            names.entry(*inode).or_default().push((path, unchanged));
        }
    }
    let changed = |names: &[(&TreePath, bool)]| {
        let group = |path: &TreePath| base.get(path).and_then(Node::group);
        let first = names.first().and_then(|(path, _)| group(path));
        let same = |path: &TreePath| first.is_some() && group(path) == first;
        names.iter().any(|(path, unchanged)| !unchanged || names.len() > 1 && !same(path))
    };
    names.into_iter().filter(|(_, names)| changed(names)).map(|(inode, _)| inode).collect()
}

fn is_unchanged(old: Option<&Node>, kind: &Kind, meta: &Metadata) -> bool {
    old.is_some_and(|old| old.kind() == *kind && old.meta() == meta)
}

fn remove_children(
    old: Option<&Node>,
    path: &TreePath,
    missing: impl Fn(&TreePath) -> bool,
    changes: &mut Vec<(TreePath, Change)>,
) {
    let names = old.and_then(Node::children).into_iter().flatten();
    for child in names.filter_map(|(name, _)| path.join(name)).filter(|child| missing(child)) {
        changes.push((child, Change::Remove));
    }
}

/// Drops what overlayfs added, and the ties between symbolic links, which are as good as two links.
fn tidy(found: &mut Found) {
    if let Found::Other { kind: Kind::Symlink { .. }, inode, .. } = found {
        *inode = None;
    }
    if let Found::Directory { meta, .. } | Found::Other { meta, .. } = found {
        meta.xattrs.retain(|name, _| !is_internal_xattr(name));
    }
}

/// Returns whether an attribute is overlayfs's or kiln's own, which neither a layer nor an image may have a say in.
pub(super) fn is_internal_xattr(name: &[u8]) -> bool {
    is_overlay_xattr(name) || name == crate::ownership::ATTRIBUTE.as_bytes()
}

/// Returns whether an attribute is overlayfs's own.
pub fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;
    use crate::layer::Nowhere;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn meta(mtime: i64) -> Metadata {
        let mut meta = Metadata { mode: 0o755, ..Metadata::default() };
        meta.mtime.seconds = mtime;
        meta
    }

    fn kind(text: &str) -> Kind {
        Kind::File { size: 1, content: ContentDigest::of(text.as_bytes()) }
    }

    fn file(text: &str, mtime: i64, inode: Option<u64>) -> Found {
        let inode = inode.map(|number| Inode { device: 1, number });
        Found::Other { kind: kind(text), meta: meta(mtime), inode }
    }

    fn dir(mtime: i64, opacity: Opacity) -> Found {
        Found::Directory { meta: meta(mtime), opacity }
    }

    fn base() -> Tree {
        let mut changes = Changes::new();
        for name in ["d", "d/sub", "e"] {
            changes.put(path(name), Kind::Directory, meta(1));
        }
        for name in ["d/a", "d/b", "d/sub/c", "e/f"] {
            changes.put(path(name), kind(name), meta(1));
        }
        changes.put(path("e/g"), Kind::Hardlink { to: path("e/f") }, meta(1));
        Tree::empty().apply(&changes, &Nowhere::shared()).unwrap()
    }

    fn diff(upper: Vec<(&str, Found)>) -> Vec<String> {
        let upper = upper.into_iter().map(|(name, found)| (path(name), found)).collect();
        let mark = |change: &Change| match change {
            Change::Put { kind: Kind::Directory, .. } => "D".to_owned(),
            Change::Put { kind: Kind::Hardlink { to }, .. } => format!("H{to}"),
            Change::Put { .. } => "F".to_owned(),
            Change::Remove => "-".to_owned(),
            Change::Clear { .. } => "C".to_owned(),
        };
        let changes = diff_upper(&base(), upper);
        changes.iter().map(|(path, change)| format!("{} {path}", mark(change))).collect()
    }

    #[test]
    fn what_was_only_copied_up_is_dropped() {
        let upper = vec![
            ("d", dir(1, Opacity::Merged)),
            ("d/a", file("d/a", 1, None)),
            ("e", dir(1, Opacity::Merged)),
        ];
        assert!(diff(upper).is_empty());
        let upper = vec![
            ("d", dir(1, Opacity::Merged)),
            ("d/a", file("d/a", 2, None)),
            ("d/b", file("new", 1, None)),
        ];
        assert_eq!(diff(upper), ["D /d", "F /d/a", "F /d/b"]);
    }

    #[test]
    fn a_directory_that_was_only_touched_is_dropped() {
        assert!(diff(vec![("d", dir(2, Opacity::Merged))]).is_empty());
        let upper = vec![("d", dir(2, Opacity::Merged)), ("d/sub", dir(2, Opacity::Merged))];
        assert!(diff(upper).is_empty());
        let upper = vec![
            ("d", dir(2, Opacity::Merged)),
            ("d/sub", dir(2, Opacity::Merged)),
            ("d/sub/c", Found::Whiteout),
            ("e", dir(2, Opacity::Merged)),
        ];
        assert_eq!(diff(upper), ["D /d", "D /d/sub", "- /d/sub/c"]);
        let mut closed = meta(2);
        closed.mode = 0o700;
        let upper = Found::Directory { meta: closed, opacity: Opacity::Merged };
        assert_eq!(diff(vec![("d", upper)]), ["D /d"]);
    }

    #[test]
    fn whiteouts_count_where_something_was() {
        let upper = vec![
            ("d", dir(1, Opacity::Merged)),
            ("d/a", Found::Whiteout),
            ("d/never", Found::Whiteout),
            ("e", Found::Whiteout),
        ];
        assert_eq!(diff(upper), ["D /d", "- /d/a", "- /e"]);
    }

    #[test]
    fn an_opaque_directory_names_what_it_hides() {
        let upper = vec![
            ("d", dir(1, Opacity::Opaque)),
            ("d/b", file("d/b", 1, None)),
            ("d/sub", dir(1, Opacity::Merged)),
            ("d/sub/new", file("n", 1, None)),
            ("new", dir(1, Opacity::Opaque)),
        ];
        let expected = ["D /d", "- /d/a", "D /d/sub", "- /d/sub/c", "F /d/sub/new", "D /new"];
        assert_eq!(diff(upper), expected);
        assert_eq!(diff(vec![("d", file("x", 1, None))]), ["F /d"]);
    }

    #[test]
    fn names_of_an_inode_stay_together() {
        let upper = vec![("d/a", file("d/a", 1, Some(9))), ("new", file("d/a", 1, Some(9)))];
        assert_eq!(diff(upper), ["D /d", "F /d/a", "H/d/a /new"]);
        let upper = vec![("e/f", file("e/f", 1, Some(9))), ("e/g", file("e/f", 1, Some(9)))];
        assert!(diff(upper).is_empty());
        let upper = vec![("d/a", file("d/a", 1, Some(9)))];
        assert!(diff(upper).is_empty());
    }

    #[test]
    fn marks_of_overlayfs_are_no_metadata() {
        let mut marked = meta(1);
        marked.xattrs.insert(b"trusted.overlay.origin".to_vec(), vec![1]);
        let upper = Found::Directory { meta: marked, opacity: Opacity::Merged };
        assert!(diff(vec![("d", upper)]).is_empty());
    }
}
