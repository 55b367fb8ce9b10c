//! `Node`: one file, directory or link of a [`super::Tree`], shared between all trees that have it.
//!
//! Invariant: the cached identity belongs to what the node holds now; whatever changes a node goes through
//! [`Node::changed`]. A node does not know its own name: a directory names its children.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::sync::{Arc, OnceLock};

use super::{Contents, Kind, Metadata, TreePath};
use crate::digest::{ContentDigest, ContentHasher};

/// What is in a directory, by name.
pub type Children = BTreeMap<Arc<[u8]>, Arc<Node>>;

/// A directory: what is in it, and what that comes to.
#[derive(Clone, Default)]
pub struct Directory {
    pub(super) children: Children,
    /// What a file is takes no longer to hash than to look up, and there are many.
    identity: OnceLock<Box<ContentDigest>>,
}

/// Where the bytes of a regular file are.
///
/// Files of one directory share where that is, and a file its name with the directory of a tree that it has it from.
#[derive(Clone)]
pub struct Origin {
    place: Arc<Place>,
    name: Arc<[u8]>,
}

struct Place {
    contents: Arc<dyn Contents>,
    directory: TreePath,
}

impl Origin {
    /// Makes one of who can open a file, and under which path.
    pub fn new(contents: Arc<dyn Contents>, path: &TreePath) -> Self {
        let directory = path.parent().unwrap_or_default();
        let name = path.name().unwrap_or_default().into();
        Self { place: Arc::new(Place { contents, directory }), name }
    }

    /// Makes one of another file of the same contents, which may have the name that `alike` has.
    pub(super) fn beside(&self, path: &TreePath, alike: &Self) -> Self {
        let name = path.name().unwrap_or_default();
        let name = match *alike.name == *name {
            true => Arc::clone(&alike.name),
            false => name.into(),
        };
        let place = match path.is_in(&self.place.directory) {
            true => Arc::clone(&self.place),
            false => Arc::new(Place {
                contents: Arc::clone(self.contents()),
                directory: path.parent().unwrap_or_default(),
            }),
        };
        Self { place, name }
    }

    /// Returns who can open the file.
    pub fn contents(&self) -> &Arc<dyn Contents> {
        &self.place.contents
    }

    /// Returns under which path.
    pub fn path(&self) -> TreePath {
        self.place.directory.join(&self.name).unwrap_or_default()
    }

    /// Opens the file from its beginning.
    pub fn open(&self) -> crate::fs::Result<Box<dyn Read + Send + '_>> {
        self.contents().open(&self.path())
    }
}

impl Directory {
    /// Makes an empty one.
    pub const fn new() -> Self {
        Self { children: Children::new(), identity: OnceLock::new() }
    }
}

/// What the names of one hard-linked file share. Two are equal if they are the very same group, not if they look
/// alike.
#[derive(Debug, Clone)]
pub struct LinkGroup(Arc<TreePath>);

impl LinkGroup {
    pub(super) fn new(first: TreePath) -> Self {
        Self(Arc::new(first))
    }

    /// Returns the name that the others were linked to.
    pub fn first(&self) -> &TreePath {
        &self.0
    }
}

impl PartialEq for LinkGroup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LinkGroup {}

impl Hash for LinkGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// What a node is. Unlike [`Kind`] it has no hard links: every name of a file is the file.
#[derive(Clone)]
pub enum NodeKind {
    /// A directory and what is in it.
    Directory(Directory),
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// What is in it.
        content: ContentDigest,
        /// Where to read it.
        origin: Origin,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, exactly as stored.
        target: Arc<[u8]>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One node of a tree.
#[derive(Clone)]
pub struct Node {
    pub(super) kind: NodeKind,
    pub(super) meta: Metadata,
    pub(super) group: Option<LinkGroup>,
}

impl Node {
    /// Makes a node with a single name.
    pub const fn new(kind: NodeKind, meta: Metadata) -> Self {
        Self { kind, meta, group: None }
    }

    /// Makes an empty directory.
    pub const fn directory(meta: Metadata) -> Self {
        Self::new(NodeKind::Directory(Directory::new()), meta)
    }

    /// Makes the node that a [`Kind`] describes; `None` for a hard link, which is no node of its own. `origin` is
    /// where a regular file can be read.
    pub fn of(kind: &Kind, meta: Metadata, origin: impl FnOnce() -> Origin) -> Option<Self> {
        let kind = match kind {
            Kind::Directory => NodeKind::Directory(Directory::new()),
            Kind::File { size, content } => {
                NodeKind::File { size: *size, content: *content, origin: origin() }
            }
            Kind::Symlink { target } => NodeKind::Symlink { target: target.as_slice().into() },
            Kind::CharDevice { major, minor } => {
                NodeKind::CharDevice { major: *major, minor: *minor }
            }
            Kind::BlockDevice { major, minor } => {
                NodeKind::BlockDevice { major: *major, minor: *minor }
            }
            Kind::Fifo => NodeKind::Fifo,
            Kind::Hardlink { .. } => return None,
        };
        Some(Self::new(kind, meta))
    }

    /// Returns what the node is, as changes say it.
    pub fn kind(&self) -> Kind {
        match &self.kind {
            NodeKind::Directory(_) => Kind::Directory,
            NodeKind::File { size, content, .. } => Kind::File { size: *size, content: *content },
            NodeKind::Symlink { target } => Kind::Symlink { target: target.to_vec() },
            NodeKind::CharDevice { major, minor } => {
                Kind::CharDevice { major: *major, minor: *minor }
            }
            NodeKind::BlockDevice { major, minor } => {
                Kind::BlockDevice { major: *major, minor: *minor }
            }
            NodeKind::Fifo => Kind::Fifo,
        }
    }

    /// Returns what the node is, with children and origin.
    pub const fn body(&self) -> &NodeKind {
        &self.kind
    }

    /// Returns the metadata.
    pub const fn meta(&self) -> &Metadata {
        &self.meta
    }

    /// Returns what its names share, if it was made with several.
    pub const fn group(&self) -> Option<&LinkGroup> {
        self.group.as_ref()
    }

    /// Returns what is in the directory; `None` if it is none.
    pub const fn children(&self) -> Option<&Children> {
        match &self.kind {
            NodeKind::Directory(directory) => Some(&directory.children),
            _ => None,
        }
    }

    const fn known_identity(&self) -> Option<&OnceLock<Box<ContentDigest>>> {
        match &self.kind {
            NodeKind::Directory(directory) => Some(&directory.identity),
            _ => None,
        }
    }

    /// Takes what is in the directory; nothing if it is none.
    pub fn into_children(self) -> Children {
        match self.kind {
            NodeKind::Directory(directory) => directory.children,
            _ => Children::new(),
        }
    }

    /// Returns whether it is a directory.
    pub const fn is_directory(&self) -> bool {
        self.children().is_some()
    }

    /// Returns the name by which a directory is to know the node: the one that its origin has, if they are the same.
    pub(super) fn named(&self, name: &[u8]) -> Arc<[u8]> {
        match &self.kind {
            NodeKind::File { origin, .. } if *origin.name == *name => Arc::clone(&origin.name),
            _ => name.into(),
        }
    }

    /// Returns a copy to be put elsewhere: without children and without other names.
    #[must_use]
    pub fn alone(&self, meta: Metadata) -> Self {
        let kind = match &self.kind {
            NodeKind::Directory(_) => NodeKind::Directory(Directory::new()),
            kind => kind.clone(),
        };
        Self::new(kind, meta)
    }

    /// Returns the digest of everything that a container could see of the node and of what is beneath it, except
    /// its own name and modification times.
    pub fn identity(&self) -> ContentDigest {
        let Some(known) = self.known_identity() else { return self.compute_identity() };
        if known.get().is_none() {
            self.identify_below();
        }
        **known.get_or_init(|| Box::new(self.compute_identity()))
    }

    /// Computes the identities of directories from the deepest up to this one: each asks for those in it, and a tree can
    /// be deeper than the stack of a thread.
    fn identify_below(&self) {
        let is_open = |node: &&Self| node.known_identity().is_some_and(|it| it.get().is_none());
        let mut open = vec![self];
        while let Some(&node) = open.last() {
            let before = open.len();
            let children = node.children().into_iter().flatten();
            open.extend(children.map(|(_, child)| &**child).filter(is_open));
            if open.len() == before {
                if let Some(known) = node.known_identity() {
                    known.get_or_init(|| Box::new(node.compute_identity()));
                }
                open.pop();
            }
        }
    }

    /// Gives access for a change, unsharing the node and forgetting its identity.
    pub(super) fn changed(node: &mut Arc<Self>) -> &mut Self {
        let node = Arc::make_mut(node);
        if let NodeKind::Directory(directory) = &mut node.kind {
            directory.identity.take();
        }
        node
    }

    /// Gives it and everything beneath it other metadata, in its place where no other tree has it.
    pub fn describe_all(node: &mut Arc<Self>, describe: impl Fn(&Self) -> Metadata) {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let meta = describe(node);
            let node = Self::changed(node);
            node.meta = meta;
            if let NodeKind::Directory(directory) = &mut node.kind {
                open.extend(directory.children.values_mut());
            }
        }
    }

    /// Returns whether it or something beneath it was made with several names.
    pub fn has_links(&self) -> bool {
        let mut open = vec![self];
        while let Some(node) = open.pop() {
            if node.group.is_some() {
                return true;
            }
            open.extend(node.children().into_iter().flatten().map(|(_, child)| &**child));
        }
        false
    }

    /// Returns whether it can be put elsewhere as it is, see [`Node::alone`].
    pub(super) const fn is_alone(&self) -> bool {
        !self.is_directory() && self.group.is_none()
    }

    fn compute_identity(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new();
        let number = |hasher: &mut ContentHasher, n: u64| hasher.update(&n.to_le_bytes());
        hasher.update(b"kiln.node.1\n");
        for value in [self.meta.mode, self.meta.uid, self.meta.gid] {
            number(&mut hasher, value.into());
        }
        number(&mut hasher, self.meta.xattrs.len() as u64);
        for (name, value) in &self.meta.xattrs {
            hasher.field(name);
            hasher.field(value);
        }
        hasher.field(self.group.as_ref().map_or(&[], |group| group.first().as_bytes()));
        match &self.kind {
            NodeKind::Directory(directory) => {
                hasher.update(b"d");
                for (name, child) in &directory.children {
                    hasher.field(name);
                    hasher.update(child.identity().as_bytes());
                }
            }
            NodeKind::File { size, content, .. } => {
                hasher.update(b"f");
                number(&mut hasher, *size);
                hasher.update(content.as_bytes());
            }
            NodeKind::Symlink { target } => {
                hasher.update(b"l");
                hasher.field(target);
            }
            NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor } => {
                let char = matches!(self.kind, NodeKind::CharDevice { .. });
                hasher.update(if char { b"c" } else { b"b" });
                number(&mut hasher, (*major).into());
                number(&mut hasher, (*minor).into());
            }
            NodeKind::Fifo => hasher.update(b"p"),
        }
        hasher.content()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Nowhere, Tree};

    #[test]
    fn a_file_is_small() {
        assert_eq!(size_of::<Node>(), 112);
        assert_eq!(size_of::<(TreePath, crate::layer::Change)>(), 104);
    }

    #[test]
    fn metadata_changes_in_its_place_and_in_no_other_tree() {
        let path = |text: &str| TreePath::clean(text).unwrap();
        let file = || Kind::File { size: 1, content: ContentDigest::of(b"1") };
        let mut changes = crate::layer::Changes::new();
        for name in ["d/e/a", "d/e/b", "other"] {
            changes.put(path(name), file(), Metadata::default());
        }
        let tree = Tree::empty().apply(&changes, &Nowhere::shared()).unwrap();
        let before = tree.root().identity();
        let at = |tree: &Tree, name: &str| std::ptr::from_ref(tree.get(&path(name)).unwrap());
        let seven = |node: &Node| Metadata { uid: 7, ..node.meta().clone() };
        let uids = |node: &Node| -> Vec<u32> {
            let children = node.children().into_iter().flatten();
            std::iter::once(node.meta.uid).chain(children.map(|(_, it)| it.meta.uid)).collect()
        };
        let mut shared = Arc::clone(tree.shared(&path("d/e")).unwrap());
        Node::describe_all(&mut shared, seven);
        assert_eq!(uids(&shared), [7, 7, 7]);
        assert_eq!(uids(tree.get(&path("d/e")).unwrap()), [0, 0, 0]);
        assert_eq!(tree.root().identity(), before);
        let place = at(&tree, "d/e/a");
        let mut alone = Arc::clone(tree.shared(&path("d/e")).unwrap());
        drop(tree);
        Node::describe_all(&mut alone, seven);
        assert_eq!(uids(&alone), [7, 7, 7]);
        assert_eq!(alone.identity(), shared.identity());
        assert_eq!(std::ptr::from_ref(&*alone.children().unwrap()[&b"a"[..]]), place);
    }
}
