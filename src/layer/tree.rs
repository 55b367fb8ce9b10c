//! `Tree`: a file system in memory, without the contents.
//!
//! Invariant: persistent. A clone is one counter, a change copies only the directories on its way, and what two
//! trees have in common they share, identities included. Paths given to a tree are taken literally; only
//! [`Tree::resolve`] follows symbolic links, and never out of the root.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::error::{Result, misfit};
use super::node::{Children, Directory, LinkGroup, Node, NodeKind, Origin};
use super::{Change, Changes, Contents, Kind, Metadata, TreePath};
use crate::digest::ContentDigest;
use crate::fs::PathError;

/// No path is longer than what the kernel takes, which also bounds the depth of every tree.
pub(super) const LONGEST_PATH: usize = 4095;

/// After so many symbolic links a path is taken for a loop.
const MOST_LINKS: usize = 255;

/// What [`Tree::resolve`] does with a symbolic link in the last place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastLink {
    /// Goes where it points.
    Follow,
    /// Stays at the link itself.
    Keep,
}

/// A file system in memory.
#[derive(Clone)]
pub struct Tree {
    root: Arc<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.walk(&TreePath::root()).map(|(path, _)| path)).finish()
    }
}

impl Tree {
    /// Makes a tree of nothing but its root directory.
    pub fn empty() -> Self {
        Self { root: Arc::new(Node::directory(default_directory())) }
    }

    /// Returns the root directory.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Returns what is at a path, following no links.
    pub fn get(&self, path: &TreePath) -> Option<&Node> {
        self.shared(path).map(Arc::as_ref)
    }

    /// Returns what is at a path, following no links, to be put elsewhere too.
    pub fn shared(&self, path: &TreePath) -> Option<&Arc<Node>> {
        path.components().try_fold(&self.root, |node, name| node.children()?.get(name))
    }

    /// Returns the digest of everything at and beneath a path, see [`Node::identity`].
    pub fn identity(&self, path: &TreePath) -> Option<ContentDigest> {
        self.get(path).map(Node::identity)
    }

    /// Opens a regular file from its beginning, following no links.
    pub fn open(&self, path: &TreePath) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        let fail = PathError::of("open", path.as_path());
        match self.get(path).map(Node::body) {
            Some(NodeKind::File { origin, .. }) => origin.open(),
            Some(_) => Err(fail(io::ErrorKind::InvalidInput)),
            None => Err(fail(io::ErrorKind::NotFound)),
        }
    }

    /// Returns what is at and beneath a path, in order; nothing if nothing is there.
    pub fn walk(&self, top: &TreePath) -> Walk<'_> {
        let top = self.get(top).map(|node| (top.clone(), node));
        Walk { pending: top.into_iter().collect() }
    }

    /// Follows the symbolic links in a path, with this tree as the root of everything. Parts that do not exist
    /// stand as they are, so a dangling link leads to where its target would be.
    pub fn resolve(&self, path: &TreePath, last: LastLink) -> Result<TreePath> {
        let mut pending: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = TreePath::root();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                at = at.parent().unwrap_or_default();
                continue;
            }
            let next = at.join(&name).ok_or_else(|| misfit(path, "leads to an invalid name"))?;
            let keep = last == LastLink::Keep && pending.is_empty();
            match self.get(&next).map(Node::body) {
                Some(NodeKind::Symlink { target }) if !keep => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(misfit(path, "has too many levels of symbolic links"));
                    }
                    if target.starts_with(b"/") {
                        at = TreePath::root();
                    }
                    let parts = target.rsplit(|byte| *byte == b'/');
                    let parts = parts.filter(|part| !matches!(*part, b"" | b"."));
                    pending.extend(parts.map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        Ok(at)
    }

    /// Returns the tree with the files of some changes, which it has, read from `contents` from now on.
    pub fn read_from(mut self, changes: &Changes, contents: &Arc<dyn Contents>) -> Result<Self> {
        let mut last: Option<Origin> = None;
        for (path, change) in changes {
            let Change::Put { kind: Kind::File { .. } | Kind::Hardlink { .. }, .. } = change else {
                continue;
            };
            // A link is read as the file that it is another name of.
            let path_there = match change {
                Change::Put { kind: Kind::Hardlink { to }, .. } => to,
                _ => path,
            };
            let children = self.children_of_parent(path)?;
            let Some(node) = path.name().and_then(|name| children.get_mut(name)) else { continue };
            if let NodeKind::File { origin, .. } = &mut Node::changed(node).kind {
                let made = match &last {
                    Some(last) => last.beside(path_there, origin),
                    None => Origin::new(contents.clone(), path_there),
                };
                *origin = last.insert(made).clone();
            }
        }
        Ok(self)
    }

    /// Puts nodes into one directory, that of `path`, each as [`Tree::put`] does.
    pub(super) fn put_together(
        &mut self,
        path: &TreePath,
        nodes: impl Iterator<Item = (Arc<[u8]>, Arc<Node>)>,
    ) -> Result<()> {
        let children = self.children_of_parent(path)?;
        // Made at once it has no empty room: one that grows in order is half empty.
        if children.is_empty() {
            *children = nodes.collect();
            return Ok(());
        }
        for (name, node) in nodes {
            match children.get_mut(&name) {
                Some(old) => replace(old, node),
                None => drop(children.insert(name, node)),
            }
        }
        Ok(())
    }

    /// Puts a node at a path, replacing what is there; a directory over a directory keeps what is in it.
    pub(super) fn put(&mut self, path: &TreePath, node: Arc<Node>) -> Result<()> {
        let Some(name) = path.name() else {
            if !node.is_directory() {
                return Err(misfit(path, "cannot be anything but a directory"));
            }
            Node::changed(&mut self.root).meta = node.meta.clone();
            return Ok(());
        };
        let children = self.children_of_parent(path)?;
        match children.get_mut(name) {
            Some(old) => replace(old, node),
            None => drop(children.insert(node.named(name), node)),
        }
        Ok(())
    }

    /// Removes what is at a path and beneath it, and returns it. The root itself is only emptied.
    pub(super) fn remove(&mut self, path: &TreePath) -> Result<Option<Arc<Node>>> {
        let Some(old) = self.shared(path).cloned() else { return Ok(None) };
        match path.name() {
            None => self.root = Arc::new(Node::directory(old.meta.clone())),
            Some(name) => drop(self.children_of_parent(path)?.remove(name)),
        }
        Ok(Some(old))
    }

    /// Makes `path` another name of what is at `to`, in `group`.
    pub(super) fn link(&mut self, path: &TreePath, to: &TreePath, group: &LinkGroup) -> Result<()> {
        let (Some(name), Some(to_name)) = (path.name(), to.name()) else {
            return Err(misfit(path, "cannot be a hard link"));
        };
        match self.get(to) {
            None => return Err(misfit(path, "is a hard link to a file that is not there")),
            Some(node) if node.is_directory() => {
                return Err(misfit(path, "is a hard link to a directory"));
            }
            Some(_) => {}
        }
        let source = self.children_of_parent(to)?.get_mut(to_name);
        let source = source.ok_or_else(|| misfit(to, "is not there"))?;
        if source.group.as_ref() != Some(group) {
            Node::changed(source).group = Some(group.clone());
        }
        let source = source.clone();
        self.children_of_parent(path)?.insert(name.into(), source);
        Ok(())
    }

    /// Moves what is at a path to another group.
    pub(super) fn regroup(&mut self, path: &TreePath, group: &LinkGroup) {
        let name = path.name().unwrap_or_default();
        // What is at the path has a parent, so there is nothing to go wrong.
        let children = self.children_of_parent(path).ok();
        if let Some(node) = children.and_then(|children| children.get_mut(name)) {
            Node::changed(node).group = Some(group.clone());
        }
    }

    /// Returns every name of a group, in order.
    pub(super) fn names_of(&self, group: &LinkGroup) -> Vec<TreePath> {
        let names = self.walk(&TreePath::root()).filter(|(_, node)| node.group() == Some(group));
        names.map(|(path, _)| path).collect()
    }

    fn children_of_parent(&mut self, path: &TreePath) -> Result<&mut Children> {
        if path.as_bytes().len() > LONGEST_PATH {
            return Err(misfit(path, "is too long"));
        }
        let mut at = &mut self.root;
        let mut names = path.components();
        names.next_back();
        for name in names {
            let NodeKind::Directory(Directory { children, .. }) = &mut Node::changed(at).kind
            else {
                return Err(misfit(path, "lies beneath something that is no directory"));
            };
            if !children.contains_key(name) {
                children.insert(name.into(), Arc::new(Node::directory(default_directory())));
            }
            at = children.get_mut(name).expect("it was there or has just been put there");
        }
        match &mut Node::changed(at).kind {
            NodeKind::Directory(directory) => Ok(&mut directory.children),
            _ => Err(misfit(path, "lies beneath something that is no directory")),
        }
    }
}

fn replace(old: &mut Arc<Node>, node: Arc<Node>) {
    match old.is_directory() && node.is_directory() {
        true => Node::changed(old).meta = node.meta.clone(),
        false => *old = node,
    }
}

/// What a directory has that nobody described.
pub(super) fn default_directory() -> Metadata {
    Metadata { mode: 0o755, ..Metadata::default() }
}

/// What is at and beneath a path, in order; see [`Tree::walk`].
pub struct Walk<'a> {
    pending: Vec<(TreePath, &'a Node)>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (TreePath, &'a Node);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, node) = self.pending.pop()?;
        for (name, child) in node.children().into_iter().flatten().rev() {
            self.pending.extend(path.join(name).map(|path| (path, child.as_ref())));
        }
        Some((path, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Nowhere;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn file(text: &str) -> Kind {
        Kind::File { size: text.len() as u64, content: ContentDigest::of(text.as_bytes()) }
    }

    fn link(target: &str) -> Kind {
        Kind::Symlink { target: target.into() }
    }

    fn changes(puts: &[(&str, Kind)]) -> Changes {
        let meta = Metadata { mode: 0o755, ..Metadata::default() };
        let put = |kind: &Kind| Change::Put { kind: kind.clone(), meta: meta.clone() };
        puts.iter().map(|(name, kind)| (path(name), put(kind))).collect()
    }

    fn tree(puts: &[(&str, Kind)]) -> Tree {
        Tree::empty().apply(&changes(puts), &Nowhere::shared()).unwrap()
    }

    fn list(tree: &Tree) -> Vec<String> {
        tree.walk(&TreePath::root()).map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn a_directory_over_a_directory_keeps_what_is_in_it() {
        let base = tree(&[("a/b", file("1")), ("a/c", file("2"))]);
        let upper = changes(&[("a", Kind::Directory), ("a/d", file("3"))]);
        let merged = base.apply(&upper, &Nowhere::shared()).unwrap();
        assert_eq!(list(&merged), ["/", "/a", "/a/b", "/a/c", "/a/d"]);
        assert_eq!(list(&base), ["/", "/a", "/a/b", "/a/c"]);
        let replaced = base.apply(&changes(&[("a", file("x"))]), &Nowhere::shared()).unwrap();
        assert_eq!(list(&replaced), ["/", "/a"]);
    }

    #[test]
    fn remove_and_clear() {
        let base = tree(&[("a/b", file("1")), ("c/d", file("2"))]);
        let mut upper = changes(&[("c/new", file("3"))]);
        upper.insert(path("a"), Change::Remove);
        upper.insert(path("absent/x"), Change::Remove);
        upper.insert(path("c"), Change::Clear { meta: Metadata::default() });
        let merged = base.apply(&upper, &Nowhere::shared()).unwrap();
        assert_eq!(list(&merged), ["/", "/c", "/c/new"]);
    }

    #[test]
    fn a_file_is_no_parent() {
        let error = tree(&[("a", file(""))])
            .apply(&changes(&[("a/b/c", file(""))]), &Nowhere::shared())
            .unwrap_err();
        assert_eq!(error.to_string(), "`/a/b/c` lies beneath something that is no directory");
        let deep = vec!["a"; 3000].join("/");
        let error =
            Tree::empty().apply(&changes(&[(&deep, file(""))]), &Nowhere::shared()).unwrap_err();
        assert!(error.to_string().ends_with("is too long"), "{error}");
    }

    #[test]
    fn the_deepest_tree_needs_no_deep_stack() {
        let path = vec!["a"; LONGEST_PATH / 2].join("/");
        let work = move || {
            let one = tree(&[(&path, file("1"))]);
            let other = tree(&[(&path, file("2"))]);
            assert_ne!(one.root().identity(), other.root().identity());
            assert_eq!(one.walk(&TreePath::root()).count(), LONGEST_PATH / 2 + 1);
        };
        let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(work);
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn hard_links_share_a_group() {
        let to = path("b");
        let both = tree(&[("a", Kind::Hardlink { to: to.clone() }), ("b", file("x"))]);
        let group = both.get(&path("a")).unwrap().group().unwrap();
        assert_eq!(both.get(&to).unwrap().group(), Some(group));
        assert_eq!(group.first(), &to);
        let twice = tree(&[("a", file("x")), ("b", file("x"))]);
        assert_ne!(both.root().identity(), twice.root().identity());
        let lost = changes(&[("a", Kind::Hardlink { to })]);
        let error = Tree::empty().apply(&lost, &Nowhere::shared()).unwrap_err();
        assert_eq!(error.to_string(), "`/a` is a hard link to a file that is not there");
    }

    #[test]
    fn links_are_followed_beneath_the_root() {
        let tree = tree(&[
            ("usr/lib/x", file("")),
            ("lib", link("usr/lib")),
            ("up", link("../../usr/./lib/")),
            ("abs", link("/lib/../bin")),
            ("loop", link("loop")),
            ("usr/back", link("..")),
            ("dangling", link("no/such")),
        ]);
        let resolve = |text: &str| tree.resolve(&path(text), LastLink::Follow).unwrap().to_string();
        assert_eq!(resolve("lib/x"), "/usr/lib/x");
        assert_eq!(resolve("up/x"), "/usr/lib/x");
        assert_eq!(resolve("abs/sh"), "/usr/bin/sh");
        assert_eq!(resolve("usr/back/lib"), "/usr/lib");
        assert_eq!(resolve("dangling/deeper"), "/no/such/deeper");
        assert_eq!(tree.resolve(&path("up/../lib"), LastLink::Keep).unwrap(), path("lib"));
        let error = tree.resolve(&path("loop/x"), LastLink::Follow).unwrap_err();
        assert_eq!(error.to_string(), "`/loop/x` has too many levels of symbolic links");
    }

    #[test]
    fn identity_ignores_times_and_order_of_work() {
        let one = tree(&[("a/b", file("1")), ("c", file("2"))]);
        let two = tree(&[("c", file("old")), ("a/b", file("1"))]);
        let two = two.apply(&changes(&[("c", file("2"))]), &Nowhere::shared()).unwrap();
        assert_eq!(one.root().identity(), two.root().identity());
        let mut touched = Changes::new();
        let mut meta = one.get(&path("c")).unwrap().meta().clone();
        meta.mtime.seconds = 5;
        touched.put(path("c"), file("2"), meta.clone());
        let later = one.apply(&touched, &Nowhere::shared()).unwrap();
        assert_eq!(later.root().identity(), one.root().identity());
        meta.mode = 0o700;
        touched.put(path("c"), file("2"), meta);
        let other = one.apply(&touched, &Nowhere::shared()).unwrap();
        assert_ne!(other.root().identity(), one.root().identity());
        assert_eq!(other.identity(&path("a")), one.identity(&path("a")));
    }
}
