//! Putting a part of one tree into another.

use std::collections::HashMap;

use super::{Edit, Result, Tree, TreePath};

impl Edit {
    /// Puts what is beneath `from` of another tree beneath the directory `to`. Files with several names keep them.
    pub fn graft(&mut self, tree: &Tree, from: &TreePath, to: &TreePath) -> Result<()> {
        let mut links = HashMap::new();
        for (path, node) in tree.walk(from) {
            let relative = path.strip_prefix(from).unwrap_or_default();
            if relative.is_root() {
                continue;
            }
            let target = to.append(&relative);
            match node.group() {
                Some(group) if links.contains_key(group) => self.link(&target, &links[group])?,
                group => {
                    if let Some(group) = group {
                        links.insert(group.clone(), target.clone());
                    }
                    self.put(&target, node.alone(node.meta().clone()))?;
                }
            }
        }
        Ok(())
    }
}
