//! `Edit`: a tree being changed, and what has been touched so far.
//!
//! Invariant: applying the changes that [`Edit::finish`] returns to the base gives the tree it returns. Every
//! directory above a change is among them with its metadata, as containerd's `includeParents` has it, so that a
//! layer stands alone. Paths are literal; whoever edits resolves links first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::error::{Result, misfit};
use super::node::{LinkGroup, Node, NodeKind};
use super::parents::include_parents;
use super::tree::default_directory;
use super::{Change, Changes, Kind, Metadata, Tree, TreePath};

/// For what an edit records, which decides how it says that lower layers' files are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// A step: every file that is gone is named.
    Step,
    /// A layer made elsewhere, over the layers below it: directories may be cleared.
    Layer,
    /// The same, but nobody knows what is below it.
    LoneLayer,
}

/// A tree being changed.
pub struct Edit {
    base: Tree,
    tree: Tree,
    touched: BTreeSet<TreePath>,
    /// Directories that were put with all that is in them.
    whole: Vec<TreePath>,
    /// Where a directory, or whatever a lower layer has, was lost with everything in it.
    emptied: BTreeSet<TreePath>,
    recording: Recording,
    /// The names of the base's hard-linked files, once they have been asked for.
    base_names: Option<HashMap<LinkGroup, Vec<TreePath>>>,
}

impl Edit {
    /// Starts from a tree.
    pub fn new(base: Tree) -> Self {
        Self::recording(base, Recording::Step)
    }

    pub(super) fn recording(base: Tree, recording: Recording) -> Self {
        let tree = base.clone();
        let (touched, emptied) = (BTreeSet::new(), BTreeSet::new());
        Self { base, tree, touched, whole: Vec::new(), emptied, recording, base_names: None }
    }

    /// Returns the tree as it is now.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Makes a directory and whichever parents are missing, all with `meta`; one that is there stays as it is.
    /// Returns those that were made.
    pub fn mkdir_all(&mut self, path: &TreePath, meta: &Metadata) -> Result<Vec<TreePath>> {
        let mut made = Vec::new();
        let mut at = TreePath::root();
        for name in path.components() {
            at = at.join(name).ok_or_else(|| misfit(path, "has an invalid name"))?;
            match self.tree.get(&at) {
                Some(node) if node.is_directory() => {}
                Some(_) => return Err(misfit(&at, "is not a directory")),
                None => {
                    self.put(&at, Node::directory(meta.clone()))?;
                    made.push(at.clone());
                }
            }
        }
        Ok(made)
    }

    /// Puts a node at a path, replacing what is there; a directory over a directory keeps what is in it. Missing
    /// parents become directories of root with mode 0755.
    pub fn put(&mut self, path: &TreePath, node: impl Into<Arc<Node>>) -> Result<()> {
        let node = node.into();
        if let Some(parent) = path.parent()
            && self.tree.get(&parent).is_none()
        {
            self.mkdir_all(&parent, &default_directory())?;
        }
        self.note_loss(path, node.is_directory());
        let node = match node.is_alone() {
            true => node,
            false => Arc::new(node.alone(node.meta().clone())),
        };
        self.tree.put(path, node)?;
        self.touched.insert(path.clone());
        Ok(())
    }

    /// Returns whether nothing is at a path and a directory is above it.
    pub fn has_room(&self, path: &TreePath) -> bool {
        let parent = path.parent().and_then(|parent| self.tree.get(&parent));
        self.tree.get(path).is_none() && parent.is_some_and(Node::is_directory)
    }

    /// Puts a directory of another tree with all that is in it where there is room. No file in it may have several names,
    /// which would be others here.
    pub fn put_whole(&mut self, path: &TreePath, node: Arc<Node>) -> Result<()> {
        self.tree.put(path, node)?;
        self.whole.push(path.clone());
        Ok(())
    }

    /// Removes a path with everything beneath it and returns whether there was anything.
    pub fn remove(&mut self, path: &TreePath) -> Result<bool> {
        self.note_loss(path, false);
        let removed = self.tree.remove(path)?.is_some();
        if removed {
            self.touched.insert(path.clone());
        }
        Ok(removed)
    }

    /// Makes `path` another name of the file at `to`; of a symbolic link, a second one like it.
    pub fn link(&mut self, path: &TreePath, to: &TreePath) -> Result<()> {
        if path == to {
            return Err(misfit(path, "is a hard link to itself"));
        }
        if let Some(node) = self.tree.get(to)
            && matches!(node.body(), NodeKind::Symlink { .. })
        {
            // A second name of a symbolic link is as good as a second link.
            let copy = node.alone(node.meta().clone());
            return self.put(path, copy);
        }
        let group = self.tree.get(to).and_then(Node::group).cloned();
        let group = match group {
            Some(group) => {
                self.touch_names(to, &group);
                group
            }
            None => LinkGroup::new(to.clone()),
        };
        if let Some(parent) = path.parent() {
            self.mkdir_all(&parent, &default_directory())?;
        }
        self.note_loss(path, false);
        self.tree.link(path, to, &group)?;
        self.touched.extend([path.clone(), to.clone()]);
        Ok(())
    }

    /// Gives a path, and all other names of the same file, new metadata.
    pub fn set_metadata(&mut self, path: &TreePath, meta: &Metadata) -> Result<()> {
        let node = self.tree.shared(path).ok_or_else(|| misfit(path, "does not exist"))?;
        if node.is_directory() {
            self.tree.put(path, Arc::new(Node::directory(meta.clone())))?;
            self.touched.insert(path.clone());
            return Ok(());
        }
        let (mut node, group) = (Arc::clone(node), node.group().cloned());
        Node::changed(&mut node).meta = meta.clone();
        let names = group.map_or_else(|| vec![path.clone()], |group| self.tree.names_of(&group));
        for name in names {
            self.tree.put(&name, Arc::clone(&node))?;
            self.touched.insert(name);
        }
        Ok(())
    }

    /// Gives all names of files with several names new metadata, in one pass over the tree.
    pub(super) fn describe_groups(&mut self, groups: &HashMap<LinkGroup, Metadata>) -> Result<()> {
        let described = |(path, node): (TreePath, &Node)| {
            let meta = groups.get(node.group()?)?;
            let mut node = Arc::new(node.clone());
            Node::changed(&mut node).meta = meta.clone();
            Some((path, node))
        };
        let walk = self.tree.walk(&TreePath::root());
        let described: Vec<_> = walk.filter_map(described).collect();
        for (path, node) in described {
            self.tree.put(&path, node)?;
            self.touched.insert(path);
        }
        Ok(())
    }

    /// Returns what lower layers have in a directory.
    pub(super) fn base_children(&self, directory: &TreePath) -> Vec<TreePath> {
        let children = self.base.get(directory).and_then(Node::children).into_iter().flatten();
        children.filter_map(|(name, _)| directory.join(name)).collect()
    }

    /// Returns whether this edit has put something at a path or beneath it that is still there.
    pub(super) fn has_put_beneath(&self, path: &TreePath) -> bool {
        let touched = self.touched.range(path..).take_while(|next| next.starts_with(path));
        touched.into_iter().any(|path| self.tree.get(path).is_some())
    }

    /// Records that a path is gone from the layers below, whether or not it is known to be there.
    pub(super) fn whiteout(&mut self, path: &TreePath) -> Result<()> {
        self.tree.remove(path)?;
        self.emptied.insert(path.clone());
        self.touched.insert(path.clone());
        Ok(())
    }

    /// Records that of a directory only what this edit put there remains.
    pub(super) fn clear(&mut self, path: &TreePath) -> Result<()> {
        if self.emptied.contains(path) {
            return Ok(());
        }
        let beneath: Vec<TreePath> = self.tree.walk(path).skip(1).map(|(path, _)| path).collect();
        for child in beneath.iter().rev() {
            if !self.has_put_beneath(child) {
                self.tree.remove(child)?;
            }
        }
        self.emptied.insert(path.clone());
        self.touched.insert(path.clone());
        Ok(())
    }

    /// Returns the tree and how it differs from the base.
    pub fn finish(mut self) -> (Tree, Changes) {
        let mut firsts: HashMap<LinkGroup, TreePath> = HashMap::new();
        let touched = std::mem::take(&mut self.touched).into_iter();
        let whole = std::mem::take(&mut self.whole);
        let mut change = |path: TreePath| Some((self.change_of(&path, &mut firsts)?, path));
        let in_whole = || whole.iter().flat_map(|top| self.tree.walk(top)).map(|(path, _)| path);
        // A list that grows would leave holes of its former sizes.
        let mut changed = Vec::with_capacity(touched.len() + in_whole().count());
        for (change, path) in touched.chain(in_whole()).filter_map(&mut change) {
            changed.push((path, change));
        }
        let mut changes = Changes::from_sorted(changed);
        if self.recording == Recording::Step {
            let mut lost = Vec::new();
            for path in &self.emptied {
                if let (Some(base), Some(now)) = (self.base.get(path), self.tree.get(path)) {
                    record_losses(path, (base, now), &mut lost);
                }
            }
            changes.extend(lost.into_iter().map(|path| (path, Change::Remove)));
            for path in drop_touched(&mut changes, &self.base) {
                let old = self.base.get(&path).map(|old| Node::directory(old.meta().clone()));
                drop(old.map(|old| self.tree.put(&path, Arc::new(old))));
            }
        }
        include_parents(&mut changes, &self.tree);
        self.name_groups(firsts, &changes);
        (self.tree, changes)
    }

    /// Names each group after its first name, as whoever applies the changes will, so that the identities agree.
    fn name_groups(&mut self, mut firsts: HashMap<LinkGroup, TreePath>, changes: &Changes) {
        firsts.retain(|group, first| group.first() != first);
        let named: HashMap<_, _> =
            firsts.into_iter().map(|(group, first)| (group, LinkGroup::new(first))).collect();
        if named.is_empty() {
            return;
        }
        for (path, _) in changes {
            let group = self.tree.get(path).and_then(Node::group);
            if let Some(group) = group.and_then(|group| named.get(group)) {
                self.tree.regroup(path, group);
            }
        }
    }

    fn change_of(
        &self,
        path: &TreePath,
        firsts: &mut HashMap<LinkGroup, TreePath>,
    ) -> Option<Change> {
        let known = self.recording != Recording::LoneLayer;
        let Some(node) = self.tree.get(path) else {
            // What lies beneath something that is itself gone, or is no directory any more, needs no mention.
            let parent = path.parent().and_then(|parent| self.tree.get(&parent));
            let gone =
                parent.is_some_and(Node::is_directory) && (!known || self.base.get(path).is_some());
            return gone.then_some(Change::Remove);
        };
        let meta = node.meta().clone();
        let cleared = self.recording != Recording::Step
            && node.is_directory()
            && self.emptied.contains(path)
            && (!known || self.base.get(path).is_some_and(Node::is_directory));
        if cleared {
            return Some(Change::Clear { meta });
        }
        let first = node.group().and_then(|group| {
            let first = firsts.entry(group.clone()).or_insert_with(|| path.clone());
            (first != path).then(|| first.clone())
        });
        let kind = first.map_or_else(|| node.kind(), |to| Kind::Hardlink { to });
        Some(Change::Put { kind, meta })
    }

    fn note_loss(&mut self, path: &TreePath, directory_follows: bool) {
        if !directory_follows && self.tree.get(path).is_some_and(Node::is_directory) {
            self.emptied.insert(path.clone());
        }
    }

    /// A link to one name of a file of the base takes all its names along: a layer cannot link into another.
    fn touch_names(&mut self, to: &TreePath, group: &LinkGroup) {
        if self.touched.contains(to) {
            return;
        }
        let base = &self.base;
        let names = self.base_names.get_or_insert_with(|| base.link_names());
        let still = |name: &&TreePath| {
            self.tree.get(name).and_then(Node::group).is_some_and(|other| other == group)
        };
        let names = names.get(group).into_iter().flatten();
        self.touched.extend(names.filter(still).cloned());
    }
}

/// Records what directories of the base have and their successors do not.
fn record_losses(path: &TreePath, (base, now): (&Node, &Node), lost: &mut Vec<TreePath>) {
    let (Some(before), Some(after)) = (base.children(), now.children()) else { return };
    for (name, old) in before {
        let Some(path) = path.join(name) else { continue };
        match after.get(name) {
            None => lost.push(path),
            Some(new) if Arc::ptr_eq(old, new) => {}
            Some(new) => record_losses(&path, (old, new), lost),
        }
    }
}

/// Drops the directories of which nothing but the time differs from `base`, unless something beneath them changes:
/// that they were touched is no change of a layer. Returns them.
pub(super) fn drop_touched(changes: &mut Changes, base: &Tree) -> Vec<TreePath> {
    let is_touched = |path: &TreePath, change: &Change| {
        let Change::Put { kind: Kind::Directory, meta } = change else { return false };
        base.get(path).is_some_and(|old| {
            let untouched = Metadata { mtime: old.meta().mtime, ..meta.clone() };
            old.is_directory() && *old.meta() == untouched
        })
    };
    let (mut touched, mut follows) = (Vec::new(), None::<&TreePath>);
    for (path, change) in changes.iter().rev() {
        match is_touched(path, change) && follows.is_none_or(|next| !next.starts_with(path)) {
            true => touched.push(path.clone()),
            false => follows = Some(path),
        }
    }
    touched.reverse();
    changes.retain(|path| touched.binary_search(path).is_err());
    touched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentDigest;
    use crate::layer::{Nowhere, Origin};

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn node(text: &str) -> Node {
        let kind = Kind::File { size: 1, content: ContentDigest::of(text.as_bytes()) };
        let origin = || Origin::new(Nowhere::shared(), &path(text));
        Node::of(&kind, Metadata::default(), origin).unwrap()
    }

    fn base(files: &[&str]) -> Tree {
        let mut edit = Edit::new(Tree::empty());
        for file in files {
            edit.put(&path(file), node(file)).unwrap();
        }
        edit.finish().0
    }

    /// Prints changes as `D /dir`, `F /file`, `H /link`, `- /removed`, and checks the invariant.
    fn finish(edit: Edit) -> Vec<String> {
        let base = edit.base.clone();
        let (tree, changes) = edit.finish();
        let again = base.apply(&changes, &Nowhere::shared()).unwrap();
        let list = |tree: &Tree| -> Vec<_> {
            let seen = tree.walk(&TreePath::root());
            seen.map(|(path, node)| (path, node.kind(), node.meta().clone())).collect()
        };
        assert_eq!(list(&again), list(&tree));
        let mark = |change: &Change| match change {
            Change::Put { kind: Kind::Directory, .. } => 'D',
            Change::Put { kind: Kind::Hardlink { .. }, .. } => 'H',
            Change::Put { .. } => 'F',
            Change::Remove => '-',
            Change::Clear { .. } => 'C',
        };
        changes.iter().map(|(path, change)| format!("{} {path}", mark(change))).collect()
    }

    #[test]
    fn parents_are_included_but_not_the_root() {
        let mut edit = Edit::new(base(&["a/b/c", "x/y"]));
        edit.put(&path("a/b/d"), node("d")).unwrap();
        assert_eq!(finish(edit), ["D /a", "D /a/b", "F /a/b/d"]);
    }

    #[test]
    fn a_directory_that_only_has_another_time_is_no_change() {
        let later = || {
            let mut meta = default_directory();
            meta.mtime.seconds = 9;
            meta
        };
        let tree = base(&["a/b/c", "x/y"]);
        let mut edit = Edit::new(tree.clone());
        edit.set_metadata(&path("a"), &later()).unwrap();
        edit.set_metadata(&path("a/b"), &later()).unwrap();
        let (now, changes) = edit.finish();
        assert!(changes.is_empty());
        let meta = |tree: &Tree| tree.get(&path("a/b")).map(|node| node.meta().clone());
        assert_eq!(meta(&now), meta(&tree));
        assert!(now.get(&path("a/b/c")).is_some());
        let mut edit = Edit::new(tree);
        edit.set_metadata(&path("a"), &later()).unwrap();
        edit.put(&path("a/b/d"), node("d")).unwrap();
        edit.set_metadata(&path("x"), &Metadata { mode: 0o700, ..later() }).unwrap();
        assert_eq!(finish(edit), ["D /a", "D /a/b", "F /a/b/d", "D /x"]);
    }

    #[test]
    fn a_whole_directory_can_still_be_changed() {
        let (from, mut edit) = (base(&["d/a", "d/e/b", "d/c"]), Edit::new(base(&["x/y"])));
        let whole = from.shared(&path("d")).unwrap();
        assert!(!edit.has_room(&path("x")) && edit.has_room(&path("x/d")));
        edit.put_whole(&path("x/d"), Arc::clone(whole)).unwrap();
        edit.put(&path("x/d/new"), node("n")).unwrap();
        edit.link(&path("x/link"), &path("x/d/a")).unwrap();
        assert!(edit.remove(&path("x/d/c")).unwrap());
        let expected = ["D /x", "D /x/d", "F /x/d/a", "D /x/d/e", "F /x/d/e/b", "F /x/d/new"];
        assert_eq!(finish(edit), [&expected[..], &["H /x/link"]].concat());
    }

    #[test]
    fn only_what_existed_is_removed() {
        let mut edit = Edit::new(base(&["a/b"]));
        edit.put(&path("a/new"), node("n")).unwrap();
        assert!(edit.remove(&path("a/new")).unwrap());
        assert!(!edit.remove(&path("none")).unwrap());
        assert!(edit.remove(&path("a/b")).unwrap());
        assert_eq!(finish(edit), ["D /a", "- /a/b"]);
    }

    #[test]
    fn a_directory_made_anew_loses_what_was_in_it() {
        let mut edit = Edit::new(base(&["d/x/1", "d/x/2", "d/y", "d/z"]));
        edit.remove(&path("d")).unwrap();
        edit.put(&path("d/x/2"), node("2")).unwrap();
        edit.put(&path("d/y/deep"), node("y")).unwrap();
        let expected =
            ["D /d", "D /d/x", "- /d/x/1", "F /d/x/2", "D /d/y", "F /d/y/deep", "- /d/z"];
        assert_eq!(finish(edit), expected);
    }

    #[test]
    fn a_file_takes_the_place_of_a_directory_and_back() {
        let mut edit = Edit::new(base(&["d/x"]));
        edit.put(&path("d/new"), node("n")).unwrap();
        edit.put(&path("d"), node("d")).unwrap();
        assert_eq!(finish(edit), ["F /d"]);
        let mut edit = Edit::new(base(&["d/x"]));
        edit.put(&path("d"), node("d")).unwrap();
        edit.put(&path("d"), Node::directory(Metadata::default())).unwrap();
        assert_eq!(finish(edit), ["D /d", "- /d/x"]);
    }

    #[test]
    fn links_name_the_first_and_take_the_others_along() {
        let mut edit = Edit::new(base(&["m"]));
        edit.link(&path("z"), &path("m")).unwrap();
        edit.link(&path("a"), &path("z")).unwrap();
        let linked = edit.tree().clone();
        assert_eq!(finish(edit), ["F /a", "H /m", "H /z"]);
        let mut edit = Edit::new(linked.clone());
        edit.link(&path("n"), &path("m")).unwrap();
        assert_eq!(finish(edit), ["F /a", "H /m", "H /n", "H /z"]);
        let mut edit = Edit::new(linked.clone());
        edit.put(&path("a"), node("other")).unwrap();
        assert_eq!(finish(edit), ["F /a"]);
        let mut edit = Edit::new(linked);
        edit.set_metadata(&path("z"), &Metadata { mode: 0o600, ..Metadata::default() }).unwrap();
        assert_eq!(finish(edit), ["F /a", "H /m", "H /z"]);
    }

    #[test]
    fn mkdir_all_keeps_what_is_there() {
        let mut edit = Edit::new(base(&["a/file"]));
        let meta = Metadata { mode: 0o700, uid: 5, ..Metadata::default() };
        assert_eq!(edit.mkdir_all(&path("a/b/c"), &meta).unwrap(), [path("a/b"), path("a/b/c")]);
        assert_eq!(edit.tree().get(&path("a")).unwrap().meta().mode, 0o755);
        let error = edit.mkdir_all(&path("a/file/x"), &meta).unwrap_err();
        assert_eq!(error.to_string(), "`/a/file` is not a directory");
        assert_eq!(finish(edit), ["D /a", "D /a/b", "D /a/b/c"]);
    }
}
