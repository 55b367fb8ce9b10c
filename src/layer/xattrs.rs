//! Extended attributes: almost no file has any, and there are hundreds of thousands of files.

use std::collections::{BTreeMap, btree_map};
use std::ops::Deref;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

static NONE: Map = Map::new();

/// Extended attributes by name, e.g. `security.capability`.
#[derive(Debug, Clone, Default)]
pub struct Xattrs(Option<Box<Map>>);

impl Xattrs {
    /// Makes none.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Adds an attribute and returns the value that it replaces.
    pub fn insert(&mut self, name: Vec<u8>, value: Vec<u8>) -> Option<Vec<u8>> {
        self.0.get_or_insert_default().insert(name, value)
    }

    /// Removes an attribute and returns its value.
    pub fn remove(&mut self, name: &[u8]) -> Option<Vec<u8>> {
        self.0.as_mut()?.remove(name)
    }

    /// Removes those of which this does not hold.
    pub fn retain(&mut self, keep: impl FnMut(&Vec<u8>, &mut Vec<u8>) -> bool) {
        if let Some(map) = &mut self.0 {
            map.retain(keep);
        }
    }
}

impl Deref for Xattrs {
    type Target = Map;

    fn deref(&self) -> &Map {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl PartialEq for Xattrs {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Xattrs {}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Xattrs {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(pairs: I) -> Self {
        let map: Map = pairs.into_iter().collect();
        Self((!map.is_empty()).then(|| Box::new(map)))
    }
}

impl<const N: usize> From<[(Vec<u8>, Vec<u8>); N]> for Xattrs {
    fn from(pairs: [(Vec<u8>, Vec<u8>); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl IntoIterator for Xattrs {
    type Item = (Vec<u8>, Vec<u8>);
    type IntoIter = btree_map::IntoIter<Vec<u8>, Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map_or_else(Map::new, |map| *map).into_iter()
    }
}

impl<'a> IntoIterator for &'a Xattrs {
    type Item = (&'a Vec<u8>, &'a Vec<u8>);
    type IntoIter = btree_map::Iter<'a, Vec<u8>, Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_left_is_none() {
        let mut some = Xattrs::from([(b"a".to_vec(), b"1".to_vec())]);
        assert_ne!(some, Xattrs::new());
        assert_eq!(some.remove(b"a"), Some(b"1".to_vec()));
        assert_eq!((&some, some.len()), (&Xattrs::new(), 0));
        assert_eq!(some.clone().into_iter().chain(some).collect::<Xattrs>(), Xattrs::new());
    }

    #[test]
    fn a_file_without_any_pays_for_a_pointer() {
        assert_eq!(size_of::<Xattrs>(), size_of::<usize>());
    }
}
