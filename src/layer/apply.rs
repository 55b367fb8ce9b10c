//! Changes made to a tree.
//!
//! Changes are sorted, so most of them follow another one in the same directory: these are put there together, which
//! takes less time than to look for it each time, and less memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Result, misfit};
use super::node::{LinkGroup, Node, Origin};
use super::tree::LONGEST_PATH;
use super::{Change, Changes, Contents, Kind, Tree, TreePath};

impl Tree {
    /// Returns this tree with changes made to it, the contents of which are in `contents`. Missing parents become
    /// directories of root with mode 0755.
    pub fn apply(&self, changes: &Changes, contents: &Arc<dyn Contents>) -> Result<Self> {
        let mut tree = self.clone();
        let mut links: Vec<(&TreePath, &TreePath)> = Vec::new();
        let mut origin: Option<Origin> = None;
        let mut run = Run::default();
        for (path, change) in changes {
            match change {
                Change::Put { kind: Kind::Hardlink { to }, .. } => links.push((path, to)),
                Change::Put { kind, meta } => {
                    let origin = || {
                        let made = match &origin {
                            Some(last) => last.beside(path, last),
                            None => Origin::new(contents.clone(), path),
                        };
                        origin.insert(made).clone()
                    };
                    if let Some(node) = Node::of(kind, meta.clone(), origin) {
                        run.put(&mut tree, path, Arc::new(node))?;
                    }
                }
                Change::Remove => {
                    run.end(&mut tree)?;
                    tree.remove(path)?;
                }
                Change::Clear { meta } => {
                    run.end(&mut tree)?;
                    tree.remove(path)?;
                    tree.put(path, Arc::new(Node::directory(meta.clone())))?;
                }
            }
        }
        run.end(&mut tree)?;
        let mut groups = HashMap::new();
        for (path, to) in links {
            let group = groups.entry(to).or_insert_with(|| LinkGroup::new(to.clone()));
            tree.link(path, to, group)?;
        }
        Ok(tree)
    }
}

/// What follows each other in one directory and is still to be put there.
#[derive(Default)]
struct Run<'a> {
    /// The directory, and what is the first in it.
    place: Option<(TreePath, &'a TreePath)>,
    nodes: Vec<(Arc<[u8]>, Arc<Node>)>,
}

impl<'a> Run<'a> {
    fn put(&mut self, tree: &mut Tree, path: &'a TreePath, node: Arc<Node>) -> Result<()> {
        if path.as_bytes().len() > LONGEST_PATH {
            return Err(misfit(path, "is too long"));
        }
        let Some(name) = path.name() else { return tree.put(path, node) };
        if !self.place.as_ref().is_some_and(|(directory, _)| path.is_in(directory)) {
            self.end(tree)?;
            self.place = Some((path.parent().unwrap_or_default(), path));
        }
        self.nodes.push((node.named(name), node));
        Ok(())
    }

    fn end(&mut self, tree: &mut Tree) -> Result<()> {
        match self.place.take() {
            Some((_, first)) => tree.put_together(first, self.nodes.drain(..)),
            None => Ok(()),
        }
    }
}
