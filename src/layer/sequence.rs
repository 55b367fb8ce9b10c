//! Changes that are only read in order: those in memory, or as they are written down.
//!
//! A change takes some 140 bytes in memory and 55 as it is written down, and who writes the files of a layer has use for
//! few of them at a time.

use std::borrow::Cow;

use super::encoding::{body_of, count_of};
use super::error::{LayerError, Result};
use super::{Change, Changes, TreePath};

/// One of a [`Sequence`].
pub type Item<'a> = (Cow<'a, TreePath>, Cow<'a, Change>);

/// Changes that can be read in order, as often as one likes.
pub trait Sequence: Sync {
    /// Begins at the first.
    fn begin(&self) -> Box<dyn Iterator<Item = Item<'_>> + Send + '_>;

    /// Returns how many there are; that fewer come means that they are damaged.
    fn count(&self) -> usize;

    /// Returns how many bytes their paths have, or something near it.
    fn path_bytes(&self) -> usize;
}

impl Sequence for Changes {
    fn begin(&self) -> Box<dyn Iterator<Item = Item<'_>> + Send + '_> {
        Box::new(self.iter().map(|(path, change)| (Cow::Borrowed(path), Cow::Borrowed(change))))
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn path_bytes(&self) -> usize {
        self.iter().map(|(path, _)| path.as_bytes().len()).sum()
    }
}

/// What [`Changes::encode`] wrote.
#[derive(Debug)]
pub struct Encoded {
    bytes: Vec<u8>,
    count: usize,
}

impl Encoded {
    /// Takes bytes that are an encoding, by their checksum.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        body_of(&bytes)?;
        let count = count_of(&bytes).ok_or(LayerError::Corrupt("malformed entry"))?;
        Ok(Self { bytes, count })
    }
}

impl Sequence for Encoded {
    fn begin(&self) -> Box<dyn Iterator<Item = Item<'_>> + Send + '_> {
        let each = Changes::each(&self.bytes);
        Box::new(each.map(|(path, change)| (Cow::Owned(path), Cow::Owned(change))))
    }

    fn count(&self) -> usize {
        self.count
    }

    fn path_bytes(&self) -> usize {
        self.bytes.len() / 2
    }
}

/// What those who read all of a sequence say if it was not all.
pub(super) fn complete(sequence: &dyn Sequence, seen: usize) -> Result<()> {
    match seen == sequence.count() {
        true => Ok(()),
        false => Err(LayerError::Corrupt("malformed entry")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::file_offsets;
    use super::super::{Flavour, Kind, Metadata, Nowhere, PackOptions, materialise};
    use super::*;
    use crate::digest::ContentDigest;

    #[test]
    fn it_is_the_same_as_it_is_written_down() {
        let mut changes = Changes::new();
        for name in ["a", "a/b", "c"] {
            changes.put(TreePath::clean(name).unwrap(), Kind::Fifo, Metadata::default());
        }
        changes.insert(TreePath::clean("d").unwrap(), Change::Remove);
        let bytes = changes.encode();
        let encoded = Encoded::new(bytes.clone()).unwrap();
        assert!(encoded.begin().eq(changes.begin()));
        assert_eq!((encoded.count(), Sequence::count(&changes)), (4, 4));
        complete(&encoded, 4).unwrap();
        complete(&encoded, 3).unwrap_err();
        assert!(Encoded::new(bytes[1..].to_vec()).is_err());
    }

    #[test]
    fn one_that_ends_early_is_damaged() {
        let mut changes = Changes::new();
        changes.put(TreePath::clean("a").unwrap(), Kind::Directory, Metadata::default());
        let with_count = |count: u8| {
            let mut bytes = changes.encode();
            bytes.truncate(bytes.len() - 32);
            let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            bytes[at] = count;
            bytes.extend_from_slice(ContentDigest::of(&bytes).as_bytes());
            Encoded::new(bytes)
        };
        let encoded = with_count(2).unwrap();
        assert_eq!((encoded.count(), encoded.begin().count()), (2, 1));
        let damaged = Changes::decode(&encoded.bytes).unwrap_err().to_string();
        let offsets = file_offsets(&encoded, &PackOptions::default()).map(drop);
        assert_eq!(offsets.unwrap_err().to_string(), damaged);
        let dir = tempfile::tempdir().unwrap();
        let made = materialise(&encoded, &Nowhere, dir.path(), Flavour::USER);
        assert_eq!(made.unwrap_err().to_string(), damaged);
        // Nobody makes room for more than there can be.
        assert_eq!(with_count(100).unwrap_err().to_string(), damaged);
    }
}
