//! Solves a graph: finds in the cache what can be found, and does the rest, as much at once as the graph allows.
//!
//! 1. Sources that are no layers (contexts, downloads) are read, because keys depend on what is in them.
//! 2. Every vertex gets its definition key, inputs first.
//! 3. From the result down, vertices are looked up; below one that is found nothing is looked at.
//! 4. What was not found runs as soon as its inputs are done, on as many threads as were asked for. Before it runs
//!    it is looked up again by content, which its inputs now have. One failure cancels the rest.
//!
//! A step that another process is running at this moment is awaited, not run twice.

mod copy;
mod error;
mod file;
mod foreign;
mod hashing;
mod keys;
mod mounts;
mod run;
mod schedule;
pub mod secret;
mod select;
mod state;
pub mod user;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

pub use error::StepError;
pub use state::{Files, State, Value};

use secret::{LARGEST_SECRET, Secret, SecretSource};

use crate::cache::{self, InputKey, Key};
use crate::event::{Cancel, Event, Reporter, StepId};
use crate::graph::{FileAction, FileOp, FilesSource, Graph, Op, Vertex, VertexId};
use crate::layer::{Compression, Timestamp, Tree, TreeContents};
use crate::registry::agent::Agent;
use crate::sandbox::spec::{Limits, Rlimit};
use crate::sandbox::{Emulators, Gateway, Sandbox};
use crate::snapshot::{Choice, LayerId, Snapshots};
use crate::source::context::LocalContext;
use crate::source::http;
use crate::source::image::Images;
use crate::store::Store;

/// Where a context's files come from.
#[derive(Debug, Clone)]
pub enum ContextFiles {
    /// A directory.
    Local(LocalContext),
    /// An archive that was read.
    Tree(Tree),
}

/// What a solve needs besides the graph.
pub struct Solver<'a> {
    /// The store.
    pub store: &'a Store,
    /// Images.
    pub images: &'a Images<'a>,
    /// The web.
    pub agent: &'a Agent,
    /// What runs commands.
    pub sandbox: &'a dyn Sandbox,
    /// What makes their file systems.
    pub snapshotters: &'a Choice<'a>,
    /// What runs those for another CPU.
    pub emulators: &'a Emulators,
    /// The graph.
    pub graph: &'a Graph,
    /// Who hears of it.
    pub reporter: &'a dyn Reporter,
    /// When to stop.
    pub cancel: Cancel,
    /// Contexts; one that is not named here is empty.
    pub contexts: Vec<(FilesSource, ContextFiles)>,
    /// `--secret`
    pub secrets: &'a [Secret],
    /// `--ssh`
    pub ssh: &'a [(String, PathBuf)],
    /// `--add-host`: name and address.
    pub hosts: &'a [(String, String)],
    /// `--ulimit`
    pub ulimits: &'a [Rlimit],
    /// `--shm-size`
    pub shm_size: u64,
    /// What each command may use of the machine; in no key.
    pub limits: &'a Limits,
    /// What connects the network of steps that do not ask for one; `None`: they have the host's.
    pub gateway: Option<Gateway>,
    /// How many steps may run at once.
    pub jobs: usize,
    /// Hears of every vertex that was executed, and of the layers that it made.
    pub made: &'a (dyn Fn(VertexId, &[LayerId]) + Sync),
    /// How an output wants the layers of the targets, as far as they are made here; `None`: not compressed.
    pub compression: Option<Compression>,
    /// Under which name the steps of this build are remembered ([`crate::cache::LastBuild::name`]).
    pub memory: String,
}

/// A vertex that failed.
#[derive(Debug)]
pub struct SolveError {
    /// Which.
    pub vertex: VertexId,
    /// Why.
    pub error: StepError,
}

/// Keys and values of one solve.
#[derive(Default)]
struct Progress {
    keys: BTreeMap<VertexId, Key>,
    /// By what the others know those with `--link`.
    linked: BTreeMap<VertexId, InputKey>,
    /// What `--no-cache` and its kin name, and everything made of it: only its content can tell what the latter is.
    uncached: BTreeSet<VertexId>,
    /// What others that must run are made of.
    awaited: BTreeSet<VertexId>,
    /// Whose layers are compressed while they are packed.
    compressed: BTreeSet<VertexId>,
    values: Mutex<BTreeMap<VertexId, Value>>,
    /// How many vertices are still to take of another.
    uses: Mutex<BTreeMap<VertexId, usize>>,
    memory: why::Memory,
}

impl Progress {
    fn value(&self, id: VertexId) -> Option<Value> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn set(&self, id: VertexId, value: Value) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).insert(id, value);
    }

    fn forget(&self, id: VertexId) {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Forgets the files that no vertex will take of.
    fn forget_idle(&self) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.retain(|id, value| match value {
            Value::Files(_) => self.awaited.contains(id),
            Value::State(_) => true,
        });
    }

    /// Counts what vertices that are to run will take of others.
    fn count_uses(&self, graph: &Graph, pending: &BTreeSet<VertexId>) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        for id in pending {
            let inputs: BTreeSet<VertexId> = graph.get(*id).inputs().iter().copied().collect();
            inputs.into_iter().for_each(|input| *uses.entry(input).or_default() += 1);
        }
    }

    /// Notes that a vertex has taken what it takes of another; returns whether it was the last one.
    fn used(&self, id: VertexId) -> bool {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.get_mut(&id).is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        })
    }

    fn state(&self, id: Option<VertexId>) -> Option<Arc<State>> {
        match self.value(id?) {
            Some(Value::State(state)) => Some(state),
            Some(Value::Files(_)) | None => None,
        }
    }

    fn key(&self, id: Option<VertexId>) -> InputKey {
        let Some(id) = id else { return InputKey::Empty };
        let own = || self.keys.get(&id).map(|key| InputKey::Definition(key.key));
        self.linked.get(&id).copied().or_else(own).unwrap_or(InputKey::Empty)
    }
}

impl<'a> Solver<'a> {
    fn snapshots(&self) -> Snapshots<'_> {
        Snapshots::new(self.store).until(&self.cancel)
    }

    /// Returns the file system that a vertex came to.
    fn tree(&self, value: &Value) -> Result<Tree, StepError> {
        match value {
            Value::Files(files) => files.tree(self.store, &self.cancel),
            Value::State(state) => Ok(state.tree(self.snapshots())?.clone()),
        }
    }

    fn say(&self, event: Event) {
        self.reporter.report(event);
    }

    /// Brings about what is wanted, as much of it at once as possible; returns what each came to.
    pub fn solve(
        &self,
        targets: &[Option<VertexId>],
    ) -> Result<Vec<Option<Arc<State>>>, SolveError> {
        let mut progress = Progress::default();
        self.read_sources(&progress)?;
        for (id, vertex) in self.graph.iter() {
            if vertex.ignore_cache
                || vertex.inputs().iter().any(|id| progress.uncached.contains(id))
            {
                progress.uncached.insert(id);
            }
            let key = self.definition_key(id, &progress).map_err(|error| self.failed(id, error))?;
            if let Some(key) = key {
                if vertex.is_linked() {
                    let linked = cache::linked_key(&key, progress.key(vertex.base));
                    progress.linked.insert(id, linked);
                }
                progress.keys.insert(id, key);
            }
        }
        self.keep_selections(&progress);
        let pending = self.plan(targets.iter().flatten().copied().collect(), &progress)?;
        self.refuse_foreign(&pending)?;
        progress.awaited = pending.iter().flat_map(|id| self.graph.get(*id).inputs()).collect();
        progress.forget_idle();
        progress.compressed = self.compressed_at_once(targets, &progress.awaited);
        progress.count_uses(self.graph, &pending);
        let ran = self.run_pending(&pending, &progress);
        self.keep_memory(&progress);
        ran?;
        let state = |target: &Option<VertexId>| match target {
            None => Ok(None),
            Some(id) => match progress.state(Some(*id)) {
                Some(state) => Ok(Some(state)),
                None => Err(SolveError { vertex: *id, error: StepError::Canceled }),
            },
        };
        targets.iter().map(state).collect()
    }

    /// Returns the vertices whose layers an output wants compressed, and which no step waits for: one that does should
    /// not wait for that.
    fn compressed_at_once(
        &self,
        targets: &[Option<VertexId>],
        awaited: &BTreeSet<VertexId>,
    ) -> BTreeSet<VertexId> {
        let chain = |top| std::iter::successors(top, |id: &VertexId| self.graph.get(*id).base);
        targets.iter().flat_map(|top| chain(*top)).filter(|id| !awaited.contains(id)).collect()
    }

    /// Says that a vertex failed before it could start.
    fn failed(&self, id: VertexId, error: StepError) -> SolveError {
        let step = StepId(id.0);
        self.say(Event::Started { step, name: self.graph.get(id).name.clone() });
        self.say(Event::Failed { step, message: error.to_string() });
        SolveError { vertex: id, error }
    }

    /// Reads contexts and downloads, several at once. One failure stops the rest.
    fn read_sources(&self, progress: &Progress) -> Result<(), SolveError> {
        let is_source = |(id, vertex): (VertexId, &Vertex)| match vertex.op {
            Op::Files(_) | Op::Http(_) | Op::Git(_) => Some(id),
            Op::Image(_) | Op::Run(_) | Op::File(_) => None,
        };
        let sources: Vec<_> = self.graph.iter().filter_map(is_source).collect();
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let cancel = self.cancel.child();
        let work = || {
            while let Some(id) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
                let read = match cancel.is_canceled() {
                    true => Err(SolveError { vertex: *id, error: StepError::Canceled }),
                    false => self.timed(*id, || self.source(*id, &cancel)),
                };
                match read {
                    Ok(files) => progress.set(*id, Value::Files(files)),
                    Err(error) => {
                        cancel.cancel();
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.jobs.min(sources.len()) {
                scope.spawn(work);
            }
            work();
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn source(&self, id: VertexId, cancel: &Cancel) -> Result<Files, StepError> {
        match &self.graph.get(id).op {
            Op::Files(source) => self.context(source),
            Op::Http(source) => {
                let report = |current, total| self.progress(id, &source.filename, current, total);
                let fetched = http::fetch(self.store, self.agent, source, &report, cancel);
                Ok(Files::Tree(fetched?))
            }
            Op::Git(source) => {
                let message = format!("cannot fetch `{}`: git is not supported yet", source.remote);
                Err(StepError::Unsupported(message))
            }
            Op::Image(_) | Op::Run(_) | Op::File(_) => unreachable!("these are no sources"),
        }
    }

    fn context(&self, source: &FilesSource) -> Result<Files, StepError> {
        let files = self.contexts.iter().find(|(known, _)| known == source).map(|(_, files)| files);
        Ok(match files {
            Some(ContextFiles::Local(local)) => {
                let listed = local.list(&self.cancel)?;
                if !listed.is_known(self.store) {
                    // Here and not when it is needed: this is the step that reads the files.
                    listed.tree(self.store, &self.cancel)?;
                }
                Files::Listed(Arc::new(listed))
            }
            Some(ContextFiles::Tree(tree)) => Files::Tree(tree.clone()),
            None => Files::Tree(Tree::empty()),
        })
    }

    /// Writes down what instructions take of contexts in the state that these are in.
    fn keep_selections(&self, progress: &Progress) {
        for value in progress.values.lock().unwrap_or_else(PoisonError::into_inner).values() {
            if let Value::Files(Files::Listed(listed)) = value {
                listed.remember(self.store);
            }
        }
    }

    fn progress(&self, id: VertexId, what: &str, current: u64, total: u64) {
        self.say(Event::Progress { step: StepId(id.0), what: what.to_owned(), current, total });
    }

    /// Does something under the name of a vertex.
    fn timed<T>(
        &self,
        id: VertexId,
        work: impl FnOnce() -> Result<T, StepError>,
    ) -> Result<T, SolveError> {
        let step = StepId(id.0);
        let start = Instant::now();
        self.say(Event::Started { step, name: self.graph.get(id).name.clone() });
        // Whatever failed when the user had asked to stop was stopped.
        let result = work().map_err(|error| match self.cancel.is_canceled() {
            true => StepError::Canceled,
            false => error,
        });
        self.say(match &result {
            Ok(_) => Event::Done { step, took: start.elapsed() },
            Err(error) if error.is_canceled() => Event::Canceled { step },
            Err(error) => Event::Failed { step, message: error.to_string() },
        });
        result.map_err(|error| SolveError { vertex: id, error })
    }

    fn file_step(
        &self,
        id: VertexId,
        file: &FileOp,
        base: Option<&State>,
        progress: &Progress,
    ) -> Result<(Tree, LayerId), StepError> {
        // Whether what is copied may be read from where it is: layers stay.
        let (mut sources, mut lasting) = (Vec::new(), true);
        for action in &file.actions {
            let value = action.input().and_then(|id| progress.value(id));
            lasting &= matches!(value, Some(Value::State(_)));
            sources.push(value.map(|value| self.tree(&value)).transpose()?);
        }
        let whole = base.map(|state| state.tree(self.snapshots()).cloned()).transpose()?;
        let start = whole.as_ref().filter(|_| !file.link);
        let taken = file.actions.iter().zip(&sources);
        let taken = taken.map(|(action, source)| file::take(action, source.as_ref()));
        let taken = taken.collect::<Result<_, _>>()?;
        // What is copied is in hand, and what a context was listed as may go before there is more.
        self.release(file, progress);
        drop(sources);
        let edit = file::perform(self.store, start, &file.actions, taken, self.now(id))?;
        let (tree, changes) = edit.finish();
        let copied = TreeContents(tree);
        let compression = self.compression.filter(|_| progress.compressed.contains(&id));
        let report = |done, total| self.progress(id, "layer", done, total);
        let snapshots = self.snapshots().telling(&report);
        let layer = match compression {
            Some(how) => snapshots.commit_compressed(&changes, &copied, how)?,
            None => snapshots.commit_packed(&changes, &copied)?,
        };
        // With `--link` the copied is not the whole.
        if !file.link && (lasting || !progress.awaited.contains(&id)) {
            return Ok((copied.0, layer));
        }
        // From here on the files are read from the layer: what they were copied from, unless it is a layer, may go away.
        let contents = snapshots.contents(layer, &changes)?;
        let tree = match whole.filter(|_| file.link) {
            Some(whole) => whole.apply(&changes, &contents)?,
            None => copied.0.read_from(&changes, &contents)?,
        };
        Ok((tree, layer))
    }

    /// Forgets the files that a file operation has taken, unless they are layers or another vertex takes of them too:
    /// a context may have hundreds of thousands.
    fn release(&self, file: &FileOp, progress: &Progress) {
        let inputs: BTreeSet<VertexId> =
            file.actions.iter().filter_map(FileAction::input).collect();
        for input in inputs {
            if matches!(progress.value(input), Some(Value::Files(_))) && progress.used(input) {
                progress.forget(input);
            }
        }
    }

    fn now(&self, id: VertexId) -> Timestamp {
        let nanoseconds = self.now_nanoseconds(id);
        Timestamp {
            seconds: nanoseconds.div_euclid(1_000_000_000),
            nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
        }
    }

    /// The time that what a vertex makes gets.
    fn now_nanoseconds(&self, id: VertexId) -> i64 {
        match self.graph.get(id).epoch {
            Some(seconds) => seconds.saturating_mul(1_000_000_000),
            None => {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as i64)
            }
        }
    }

    fn secret(&self, id: &str) -> Option<Result<Vec<u8>, StepError>> {
        let secret = self.secrets.iter().rev().find(|secret| secret.id == id)?;
        let bad = |problem: String| StepError::Secret { id: id.to_owned(), problem };
        let value = match &secret.source {
            SecretSource::Value(value) => Ok(value.clone()),
            SecretSource::File(path) => crate::fs::read_start(path, LARGEST_SECRET + 1)
                .map_err(|error| bad(format!("{error}: {}", error.source))),
        };
        Some(value.and_then(|value| match value.len() as u64 > LARGEST_SECRET {
            true => Err(bad(format!("it has more than {} KiB", LARGEST_SECRET >> 10))),
            false => Ok(value),
        }))
    }
}
