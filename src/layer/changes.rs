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

    /// Returns the changes to `top` and to everything beneath it, in order.
    pub fn beneath<'a>(
        &'a self,
        top: &'a TreePath,
    ) -> impl Iterator<Item = (&'a TreePath, &'a Change)> {
        self.0.range(top..).take_while(move |(path, _)| path.starts_with(top))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beneath_stops_at_the_end_of_the_directory() {
        let changes: Changes = ["a", "a-b", "a/b", "a/b/c", "b"]
            .into_iter()
            .map(|path| (TreePath::clean(path).unwrap(), Change::Remove))
            .collect();
        let top = TreePath::clean("a").unwrap();
        let found: Vec<_> = changes.beneath(&top).map(|(path, _)| path.to_string()).collect();
        assert_eq!(found, ["/a", "/a/b", "/a/b/c"]);
        assert_eq!(changes.beneath(&TreePath::root()).count(), 5);
    }
}
