//! How one tree differs from another, whatever lies between them: squash, diff, whole file systems.
//!
//! Costs what differs: parts that the trees share are not looked at. A file with several names is put with all of
//! them as soon as one of them differs, since a layer cannot link into another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::edit::drop_touched;
use super::parents::include_parents;
use super::{Change, Changes, Kind, LinkGroup, Node, Tree, TreePath};

impl Tree {
    /// Returns the changes that make this tree of `base`. The root directory itself is not compared, and that a
    /// directory has another time is no change unless something beneath it changes.
    pub fn changes_since(&self, base: &Tree) -> Changes {
        let mut comparison = Comparison::default();
        comparison.children(&TreePath::root(), Some(base.root()), self.root());
        comparison.touch_relinked(base, self);
        let mut changes = comparison.changes(self);
        drop_touched(&mut changes, base);
        include_parents(&mut changes, self);
        changes
    }
}

#[derive(Default)]
struct Comparison<'a> {
    removed: Vec<TreePath>,
    put: Vec<(TreePath, &'a Node)>,
    touched: HashSet<LinkGroup>,
    /// What the names of files share that look alike in both trees but were linked anew.
    relinked: HashSet<(LinkGroup, LinkGroup)>,
}

impl<'a> Comparison<'a> {
    fn children(&mut self, at: &TreePath, old: Option<&Node>, new: &'a Node) {
        let old = old.and_then(Node::children);
        let new = new.children();
        for name in old.into_iter().flatten().map(|(name, _)| name) {
            if !new.is_some_and(|children| children.contains_key(name)) {
                self.removed.extend(at.join(name));
            }
        }
        for (name, child) in new.into_iter().flatten() {
            let before = old.and_then(|children| children.get(name));
            if before.is_some_and(|before| Arc::ptr_eq(before, child)) {
                continue;
            }
            if let Some(path) = at.join(name) {
                self.node(path, before.map(Arc::as_ref), child);
            }
        }
    }

    fn node(&mut self, path: TreePath, old: Option<&Node>, new: &'a Node) {
        let same = old.is_some_and(|old| {
            let first = |node: &Node| node.group().map(|group| group.first().clone());
            old.kind() == new.kind() && old.meta() == new.meta() && first(old) == first(new)
        });
        if !same {
            self.put.push((path.clone(), new));
            self.touched.extend(new.group().cloned());
        } else if let Some((old, new)) = old.and_then(Node::group).zip(new.group())
            && old != new
        {
            self.relinked.insert((old.clone(), new.clone()));
        }
        if new.is_directory() {
            self.children(&path, old.filter(|old| old.is_directory()), new);
        }
    }

    /// Files that were linked anew are put unless they have the very names that they had.
    fn touch_relinked(&mut self, base: &Tree, tree: &Tree) {
        if self.relinked.is_empty() {
            return;
        }
        let (before, after) = (base.link_names(), tree.link_names());
        let differ = |(old, new): &&(LinkGroup, LinkGroup)| before.get(old) != after.get(new);
        self.touched.extend(self.relinked.iter().filter(differ).map(|(_, new)| new.clone()));
    }

    fn changes(mut self, tree: &'a Tree) -> Changes {
        if !self.touched.is_empty() {
            let known: HashSet<TreePath> = self.put.iter().map(|(path, _)| path.clone()).collect();
            let others = tree.walk(&TreePath::root()).filter(|(path, node)| {
                node.group().is_some_and(|group| self.touched.contains(group))
                    && !known.contains(path)
            });
            self.put.extend(others.collect::<Vec<_>>());
        }
        self.put.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut changes = Changes::new();
        let mut firsts: HashMap<&LinkGroup, TreePath> = HashMap::new();
        for (path, node) in &self.put {
            let first =
                node.group().map(|group| firsts.entry(group).or_insert_with(|| path.clone()));
            let kind = match first {
                Some(first) if first != path => Kind::Hardlink { to: first.clone() },
                Some(_) | None => node.kind(),
            };
            changes.put(path.clone(), kind, node.meta().clone());
        }
        changes.extend(self.removed.into_iter().map(|path| (path, Change::Remove)));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edit, Metadata};
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    #[test]
    fn what_was_linked_anew_is_not_taken_for_what_it_was() {
        let file = Kind::Symlink { target: b"x".to_vec() };
        let both = |other: &str| {
            let mut changes = Changes::new();
            changes.put(path("a"), file.clone(), Metadata::default());
            changes.put(path(other), Kind::Hardlink { to: path("a") }, Metadata::default());
            changes
        };
        let apply = |tree: &Tree, changes: &Changes| {
            tree.apply(changes, &super::super::Nowhere::shared()).unwrap()
        };
        let base = apply(&Tree::empty(), &both("b"));
        assert!(apply(&base, &both("b")).changes_since(&base).is_empty());
        // `a` becomes another file, linked with `c` for a while, and `b` stays what it was.
        let mut removal = Changes::new();
        removal.insert(path("c"), Change::Remove);
        let tree = apply(&apply(&base, &both("c")), &removal);
        let changes = tree.changes_since(&base);
        assert_eq!(changes.iter().map(|(path, _)| path.to_string()).collect::<Vec<_>>(), ["/a"]);
        let names = apply(&base, &changes).link_names();
        assert_eq!(names.into_values().collect::<Vec<_>>(), [[path("b")]]);
    }

    #[test]
    fn changes_since_make_the_tree() {
        let meta = |mode| Metadata { mode, ..Metadata::default() };
        let mut edit = Edit::new(Tree::empty());
        for name in ["a/b", "a/c", "d"] {
            edit.mkdir_all(&path(name), &meta(0o755)).unwrap();
        }
        let (base, _) = edit.finish();
        let mut edit = Edit::new(base.clone());
        edit.remove(&path("a/b")).unwrap();
        edit.set_metadata(&path("d"), &meta(0o700)).unwrap();
        edit.mkdir_all(&path("e/f"), &meta(0o711)).unwrap();
        let (tree, expected) = edit.finish();
        let changes = tree.changes_since(&base);
        assert_eq!(changes, expected);
        let again = base.apply(&changes, &super::super::Nowhere::shared()).unwrap();
        assert_eq!(again.identity(&TreePath::root()), tree.identity(&TreePath::root()));
        assert!(tree.changes_since(&tree).is_empty());
    }
}
