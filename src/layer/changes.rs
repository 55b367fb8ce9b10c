//! `Changes` as a collection.
//!
//! Invariant: sorted by path, one change a path. It does not check that the changes fit each other or a tree;
//! [`super::Tree::apply`] does.

use std::collections::{BTreeMap, btree_map};

use super::{Change, Changes, Kind, Metadata, TreePath};

impl Changes {
    /// Makes an empty list.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Makes a list of pairs; cheap if they are sorted already. Of equal paths the last counts.
    pub fn from_sorted(pairs: Vec<(TreePath, Change)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Adds a change and returns the one it replaces.
    pub fn insert(&mut self, path: TreePath, change: Change) -> Option<Change> {
        self.0.insert(path, change)
    }

    /// Adds a [`Change::Put`].
    pub fn put(&mut self, path: TreePath, kind: Kind, meta: Metadata) -> Option<Change> {
        self.insert(path, Change::Put { kind, meta })
    }

    /// Drops a change from the list.
    pub fn take(&mut self, path: &TreePath) -> Option<Change> {
        self.0.remove(path)
    }

    /// Returns the change of a path.
    pub fn get(&self, path: &TreePath) -> Option<&Change> {
        self.0.get(path)
    }

    /// Returns how many paths are changed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the changes in order.
    pub fn iter(&self) -> btree_map::Iter<'_, TreePath, Change> {
        self.0.iter()
    }

    /// Returns the bytes of all regular files.
    pub fn content_size(&self) -> u64 {
        let size = |change: &Change| match change {
            Change::Put { kind: Kind::File { size, .. }, .. } => *size,
            Change::Put { .. } | Change::Remove | Change::Clear { .. } => 0,
        };
        self.0.values().map(size).fold(0, u64::saturating_add)
    }
}

impl FromIterator<(TreePath, Change)> for Changes {
    fn from_iter<I: IntoIterator<Item = (TreePath, Change)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl IntoIterator for Changes {
    type Item = (TreePath, Change);
    type IntoIter = btree_map::IntoIter<TreePath, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = (&'a TreePath, &'a Change);
    type IntoIter = btree_map::Iter<'a, TreePath, Change>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
