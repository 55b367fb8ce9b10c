//! What a vertex came to.

use std::sync::{Arc, OnceLock};

use super::error::StepError;
use crate::digest::{ContentDigest, ContentHasher};
use crate::event::Cancel;
use crate::layer::{Tree, TreePath};
use crate::snapshot::{LayerId, Snapshots};
use crate::source::context::Listed;
use crate::store::Store;

/// A file system made of layers.
#[derive(Debug)]
pub struct State {
    /// What it was made on; `None`: nothing.
    pub base: Option<Arc<State>>,
    /// The layers that it put on that, lowest first.
    pub own: Vec<LayerId>,
    /// The identity of the whole.
    pub identity: ContentDigest,
    /// When this build or an earlier one made it, in nanoseconds since the epoch; `None`: it is an image's.
    pub created: Option<i64>,
    tree: OnceLock<Tree>,
}

impl State {
    /// Makes a state whose tree is read when it is needed.
    pub fn new(
        base: Option<Arc<State>>,
        own: Vec<LayerId>,
        identity: ContentDigest,
        created: Option<i64>,
    ) -> Self {
        Self { base, own, identity, created, tree: OnceLock::new() }
    }

    /// The same with its tree known.
    #[must_use]
    pub fn with_tree(self, tree: Tree) -> Self {
        let _ = self.tree.set(tree);
        self
    }

    /// Returns all layers, lowest first.
    pub fn layers(&self) -> Vec<LayerId> {
        self.chain().into_iter().flat_map(|state| &state.own).copied().collect()
    }

    /// Returns the states from the lowest to this one.
    pub fn chain(&self) -> Vec<&State> {
        let mut chain: Vec<_> =
            std::iter::successors(Some(self), |state| state.base.as_deref()).collect();
        chain.reverse();
        chain
    }

    /// Returns the file system, reading what its layers change if nobody did before.
    pub fn tree(&self, snapshots: Snapshots<'_>) -> Result<&Tree, StepError> {
        let chain = self.chain();
        let known = chain.iter().rposition(|state| state.tree.get().is_some());
        let mut tree = known.and_then(|at| chain[at].tree.get()).cloned().unwrap_or_default();
        for state in &chain[known.map_or(0, |at| at + 1)..] {
            for id in &state.own {
                tree = snapshots.stack(&tree, *id)?;
            }
            tree = state.tree.get_or_init(|| tree).clone();
        }
        Ok(self.tree.get_or_init(|| tree))
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // One after the other: a Dockerfile may have more instructions than the stack has room for.
        let mut base = self.base.take();
        while let Some(mut state) = base.and_then(Arc::into_inner) {
            base = state.base.take();
        }
    }
}

/// What a vertex came to.
#[derive(Debug, Clone)]
pub enum Value {
    /// Files that are no layer: a context, a download.
    Files(Files),
    /// Layers.
    State(Arc<State>),
}

/// Files that are no layer.
#[derive(Debug, Clone)]
pub enum Files {
    /// A tree.
    Tree(Tree),
    /// A context, whose tree is made when it is needed.
    Listed(Arc<Listed>),
}

impl Files {
    /// Returns the file system.
    pub fn tree(&self, store: &Store, cancel: &Cancel) -> Result<Tree, StepError> {
        match self {
            Self::Tree(tree) => Ok(tree.clone()),
            Self::Listed(listed) => Ok(listed.tree(store, cancel)?),
        }
    }
}

/// Returns the identity of a whole tree.
pub(super) fn identity_of(tree: &Tree) -> ContentDigest {
    tree.identity(&TreePath::root()).unwrap_or(ContentDigest::of(b""))
}

/// Returns the identity of layers that were put on a base without a look at it: the same for the same layers on the same
/// base. What was written down of them elsewhere is of another base.
pub(super) fn linked_identity(base: Option<&State>, layers: &[LayerId]) -> ContentDigest {
    let mut hasher = ContentHasher::new();
    hasher.field(b"kiln.linked.1");
    hasher.field(base.map_or(&[][..], |base| base.identity.as_bytes()));
    layers.iter().for_each(|layer| hasher.field(layer.name().as_bytes()));
    hasher.content()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_chain_needs_no_deep_stack() {
        let nothing = ContentDigest::of(b"");
        let layer = LayerId::parse(&nothing.hex()).unwrap();
        let mut top = None;
        for _ in 0..100_000 {
            top = Some(Arc::new(State::new(top, vec![layer], nothing, None)));
        }
        let top = top.unwrap();
        assert_eq!(top.layers().len(), 100_000);
        assert!(top.chain()[0].base.is_none());
        drop(top);
    }
}
