//! `Changes` as a collection.
//!
//! Invariant: sorted by path, one change a path. It does not check that the changes fit each other or a tree;
//! [`super::Tree::apply`] does. It is one piece of memory, for there are hundreds of thousands at times: changes are
//! added in order, or many at once.

use std::cmp::Ordering;

use super::{Change, Changes, Kind, Metadata, TreePath};

type Pair = (TreePath, Change);

/// The changes in order; see [`Changes::iter`].
pub(super) type Iter<'a> =
    std::iter::Map<std::slice::Iter<'a, Pair>, fn(&Pair) -> (&TreePath, &Change)>;

impl Changes {
    /// Makes an empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes a list of pairs; cheap if they are sorted already. Of equal paths the last counts.
    pub fn from_sorted(pairs: Vec<Pair>) -> Self {
        let mut changes = Self(pairs);
        changes.restore();
        changes
    }

    /// Adds a change and returns the one it replaces. Cheap behind all others, else it moves those that follow.
    pub fn insert(&mut self, path: TreePath, change: Change) -> Option<Change> {
        if self.0.last().is_none_or(|(last, _)| *last < path) {
            self.0.push((path, change));
            return None;
        }
        match self.position(&path) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, change)),
            Err(at) => {
                self.0.insert(at, (path, change));
                None
            }
        }
    }

    /// Adds a [`Change::Put`].
    pub fn put(&mut self, path: TreePath, kind: Kind, meta: Metadata) -> Option<Change> {
        self.insert(path, Change::Put { kind, meta })
    }

    /// Drops the changes of which this does not hold.
    pub fn retain(&mut self, mut keep: impl FnMut(&TreePath) -> bool) {
        self.0.retain(|(path, _)| keep(path));
    }

    /// Returns the change of a path.
    pub fn get(&self, path: &TreePath) -> Option<&Change> {
        self.position(path).ok().map(|at| &self.0[at].1)
    }

    fn position(&self, path: &TreePath) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(path))
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
    pub fn iter(&self) -> Iter<'_> {
        self.0.iter().map(|(path, change)| (path, change))
    }

    /// Returns the bytes of all regular files.
    pub fn content_size(&self) -> u64 {
        let size = |(_, change): &Pair| match change {
            Change::Put { kind: Kind::File { size, .. }, .. } => *size,
            Change::Put { .. } | Change::Remove | Change::Clear { .. } => 0,
        };
        self.0.iter().map(size).fold(0, u64::saturating_add)
    }

    /// Puts in order what was added at the end; of equal paths the last counts.
    fn restore(&mut self) {
        if self.0.is_sorted_by(|(a, _), (b, _)| a.cmp(b) == Ordering::Less) {
            return;
        }
        // What is sorted already, the old and perhaps the new, is only merged.
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
    }
}

impl Extend<Pair> for Changes {
    fn extend<I: IntoIterator<Item = Pair>>(&mut self, pairs: I) {
        self.0.extend(pairs);
        self.restore();
    }
}

impl FromIterator<Pair> for Changes {
    fn from_iter<I: IntoIterator<Item = Pair>>(pairs: I) -> Self {
        Self::from_sorted(pairs.into_iter().collect())
    }
}

impl IntoIterator for Changes {
    type Item = Pair;
    type IntoIter = std::vec::IntoIter<Pair>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Changes {
    type Item = (&'a TreePath, &'a Change);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str, mode: u32) -> Pair {
        let meta = Metadata { mode, ..Metadata::default() };
        (TreePath::clean(name).unwrap(), Change::Put { kind: Kind::Fifo, meta })
    }

    #[test]
    fn in_whatever_order_they_come_the_last_of_a_path_counts() {
        let sorted: Changes =
            [put("a", 4), put("a/b", 1), put("a-b", 3), put("c", 5)].into_iter().collect();
        let mixed =
            [put("c", 0), put("a-b", 2), put("a/b", 1), put("a-b", 3), put("a", 4), put("c", 5)];
        assert_eq!(mixed.clone().into_iter().collect::<Changes>(), sorted);
        let (mut inserted, mut extended) = (Changes::new(), Changes::new());
        for (path, change) in mixed.clone() {
            inserted.insert(path, change);
        }
        assert_eq!(inserted, sorted);
        let (first, second) = mixed.split_at(3);
        extended.extend(first.to_vec());
        extended.extend(second.to_vec());
        assert_eq!(extended, sorted);
        assert_eq!(sorted.get(&put("a-b", 0).0), Some(&put("", 3).1));
        assert_eq!(sorted.get(&put("b", 0).0), None);
    }
}
