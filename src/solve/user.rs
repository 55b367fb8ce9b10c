//! Who a command runs as, by the user database of its own file system.

use std::io::Read;

use super::error::StepError;
use crate::fs::PathError;
use crate::layer::{LastLink, Node, NodeKind, Tree, TreePath};
use crate::oci;
use crate::sandbox::spec::User;

/// How much of a user database is read: more than `oci` takes.
const LIMIT: u64 = (10 << 20) + 1;

/// Reads a user database; `None` if there is none. Links are followed beneath the root.
pub(super) fn database(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>, StepError> {
    let path = TreePath::clean(path).unwrap_or_default();
    let path = tree.resolve(&path, LastLink::Follow)?;
    if !matches!(tree.get(&path).map(Node::body), Some(NodeKind::File { .. })) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = tree.open(&path).map_err(crate::source::SourceError::from)?;
    let read = file.take(LIMIT).read_to_end(&mut bytes);
    read.map_err(PathError::of("read", path.as_path()))
        .map_err(crate::source::SourceError::from)?;
    Ok(Some(bytes))
}

/// Returns the ids of USER as it stands; empty: root.
pub fn process_user(tree: &Tree, spec: &str) -> Result<User, StepError> {
    let passwd = database(tree, "etc/passwd")?;
    let group = database(tree, "etc/group")?;
    let ids = oci::process_ids(spec, passwd.as_deref(), group.as_deref())?;
    Ok(User { uid: ids.uid, gid: ids.gid, groups: ids.groups })
}
