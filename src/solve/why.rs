//! Why a step is done again: what it was made of in the last build, against what it is made of now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Progress, Solver};
use crate::cache::{Key, LastBuild, LastStep, StepRecord};
use crate::digest::ContentDigest;
use crate::event::{Event, StepId};
use crate::graph::{Op, Vertex, VertexId};
use crate::layer::{Change, Changes, TreePath};
use crate::snapshot::LayerId;

/// What is known of the last build, and what the next one will be told of this one.
#[derive(Default)]
pub(super) struct Memory {
    last: OnceLock<LastBuild>,
    done: Mutex<BTreeMap<VertexId, String>>,
    changed: Mutex<BTreeSet<VertexId>>,
}

/// A step's earlier result.
pub(super) struct Earlier {
    name: String,
    record: Option<StepRecord>,
}

impl Earlier {
    /// What the file system was after the step.
    pub(super) fn identity(&self) -> Option<ContentDigest> {
        self.record.as_ref()?.identity()
    }
}

/// How many paths are named.
const MOST_PATHS: usize = 3;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Solver<'_> {
    /// Returns what the last build knew of a step that has no result under its key; `None` for a new step and for
    /// one whose results are not wanted.
    pub(super) fn earlier(&self, id: VertexId, progress: &Progress) -> Option<Earlier> {
        let vertex = self.graph.get(id);
        if vertex.ignore_cache {
            return None;
        }
        let last = progress.memory.last.get_or_init(|| LastBuild::load(self.store, &self.memory));
        let step = last.find(&vertex.name)?;
        Some(Earlier { name: step.name.clone(), record: step.record(self.store) })
    }

    /// Says why a step is done again. A COPY is asked once it is done, because then it is known which files differ.
    pub(super) fn explain(
        &self,
        id: VertexId,
        (earlier, key): (&Earlier, &Key),
        layer: Option<LayerId>,
        progress: &Progress,
    ) {
        let vertex = self.graph.get(id);
        let is_other_copy = earlier.name != vertex.name && matches!(vertex.op, Op::File(_));
        let why = match &earlier.record {
            _ if is_other_copy => "the instruction changed".to_owned(),
            None => "its earlier result is gone".to_owned(),
            Some(record) => {
                let paths = layer.and_then(|layer| self.differing_paths(record, layer));
                let causes = record.differing(key);
                let causes =
                    causes.iter().map(|part| self.cause(id, part, paths.as_deref(), progress));
                join(causes.collect())
            }
        };
        self.say(Event::Missed { step: StepId(id.0), why });
    }

    /// Notes what a step came to.
    pub(super) fn note(&self, id: VertexId, key: &Key, is_new: bool, progress: &Progress) {
        locked(&progress.memory.done).insert(id, key.key.hex());
        if is_new {
            locked(&progress.memory.changed).insert(id);
        }
    }

    /// Keeps for the next build what this one noted, and of the rest what the last one had.
    pub(super) fn keep_memory(&self, progress: &Progress) {
        let done = locked(&progress.memory.done);
        if done.is_empty() {
            return;
        }
        let last = progress.memory.last.get_or_init(|| LastBuild::load(self.store, &self.memory));
        let step = |(id, vertex): (VertexId, &Vertex)| {
            let name = vertex.name.clone();
            let earlier = || last.steps.iter().find(|step| step.name == name);
            let key = done.get(&id).cloned().or_else(|| earlier().map(|step| step.key.clone()))?;
            Some(LastStep { name, key })
        };
        let steps = self.graph.iter().filter_map(step).collect();
        LastBuild { steps }.save(self.store, &self.memory);
    }

    fn cause(&self, id: VertexId, part: &str, paths: Option<&str>, progress: &Progress) -> String {
        let (kind, rest) = part.split_once(' ').unwrap_or((part, ""));
        let number = rest.parse::<usize>().ok();
        match (kind, &self.graph.get(id).op) {
            ("base", _) => match self.lowest_change(id, progress) {
                Some(name) => format!("`{name}` before it changed"),
                None => "what it is built on changed".to_owned(),
            },
            ("env", _) => format!("the variable `{rest}` changed"),
            ("mount", Op::Run(run)) => {
                let mount = number.and_then(|number| run.mounts.get(number));
                let target = mount.map_or("", |mount| mount.target.as_str());
                format!("what is mounted at `{target}` changed")
            }
            ("action", _) => match paths {
                Some(paths) => format!("{paths} changed"),
                None => "what it copies, or how, changed".to_owned(),
            },
            ("args", _) => "the command changed".to_owned(),
            ("epoch", _) => "SOURCE_DATE_EPOCH changed".to_owned(),
            ("cwd", _) => "the working directory changed".to_owned(),
            (other, _) => format!("its {other} changed"),
        }
    }

    /// The first step below this one whose result is another than before.
    fn lowest_change(&self, id: VertexId, progress: &Progress) -> Option<&str> {
        let changed = locked(&progress.memory.changed);
        let below = std::iter::successors(self.graph.get(id).base, |id| self.graph.get(*id).base);
        below.filter(|id| changed.contains(id)).last().map(|id| self.graph.get(id).name.as_str())
    }

    /// Names the files in which a step's layer differs from its earlier one.
    fn differing_paths(&self, record: &StepRecord, layer: LayerId) -> Option<String> {
        let earlier = LayerId::parse(record.layers.first()?).ok()?;
        let before = self.snapshots().encoded(earlier).ok()?;
        let after = self.snapshots().encoded(layer).ok()?;
        let paths = differing(Changes::each(&before), Changes::each(&after));
        let named: Vec<_> = paths.iter().take(MOST_PATHS).map(|path| format!("`{path}`")).collect();
        let more = paths.len().saturating_sub(MOST_PATHS);
        match (named.as_slice(), more) {
            ([], _) => None,
            (named, 0) => Some(join(named.to_vec())),
            (named, more) => Some(format!("{} and {more} more", named.join(", "))),
        }
    }
}

/// Paths that one list has and the other has not or otherwise, in order; times are no difference. The lists, which may
/// be long, are in order as well.
fn differing(
    before: impl Iterator<Item = (TreePath, Change)>,
    after: impl Iterator<Item = (TreePath, Change)>,
) -> Vec<TreePath> {
    let same = |one: &Change, other: &Change| match (one, other) {
        (Change::Put { kind, meta }, Change::Put { kind: other_kind, meta: other_meta }) => {
            let mut meta = meta.clone();
            meta.mtime = other_meta.mtime;
            kind == other_kind && meta == *other_meta
        }
        (one, other) => one == other,
    };
    let (mut before, mut paths) = (before.peekable(), Vec::new());
    for (path, change) in after {
        while let Some((gone, _)) = before.next_if(|(other, _)| *other < path) {
            paths.push(gone);
        }
        let earlier = before.next_if(|(other, _)| *other == path);
        if earlier.is_none_or(|(_, earlier)| !same(&earlier, &change)) {
            paths.push(path);
        }
    }
    paths.extend(before.map(|(gone, _)| gone));
    paths
}

/// `a`, `a and b`, `a, b and c`
fn join(mut parts: Vec<String>) -> String {
    parts.dedup();
    match parts.pop() {
        None => "nothing that kiln knows of changed".to_owned(),
        Some(last) if parts.is_empty() => last,
        Some(last) => format!("{} and {last}", parts.join(", ")),
    }
}
