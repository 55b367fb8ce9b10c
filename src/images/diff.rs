//! How one image differs from another: paths and config.
//!
//! Parts of the two trees that have the same identity are not looked at. Modification times are not part of it, so
//! they are compared only if that is asked for, and then everything is looked at. Contents are never read.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Library, Result};
use crate::layer::{Aspect, Difference, Kind, LinkGroup, Metadata, Node, NodeKind, Tree, TreePath};
use crate::oci::ImageConfig;

/// How an image differs from another.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The config, in the order of its fields; those that only the second image has are last.
    pub config: Vec<ConfigChange>,
    /// The paths, in order.
    pub files: Vec<FileChange>,
    /// How many more bytes the files of the second image have.
    pub growth: i64,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Which.
    pub path: TreePath,
    /// What happened to it.
    pub what: What,
    /// What it was.
    pub old: Option<Facts>,
    /// What it is.
    pub new: Option<Facts>,
}

/// What happened to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Only the second image has it.
    Added,
    /// Only the first image has it.
    Removed,
    /// Both have it, but not the same.
    Changed {
        /// In what they differ.
        aspects: Vec<Aspect>,
        /// Whether the file has other names than it had.
        links: bool,
    },
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What it is.
    pub kind: Kind,
    /// With which metadata.
    pub meta: Metadata,
    /// How many paths are beneath a directory of which all is new or gone; 0 where these are listed themselves.
    pub below: u64,
    /// The bytes of the file, or of the files beneath such a directory.
    pub bytes: u64,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigChange {
    /// Which, as the image's config names it: `Env`, `Cmd`, `architecture`.
    pub field: String,
    /// Which entry of a field that has named ones: a variable, a label, a port.
    pub key: Option<String>,
    /// What it was.
    pub old: Option<Value>,
    /// What it is.
    pub new: Option<Value>,
}

impl Comparison {
    /// Returns whether the images are the same as far as they were compared.
    pub fn is_empty(&self) -> bool {
        self.config.is_empty() && self.files.is_empty()
    }
}

impl Library {
    /// Compares two images of the local store; `all` lists everything beneath a directory that is new or gone, and
    /// `mtime` compares modification times too.
    pub fn compare(&self, old: &str, new: &str, all: bool, mtime: bool) -> Result<Comparison> {
        let (old, new) = (self.layers(old)?, self.layers(new)?);
        let (before, after) = (&old.1.tree, &new.1.tree);
        let files = Files { before, after, all, mtime, names: OnceCell::new() }.compare();
        let growth = file_bytes(after, &TreePath::root()).cast_signed();
        let growth = growth - file_bytes(before, &TreePath::root()).cast_signed();
        Ok(Comparison { config: config_changes(&old.0.config, &new.0.config), files, growth })
    }
}

type Names = HashMap<LinkGroup, Vec<TreePath>>;

struct Files<'a> {
    before: &'a Tree,
    after: &'a Tree,
    all: bool,
    mtime: bool,
    /// The names of files that have several, once they have been asked for.
    names: OnceCell<[Names; 2]>,
}

impl Files<'_> {
    fn compare(&self) -> Vec<FileChange> {
        let same = |old: &Node, new: &Node| !self.mtime && old.identity() == new.identity();
        let mut changes = Vec::new();
        for difference in self.after.differences(self.before, &same) {
            self.add(difference, &mut changes);
        }
        changes
    }

    fn add(&self, Difference { path, old, new }: Difference<'_>, changes: &mut Vec<FileChange>) {
        let both = old.zip(new);
        let what = match both {
            Some(both) => self.changed(both),
            None if new.is_some() => Some(What::Added),
            None => Some(What::Removed),
        };
        let Some(what) = what else { return };
        let goes_on = both.is_some_and(|(old, new)| old.is_directory() && new.is_directory());
        let facts = |node: &Node, tree: &Tree| self.facts(node, (tree, &path), goes_on);
        let change = FileChange {
            what,
            old: old.map(|node| facts(node, self.before)),
            new: new.map(|node| facts(node, self.after)),
            path: path.clone(),
        };
        changes.push(change);
        if self.all && !goes_on {
            self.add_beneath(&path, changes);
        }
    }

    fn changed(&self, (old, new): (&Node, &Node)) -> Option<What> {
        let mut aspects = new.aspects_since(old);
        aspects.retain(|aspect| self.mtime || *aspect != Aspect::Mtime);
        let links = self.are_linked_otherwise(old, new);
        (links || !aspects.is_empty()).then_some(What::Changed { aspects, links })
    }

    fn are_linked_otherwise(&self, old: &Node, new: &Node) -> bool {
        if old.group().is_none() && new.group().is_none() {
            return false;
        }
        let [before, after] =
            self.names.get_or_init(|| [self.before.link_names(), self.after.link_names()]);
        // The last name of a file that had several is as good as its only one.
        let others = |names: &Names, node: &Node| {
            let names = node.group().and_then(|group| names.get(group));
            names.filter(|names| names.len() > 1).cloned()
        };
        others(before, old) != others(after, new)
    }

    fn facts(&self, node: &Node, (tree, path): (&Tree, &TreePath), goes_on: bool) -> Facts {
        let whole = node.is_directory() && !goes_on && !self.all;
        let below = if whole { tree.walk(path).skip(1).count() as u64 } else { 0 };
        let bytes = match node.body() {
            NodeKind::File { size, .. } => *size,
            _ if whole => file_bytes(tree, path),
            _ => 0,
        };
        Facts { kind: node.kind(), meta: node.meta().clone(), below, bytes }
    }

    fn add_beneath(&self, top: &TreePath, changes: &mut Vec<FileChange>) {
        let beneath = |tree, what: What| {
            Tree::walk(tree, top).skip(1).map(move |(path, node)| {
                let facts = Some(self.facts(node, (tree, &path), false));
                let is_new = what == What::Added;
                let (old, new) = if is_new { (None, facts) } else { (facts, None) };
                FileChange { path, what: what.clone(), old, new }
            })
        };
        changes.extend(beneath(self.before, What::Removed));
        changes.extend(beneath(self.after, What::Added));
    }
}

/// The bytes of the files at and beneath a path, of one with several names there once.
fn file_bytes(tree: &Tree, top: &TreePath) -> u64 {
    let mut seen: HashSet<&LinkGroup> = HashSet::new();
    let sizes = tree.walk(top).map(|(_, node)| match node.body() {
        NodeKind::File { size, .. } if node.group().is_none_or(|group| seen.insert(group)) => *size,
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

/// Fields that say for what machine an image is and who made it; that it was made at another time is no difference.
const OUTSIDE: [&str; 6] = ["architecture", "variant", "os", "os.version", "os.features", "author"];

fn config_changes(old: &ImageConfig, new: &ImageConfig) -> Vec<ConfigChange> {
    let read = |config: &ImageConfig| {
        serde_json::from_slice::<Map<String, Value>>(&config.to_bytes()).unwrap_or_default()
    };
    let (old, new) = (read(old), read(new));
    let mut changes = Vec::new();
    for field in OUTSIDE {
        compare_field(field, (old.get(field), new.get(field)), &mut changes);
    }
    let empty = Map::new();
    let inner = |outer: &Map<String, Value>| {
        outer.get("config").and_then(Value::as_object).unwrap_or(&empty).clone()
    };
    let (old, new) = (inner(&old), inner(&new));
    let only_new = new.keys().filter(|field| !old.contains_key(*field));
    for field in old.keys().chain(only_new) {
        compare_field(field, (old.get(field), new.get(field)), &mut changes);
    }
    changes
}

/// Compares entry by entry where a field has named ones.
fn compare_field(
    field: &str,
    (old, new): (Option<&Value>, Option<&Value>),
    changes: &mut Vec<ConfigChange>,
) {
    if old == new {
        return;
    }
    let before = changes.len();
    if let (Some(old), Some(new)) = (entries(field, old), entries(field, new)) {
        let only_new = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(only_new) {
            let (old, new) = (old.get(key).cloned(), new.get(key).cloned());
            if old != new {
                let key = Some(key.clone());
                changes.push(ConfigChange { field: field.to_owned(), key, old, new });
            }
        }
    }
    // Otherwise, or if only the order differs, the whole of it.
    if changes.len() == before {
        let (old, new) = (old.cloned(), new.cloned());
        changes.push(ConfigChange { field: field.to_owned(), key: None, old, new });
    }
}

/// Returns the named entries of a field; `None` if it has no such.
fn entries(field: &str, value: Option<&Value>) -> Option<BTreeMap<String, Value>> {
    match (field, value) {
        ("Env", Some(Value::Array(variables))) => {
            let pair = |variable: &Value| {
                let (name, value) = variable.as_str()?.split_once('=')?;
                Some((name.to_owned(), value.into()))
            };
            variables.iter().map(pair).collect()
        }
        ("Labels" | "ExposedPorts" | "Volumes", Some(Value::Object(entries))) => {
            Some(entries.clone().into_iter().collect())
        }
        ("Env" | "Labels" | "ExposedPorts" | "Volumes", None) => Some(BTreeMap::new()),
        _ => None,
    }
}
