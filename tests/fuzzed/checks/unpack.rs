//! Two layers, made of bytes as `entries` says, unpacked one over the other and read as an archive that ADD unpacks.
//!
//! Nothing beside the root is touched, the disk holds what the changes say, the changes are those that the tree shows,
//! and what was unpacked is packed and unpacked again as the same.

use std::sync::Arc;

use kiln::digest::ContentDigest;
use kiln::layer::{
    Changes, DirectoryContents, Limits, Node, NodeKind, Nowhere, PackOptions, Tree, TreePath, pack,
    read_archive,
};

use super::directory::Yard;
use super::entries;

/// Small, so that they are reached.
const LIMITS: Limits = Limits { entries: 64, bytes: 1 << 16, depth: 12 };

/// Checks `lower 0xfe upper`.
pub(crate) fn check(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == 0xfe);
    let (lower, upper) = data.split_at(at.unwrap_or(data.len()));
    let below = check_layer(&entries::tar(lower), None);
    let upper = upper.get(1..).unwrap_or_default();
    if !upper.is_empty() {
        check_layer(&entries::tar(upper), below.as_ref().map(|(tree, _)| tree));
        check_layer(&entries::tar(upper), None);
    }
    check_archive(&entries::tar(data));
}

/// Checks a layer's tar over what lies below, and returns what both are together, with where its contents are.
pub(crate) fn check_layer(tar: &[u8], parent: Option<&Tree>) -> Option<(Tree, Yard)> {
    let yard = Yard::new();
    let changes = match yard.unpack(tar, parent, LIMITS) {
        Ok(changes) => changes,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    assert_eq!(Changes::decode(&changes.encode()).as_ref().ok(), Some(&changes));
    let contents = DirectoryContents::open(&yard.root()).expect("the root can be opened");
    let base = parent.cloned().unwrap_or_default();
    let contents: Arc<dyn kiln::layer::Contents> = Arc::new(contents);
    let tree = base.apply(&changes, &contents).expect("the changes suit what they were made of");
    if changes.iter().any(|(path, _)| path.components().any(|name| name.starts_with(b".wh."))) {
        // A layer cannot say such a name; it would be a whiteout.
        return Some((tree, yard));
    }
    let mut again = Vec::new();
    pack(&changes, &*contents, &PackOptions::default(), &mut again).expect("it can be packed");
    let limits = Limits { entries: 4096, bytes: 1 << 20, depth: 64 };
    let packed = Yard::new().unpack(&again, parent, limits).expect("what was packed is unpacked");
    let same = base.apply(&packed, &Nowhere::shared()).expect("the changes suit");
    assert_eq!(plain(&same), plain(&tree), "packed and unpacked, it is something else");
    Some((tree, yard))
}

/// Every path with its identity but for attributes, which a layer does not carry.
fn plain(tree: &Tree) -> Vec<String> {
    let show = |(path, node): (TreePath, &Node)| {
        let meta = node.meta();
        let (mode, time) = (meta.mode, meta.mtime.seconds);
        format!("{path} {:?} {mode:o} {}:{} {time}", node.kind(), meta.uid, meta.gid)
    };
    tree.walk(&TreePath::root()).map(show).collect()
}

/// Checks a tar as what ADD unpacks: every content can be read and is what its digest says.
pub(crate) fn check_archive(tar: &[u8]) {
    let mut spool = tempfile::tempfile().expect("a temporary file");
    let Ok(tree) = read_archive(tar, &mut spool, LIMITS) else { return };
    for (path, node) in tree.walk(&TreePath::root()) {
        if let NodeKind::File { content, size, .. } = node.body() {
            let mut bytes = Vec::new();
            let mut file = tree.open(&path).expect("it can be opened");
            std::io::copy(&mut file, &mut bytes).expect("it can be read");
            assert_eq!((bytes.len() as u64, ContentDigest::of(&bytes)), (*size, *content));
        }
    }
}
