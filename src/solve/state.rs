//! What a vertex came to.

use std::sync::{Arc, OnceLock};

use super::error::StepError;
use crate::digest::ContentDigest;
use crate::layer::{Tree, TreePath};
use crate::snapshot::{LayerId, Snapshots};

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
        let mut layers = self.base.as_ref().map_or_else(Vec::new, |base| base.layers());
        layers.extend(&self.own);
        layers
    }

    /// Returns the states from the lowest to this one.
    pub fn chain(&self) -> Vec<&State> {
        let mut chain = self.base.as_ref().map_or_else(Vec::new, |base| base.chain());
        chain.push(self);
        chain
    }

    /// Returns the file system, reading what its layers change if nobody did before.
    pub fn tree(&self, snapshots: Snapshots<'_>) -> Result<&Tree, StepError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let mut tree = match &self.base {
            Some(base) => base.tree(snapshots)?.clone(),
            None => Tree::empty(),
        };
        for id in &self.own {
            tree = snapshots.stack(&tree, *id)?;
        }
        Ok(self.tree.get_or_init(|| tree))
    }
}

/// What a vertex came to.
#[derive(Debug, Clone)]
pub enum Value {
    /// Files that are no layer: a context, a download.
    Files(Arc<Tree>),
    /// Layers.
    State(Arc<State>),
}

impl Value {
    /// Returns the file system.
    pub fn tree(&self, snapshots: Snapshots<'_>) -> Result<Tree, StepError> {
        match self {
            Self::Files(tree) => Ok(Tree::clone(tree)),
            Self::State(state) => Ok(state.tree(snapshots)?.clone()),
        }
    }
}

/// Returns the identity of a whole tree.
pub(super) fn identity_of(tree: &Tree) -> ContentDigest {
    tree.identity(&TreePath::root()).unwrap_or(ContentDigest::of(b""))
}
