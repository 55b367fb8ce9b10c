//! Contents hashed in pieces, by several threads perhaps (BLAKE3, section 2.1, "Tree Structure").
//!
//! Invariant: the pieces of a content, joined, have the digest that hashing it from its beginning has.

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use super::{ContentDigest, ContentHasher};

/// The hash of one piece; says nothing of a content but beside those of its other pieces.
#[derive(Debug, Clone, Copy)]
pub struct Piece(ChainingValue);

impl Piece {
    /// Bytes of a piece; the last one of a content has what is left.
    pub const SIZE: u64 = 4 << 20;

    /// Starts the hash of the piece that begins there, at a multiple of [`Piece::SIZE`].
    pub fn hasher(start: u64) -> ContentHasher {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        ContentHasher(hasher)
    }

    /// Ends it. Only a piece of some bytes has a hash.
    pub fn of(hasher: &ContentHasher) -> Option<Self> {
        (hasher.0.count() > 0).then(|| Self(hasher.0.finalize_non_root()))
    }

    /// Returns the digest of the content of these pieces; `None` of fewer than two, which make no tree.
    pub fn join(pieces: &[Self]) -> Option<ContentDigest> {
        let (left, right) = halves(pieces)?;
        let root = merge_subtrees_root(&subtree(left)?, &subtree(right)?, Mode::Hash);
        Some(ContentDigest::from_bytes(*root.as_bytes()))
    }
}

fn subtree(pieces: &[Piece]) -> Option<ChainingValue> {
    match pieces {
        [] => None,
        [piece] => Some(piece.0),
        _ => {
            let (left, right) = halves(pieces)?;
            Some(merge_subtrees_non_root(&subtree(left)?, &subtree(right)?, Mode::Hash))
        }
    }
}

/// Left is the largest power of two that leaves something to the right.
fn halves(pieces: &[Piece]) -> Option<(&[Piece], &[Piece])> {
    let last = pieces.len().checked_sub(1)?.checked_ilog2()?;
    pieces.split_at_checked(1 << last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_joined_are_the_whole() {
        const SIZE: usize = Piece::SIZE as usize;
        let bytes: Vec<u8> = (0..5 * SIZE as u32 + 7).map(|n| (n ^ (n >> 7)) as u8).collect();
        let lengths = [SIZE + 1, 2 * SIZE - 1, 2 * SIZE, 3 * SIZE, 4 * SIZE, 5 * SIZE + 7];
        for length in lengths {
            let content = &bytes[..length];
            let piece = |(index, part): (usize, &[u8])| {
                let mut hasher = Piece::hasher(index as u64 * Piece::SIZE);
                part.chunks(100_000).for_each(|some| hasher.update(some));
                Piece::of(&hasher).unwrap()
            };
            let pieces: Vec<Piece> = content.chunks(SIZE).enumerate().map(piece).collect();
            assert_eq!(Piece::join(&pieces), Some(ContentDigest::of(content)), "{length}");
        }
    }

    #[test]
    fn one_piece_is_no_tree() {
        assert!(Piece::of(&Piece::hasher(0)).is_none());
        let mut hasher = Piece::hasher(0);
        hasher.update(b"a");
        assert_eq!(Piece::join(&[Piece::of(&hasher).unwrap()]), None);
        assert_eq!(Piece::join(&[]), None);
    }
}
