//! How a layer's tar says that files of lower layers are gone (OCI image specification, "Whiteouts").
//!
//! Only names are judged here. What overlayfs has instead is written by `disk.rs`.

/// What a name with this prefix stands for is the rest of the name.
pub const PREFIX: &[u8] = b".wh.";

/// The name that empties the directory it is in.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name in a layer's tar means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker<'a> {
    /// An ordinary file.
    None,
    /// The directory is emptied of what lower layers have in it.
    Opaque,
    /// The named neighbour is gone.
    Gone(&'a [u8]),
    /// Book-keeping of AUFS, without meaning.
    Ignored,
    /// A whiteout of nothing that has a name.
    Invalid,
}

/// Says what a name means.
pub(super) fn marker(name: &[u8]) -> Marker<'_> {
    match name.strip_prefix(PREFIX) {
        None => Marker::None,
        Some(_) if name == OPAQUE => Marker::Opaque,
        Some(rest) if rest.starts_with(PREFIX) => Marker::Ignored,
        Some(b"" | b"." | b"..") => Marker::Invalid,
        Some(rest) => Marker::Gone(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_their_meaning() {
        assert_eq!(marker(b"file.wh."), Marker::None);
        assert_eq!(marker(b".wh.file"), Marker::Gone(b"file"));
        assert_eq!(marker(b".wh..wh..opq"), Marker::Opaque);
        assert_eq!(marker(b".wh..wh.plnk"), Marker::Ignored);
        for name in [&b".wh."[..], b".wh..", b".wh..."] {
            assert_eq!(marker(name), Marker::Invalid);
        }
    }
}
