//! What the store takes on the disk, and removing what nobody needs.
//!
//! There is no index and no count of references: the records are read, everything in the store becomes a node of a
//! graph (`inventory`), and what is not reached from a root can go. Roots are the tags and whatever live processes
//! hold ([`crate::store`], `hold`). What goes is chosen at leisure (`plan`) and taken away in an instant in which nothing
//! can be looked up (`remove`), after looking once more at what was used meanwhile.
//!
//! [`hold_cap`] does the same after a build, if a note of the total says that there is too much (`cap`).

mod cap;
mod documents;
mod inventory;
mod links;
mod plan;
mod remove;
mod size;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

pub use cap::hold_cap;

use crate::fs::{PathError, remedy};
use crate::store::{Store, StoreError};
use inventory::Inventory;
use plan::Plan;

/// Why garbage was not collected.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl GcError {
    /// Returns a remedy, if there is one to name.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Path(_) => remedy(self),
        }
    }
}

/// A result of this module.
pub type Result<T> = std::result::Result<T, GcError>;

/// What something in the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A manifest, a config, a layer as it was pulled; or an image's id.
    Image,
    /// A layer's files: as a directory, as a tar.
    Layer,
    /// What a step of a build made.
    Step,
    /// The directory of a `RUN --mount=type=cache`.
    Mount,
    /// What was known of a context's files, and of the last build of a Dockerfile.
    Context,
    /// A layer as an output wanted it compressed.
    Compressed,
    /// A file that ADD brought here.
    Download,
    /// Files in the making.
    Temporary,
    /// Names, locks, and the directories of the store itself.
    Internal,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Image,
        Self::Layer,
        Self::Step,
        Self::Mount,
        Self::Context,
        Self::Compressed,
        Self::Download,
        Self::Temporary,
        Self::Internal,
    ];

    /// Returns its name, as people see and write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Layer => "layer",
            Self::Step => "step",
            Self::Mount => "mount",
            Self::Context => "context",
            Self::Compressed => "compressed",
            Self::Download => "download",
            Self::Temporary => "temporary",
            Self::Internal => "internal",
        }
    }
}

/// Something in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name, of its kind: a digest in hexadecimal, a tag.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// What it takes on the disk, in bytes.
    pub size: u64,
    /// When it was last used; `None` where that means nothing.
    pub used: Option<SystemTime>,
    /// Whether `prune --all` would remove it.
    pub reclaimable: bool,
    /// What people call it: a step's text, an image's names. May be empty.
    pub description: String,
}

/// Which things are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that were last used before.
    pub until: Option<SystemTime>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<Kind>,
}

/// What to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// Everything that no tag needs, not only what has nothing to do with any.
    pub all: bool,
    /// Only of these.
    pub filter: Filter,
    /// Only until the store takes no more than this many bytes.
    pub keep: Option<u64>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Each thing, with the bytes that the disk got back for it.
    pub items: Vec<Item>,
}

impl Pruned {
    /// Returns the bytes that the disk got back.
    pub fn size(&self) -> u64 {
        self.items.iter().map(|item| item.size).sum()
    }
}

/// Lists everything in the store that the filter lets through, largest first. Without a filter the sizes add up to what `du`
/// says of the state root.
pub fn usage(store: &Store, filter: &Filter) -> Result<Vec<Item>> {
    let held = store.collect()?.held().clone();
    let inventory = Inventory::read(store)?;
    let all = Prune { all: true, ..Prune::default() };
    let mut roots = inventory.places(held.iter());
    roots.extend(inventory.at(&store.own_mark()));
    let removed = Plan::new(&inventory, &all, roots).choose();
    let mut items: Vec<Item> = (0..inventory.nodes.len())
        .map(|index| inventory.item(index, removed.contains(&index)))
        .chain(inventory.rest())
        .filter(|item| filter.lets(item.kind, item.used))
        .collect();
    items.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| (a.kind, &a.id).cmp(&(b.kind, &b.id))));
    Ok(items)
}

/// Removes what nobody needs.
pub fn prune(store: &Store, prune: &Prune) -> Result<Pruned> {
    let survey = Survey::begin(store)?;
    let inventory = Inventory::read(store)?;
    let plan = Plan::new(&inventory, prune, survey.roots(&inventory));
    remove::remove(store, &inventory, plan.choose(), survey.since)
}

/// What was in use when a collection began.
struct Survey {
    since: SystemTime,
    /// The mark by which this boot's records count.
    mark: String,
    held: std::collections::HashSet<String>,
}

impl Survey {
    /// Begins at a tick of the file system's clock, so that whatever was used before is marked with an earlier time.
    fn begin(store: &Store) -> Result<Self> {
        let first = store.file_time()?;
        while store.file_time()? == first {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let collection = store.collect()?;
        let held = collection.held().clone();
        Ok(Self { since: collection.since(), mark: store.own_mark(), held })
    }

    /// Returns what was held then or used since.
    fn roots(&self, inventory: &Inventory) -> Vec<usize> {
        let used = (0..inventory.nodes.len()).filter(|at| inventory.nodes[*at].used >= self.since);
        let held = inventory.places(self.held.iter()).into_iter();
        held.chain(inventory.at(&self.mark)).chain(used).collect()
    }
}

impl Filter {
    fn lets(&self, kind: Kind, used: Option<SystemTime>) -> bool {
        let is_old = match (self.until, used) {
            (Some(until), Some(used)) => used < until,
            (Some(_), None) => false,
            (None, _) => true,
        };
        is_old && (self.kinds.is_empty() || self.kinds.contains(&kind))
    }
}
