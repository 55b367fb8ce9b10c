//! At which paths two trees differ, and in what.
//!
//! Costs what differs: what the trees share is not looked at, nor what the caller knows to be the same by its
//! identity. Unlike [`Tree::changes_since`] this says what is there on both sides, and nothing of how a layer would
//! have to put it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Kind, LinkGroup, Node, NodeKind, Tree, TreePath};

/// A path at which two trees differ.
#[derive(Clone)]
pub struct Difference<'a> {
    /// Where.
    pub path: TreePath,
    /// What the first tree has there.
    pub old: Option<&'a Node>,
    /// What the second tree has there.
    pub new: Option<&'a Node>,
}

/// In what two files of one path may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// What kind of file it is.
    Type,
    /// The bytes of a regular file.
    Content,
    /// Where a symbolic link points.
    Target,
    /// The numbers of a device.
    Device,
    /// The permission bits.
    Mode,
    /// User or group.
    Owner,
    /// Extended attributes.
    Xattrs,
    /// The modification time.
    Mtime,
}

impl Tree {
    /// Returns the paths at which this tree differs from `base`, in order. One that only one of them has, or at which
    /// only one has a directory, stands for everything beneath it. Two directories are listed also if no more than
    /// something beneath them differs; neither they nor two files are looked at if `same` holds.
    pub fn differences<'a>(
        &'a self,
        base: &'a Tree,
        same: &dyn Fn(&Node, &Node) -> bool,
    ) -> Vec<Difference<'a>> {
        let mut found = Vec::new();
        compare(TreePath::root(), (base.root(), self.root()), same, &mut found);
        found
    }

    /// Returns the names of every file that was made with several and is still there, by what they share.
    pub fn link_names(&self) -> HashMap<LinkGroup, Vec<TreePath>> {
        let mut names: HashMap<LinkGroup, Vec<TreePath>> = HashMap::new();
        for (path, node) in self.walk(&TreePath::root()) {
            if let Some(group) = node.group() {
                names.entry(group.clone()).or_default().push(path);
            }
        }
        names
    }
}

fn compare<'a>(
    path: TreePath,
    (old, new): (&'a Node, &'a Node),
    same: &dyn Fn(&Node, &Node) -> bool,
    found: &mut Vec<Difference<'a>>,
) {
    if same(old, new) {
        return;
    }
    found.push(Difference { path: path.clone(), old: Some(old), new: Some(new) });
    let (Some(before), Some(after)) = (old.children(), new.children()) else { return };
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let name = match (before.peek(), after.peek()) {
            (Some((old, _)), Some((new, _))) => Arc::clone((*old).min(*new)),
            (Some((name, _)), None) | (None, Some((name, _))) => Arc::clone(name),
            (None, None) => return,
        };
        let old = before.next_if(|(at, _)| **at == name).map(|(_, node)| node);
        let new = after.next_if(|(at, _)| **at == name).map(|(_, node)| node);
        let Some(path) = path.join(&name) else { continue };
        match (old, new) {
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {}
            (Some(old), Some(new)) => compare(path, (old, new), same, found),
            (old, new) => {
                let (old, new) = (old.map(Arc::as_ref), new.map(Arc::as_ref));
                found.push(Difference { path, old, new });
            }
        }
    }
}

impl Node {
    /// Returns in what this file differs from `old`, in the order of [`Aspect`]; of directories, not what is in them.
    pub fn aspects_since(&self, old: &Node) -> Vec<Aspect> {
        let (before, after) = (old.meta(), self.meta());
        let body = match (old.body(), self.body()) {
            (NodeKind::Directory(_), NodeKind::Directory(_)) => None,
            _ => body_aspect(&old.kind(), &self.kind()),
        };
        let of_metadata = [
            (Aspect::Mode, before.mode != after.mode),
            (Aspect::Owner, (before.uid, before.gid) != (after.uid, after.gid)),
            (Aspect::Xattrs, before.xattrs != after.xattrs),
            (Aspect::Mtime, before.mtime != after.mtime),
        ];
        let differing = of_metadata.into_iter().filter_map(|(aspect, is)| is.then_some(aspect));
        body.into_iter().chain(differing).collect()
    }
}

fn body_aspect(old: &Kind, new: &Kind) -> Option<Aspect> {
    if old == new {
        return None;
    }
    Some(match (old, new) {
        (Kind::File { .. }, Kind::File { .. }) => Aspect::Content,
        (Kind::Symlink { .. }, Kind::Symlink { .. }) => Aspect::Target,
        (Kind::CharDevice { .. }, Kind::CharDevice { .. })
        | (Kind::BlockDevice { .. }, Kind::BlockDevice { .. }) => Aspect::Device,
        _ => Aspect::Type,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Changes, Metadata, Nowhere};
    use super::*;
    use crate::digest::ContentDigest;

    fn path(text: &str) -> TreePath {
        TreePath::clean(text).unwrap()
    }

    fn tree(files: &[(&str, Kind, u32)]) -> Tree {
        let mut changes = Changes::new();
        for (name, kind, mode) in files {
            let meta = Metadata { mode: *mode, ..Metadata::default() };
            changes.put(path(name), kind.clone(), meta);
        }
        Tree::empty().apply(&changes, &Nowhere::shared()).unwrap()
    }

    fn file(text: &str) -> Kind {
        Kind::File { size: text.len() as u64, content: ContentDigest::of(text.as_bytes()) }
    }

    fn list(old: &Tree, new: &Tree) -> Vec<String> {
        let same = |old: &Node, new: &Node| old.identity() == new.identity();
        let line = |it: &Difference<'_>| match (it.old, it.new) {
            (Some(old), Some(new)) => format!("C {} {:?}", it.path, new.aspects_since(old)),
            (None, _) => format!("A {}", it.path),
            (_, None) => format!("D {}", it.path),
        };
        new.differences(old, &same).iter().map(line).collect()
    }

    #[test]
    fn what_differs_and_in_what() {
        let link = |target: &str| Kind::Symlink { target: target.into() };
        let device = |minor| Kind::CharDevice { major: 1, minor };
        let old = tree(&[
            ("a/same", file("1"), 0o644),
            ("b/gone/x", file("1"), 0o644),
            ("b/mode", file("1"), 0o644),
            ("c", file("1"), 0o644),
            ("d/x", file("1"), 0o644),
            ("l", link("x"), 0o777),
            ("n", device(1), 0o600),
        ]);
        let new = tree(&[
            ("a/same", file("1"), 0o644),
            ("b/mode", file("1"), 0o755),
            ("b/new/y", file("1"), 0o644),
            ("c", file("2"), 0o600),
            ("d", file("1"), 0o644),
            ("l", link("y"), 0o777),
            ("n", device(2), 0o600),
        ]);
        let expected = [
            "C / []",
            "C /b []",
            "D /b/gone",
            "C /b/mode [Mode]",
            "A /b/new",
            "C /c [Content, Mode]",
            "C /d [Type, Mode]",
            "C /l [Target]",
            "C /n [Device]",
        ];
        assert_eq!(list(&old, &new), expected);
        assert!(list(&old, &old).is_empty());
    }
}
