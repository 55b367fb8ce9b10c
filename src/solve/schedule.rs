//! What runs when: looking up from the targets down, then running what was not found from the bottom up.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Instant;

use super::error::StepError;
use super::hashing::Hashing;
use super::{Progress, SolveError, Solver, State, Value, state};
use crate::cache::{self, Key, StepRecord};
use crate::digest::ContentDigest;
use crate::event::{Cancel, Event, StepId};
use crate::graph::{ImageSource, Op, VertexId};
use crate::parallel;
use crate::snapshot::LayerId;

/// A vertex that is done, and layers whose diff id is still to be found.
type Executed = Result<(Value, Vec<LayerId>), SolveError>;

impl Solver<'_> {
    /// Looks vertices up from the targets, which are in `open`, down; returns those that must run.
    pub(super) fn plan(
        &self,
        mut open: Vec<VertexId>,
        progress: &Progress,
    ) -> Result<BTreeSet<VertexId>, SolveError> {
        let mut pending = BTreeSet::new();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) || progress.value(id).is_some() {
                continue;
            }
            let found = self.look_up(id, progress).map_err(|error| self.failed(id, error))?;
            if found.is_none() {
                pending.insert(id);
                open.extend(self.graph.get(id).inputs());
            }
        }
        let found = progress.values.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, value) in &*found {
            if matches!(value, Value::State(_)) {
                let name = self.graph.get(*id).name.clone();
                self.say(Event::Cached { step: StepId(id.0), name });
            }
        }
        drop(found);
        Ok(pending)
    }

    /// Finds a vertex, and with it all that it is built upon, by definition keys alone.
    fn look_up(&self, id: VertexId, progress: &Progress) -> Result<Option<Arc<State>>, StepError> {
        // One guard for all of them: what is found is then written into the lease at once.
        let _guard = self.store.guard();
        let (mut found, mut base, mut next) = (Vec::new(), None, Some(id));
        while let Some(id) = next {
            base = progress.state(Some(id));
            if base.is_some() {
                break;
            }
            let vertex = self.graph.get(id);
            let (false, Some(key)) = (progress.uncached.contains(&id), progress.keys.get(&id))
            else {
                return Ok(None);
            };
            let Some(record) = cache::find(self.store, &key.key)? else { return Ok(None) };
            found.push((id, record));
            next = vertex.base;
        }
        for (id, record) in found.into_iter().rev() {
            let linked = self.graph.get(id).is_linked();
            let Some(state) = from_record(base, &record, linked) else { return Ok(None) };
            let state = Arc::new(state);
            progress.set(id, Value::State(Arc::clone(&state)));
            base = Some(state);
        }
        Ok(base)
    }

    /// Runs what must run, each as soon as its inputs are done.
    pub(super) fn run_pending(
        &self,
        pending: &BTreeSet<VertexId>,
        progress: &Progress,
    ) -> Result<(), SolveError> {
        let cancel = self.cancel.child();
        let processors = parallel::processors();
        let hashing = Hashing::new(processors);
        let (sender, receiver) = mpsc::channel();
        let mut waiting = pending.clone();
        let runs = |id: &&VertexId| matches!(self.graph.get(**id).op, Op::Run(_));
        self.sandbox.expect(pending.iter().filter(runs).count());
        // Commands wait for networks and each other, and the system shares the processors between them; kiln's own
        // work only gets in its own way.
        let (mut running, mut working) = (0_usize, 0_usize);
        let works = |id: VertexId| matches!(self.graph.get(id).op, Op::File(_));
        let mut failure: Option<SolveError> = None;
        std::thread::scope(|scope| {
            while running > 0 || (!waiting.is_empty() && failure.is_none()) {
                while failure.is_none() && running < self.jobs.max(1) {
                    let may = |id: &VertexId| {
                        (working < processors || !works(*id)) && self.is_ready(*id, progress)
                    };
                    let Some(id) = waiting.iter().copied().find(may) else { break };
                    waiting.remove(&id);
                    running += 1;
                    working += usize::from(works(id));
                    let (sender, cancel) = (sender.clone(), cancel.clone());
                    scope.spawn(move || {
                        let work = || self.execute(id, progress, &cancel);
                        let result = catch_unwind(AssertUnwindSafe(work));
                        // The receiver outlives every sender: it is dropped after the scope.
                        let _ = sender.send((id, result));
                    });
                }
                let Ok((id, result)) = receiver.recv() else { break };
                running -= 1;
                working -= usize::from(works(id));
                let result = result.unwrap_or_else(|panic| {
                    // The others end before the scope passes it on.
                    cancel.cancel();
                    resume_unwind(panic)
                });
                match result {
                    Ok((value, unhashed)) => {
                        if let Value::State(state) = &value {
                            (self.made)(id, &state.own);
                        }
                        progress.set(id, value);
                        for layer in unhashed {
                            hashing.add(layer, self.snapshots(), scope);
                        }
                    }
                    Err(error) => {
                        cancel.cancel();
                        if failure.as_ref().is_none_or(|first| first.error.is_canceled()) {
                            failure = Some(error);
                        }
                    }
                }
            }
        });
        failure.map_or(Ok(()), Err)
    }

    fn is_ready(&self, id: VertexId, progress: &Progress) -> bool {
        self.graph.get(id).inputs().iter().all(|input| progress.value(*input).is_some())
    }

    /// Brings about a vertex whose inputs are done.
    fn execute(&self, id: VertexId, progress: &Progress, cancel: &Cancel) -> Executed {
        if cancel.is_canceled() {
            return Err(SolveError { vertex: id, error: StepError::Canceled });
        }
        if let Op::Image(image) = &self.graph.get(id).op {
            let state = self.timed(id, || self.image(id, image, progress))?;
            return Ok((Value::State(Arc::new(state)), Vec::new()));
        }
        let key = self.content_key(id, progress).map_err(|error| self.failed(id, error))?;
        let lock = self.store.lock(&format!("step-{}", key.key.hex()), &|| cancel.is_canceled());
        let lock = lock.map_err(StepError::from).and_then(|lock| lock.ok_or(StepError::Canceled));
        let _lock = lock.map_err(|error| SolveError { vertex: id, error })?;
        match self.found_by_content(id, &key, progress).map_err(|error| self.failed(id, error))? {
            Some(state) => Ok((Value::State(Arc::new(state)), Vec::new())),
            None => self.make(id, &key, progress, cancel),
        }
    }

    fn found_by_content(
        &self,
        id: VertexId,
        key: &Key,
        progress: &Progress,
    ) -> Result<Option<State>, StepError> {
        let vertex = self.graph.get(id);
        if vertex.ignore_cache {
            return Ok(None);
        }
        let Some(record) = cache::find(self.store, &key.key)? else { return Ok(None) };
        let Some(state) = from_record(progress.state(vertex.base), &record, vertex.is_linked())
        else {
            return Ok(None);
        };
        self.remember(id, progress, key, &record)?;
        self.note(id, key, false, progress);
        self.say(Event::Cached { step: StepId(id.0), name: vertex.name.clone() });
        Ok(Some(state))
    }

    fn make(&self, id: VertexId, key: &Key, progress: &Progress, cancel: &Cancel) -> Executed {
        let vertex = self.graph.get(id);
        let base = progress.state(vertex.base);
        let earlier = self.earlier(id, progress);
        let earlier = earlier.as_ref();
        let (state, unhashed) = self.timed(id, || {
            let begun = Instant::now();
            let ((tree, layer), unhashed) = match &vertex.op {
                Op::Run(run) => {
                    if let Some(earlier) = earlier {
                        self.explain(id, (earlier, key), None, progress);
                    }
                    let made = self.run_step(id, run, progress, cancel)?;
                    let unhashed = !self.snapshots().knows_diff_id(made.1);
                    let layers = unhashed.then_some(made.1).into_iter().collect();
                    (made, layers)
                }
                Op::File(file) => {
                    let made = self.file_step(id, file, base.as_deref(), progress)?;
                    if let Some(earlier) = earlier {
                        self.explain(id, (earlier, key), Some(made.1), progress);
                    }
                    (made, Vec::new())
                }
                Op::Image(_) | Op::Files(_) | Op::Http(_) | Op::Git(_) => {
                    unreachable!("sources are done")
                }
            };
            let created = Some(self.now_nanoseconds(id));
            let identity = match vertex.is_linked() {
                true => state::linked_identity(base.as_deref(), &[layer]),
                false => state::identity_of(&tree),
            };
            let base_key = vertex.base.and_then(|id| progress.keys.get(&id));
            let record = StepRecord {
                base: base_key.map(|key| key.key.hex()),
                took: milliseconds(begun),
                ..record_of(&vertex.name, &[layer], identity, created)
            };
            self.remember(id, progress, key, &record)?;
            let is_new = earlier.is_none_or(|earlier| earlier.identity() != Some(identity));
            self.note(id, key, is_new, progress);
            let state = State::new(base, vec![layer], identity, created);
            // One that nobody waits for is read again if an output asks for it: it may be large, and few do.
            let state = match progress.awaited.contains(&id) {
                true => state.with_tree(tree),
                false => state,
            };
            Ok((state, unhashed))
        })?;
        Ok((Value::State(Arc::new(state)), unhashed))
    }

    fn remember(
        &self,
        id: VertexId,
        progress: &Progress,
        key: &Key,
        record: &StepRecord,
    ) -> Result<(), StepError> {
        cache::remember(self.store, key, record)?;
        if let Some(definition) = progress.keys.get(&id) {
            cache::remember(self.store, definition, record)?;
        }
        Ok(())
    }

    fn image(
        &self,
        id: VertexId,
        image: &ImageSource,
        progress: &Progress,
    ) -> Result<State, StepError> {
        let report = |what: &str, current, total| self.progress(id, what, current, total);
        let begun = Instant::now();
        let fetched = self.images.fetch(&image.request, &report)?;
        let identity = state::identity_of(&fetched.tree);
        let record = StepRecord {
            took: milliseconds(begun),
            ..record_of(&self.graph.get(id).name, &fetched.layers, identity, None)
        };
        if let Some(key) = progress.keys.get(&id) {
            cache::remember(self.store, key, &record)?;
        }
        Ok(State::new(None, fetched.layers, identity, None).with_tree(fetched.tree))
    }
}

fn record_of(
    name: &str,
    layers: &[LayerId],
    identity: ContentDigest,
    created: Option<i64>,
) -> StepRecord {
    StepRecord {
        layers: layers.iter().map(LayerId::name).collect(),
        tree: identity.hex(),
        created,
        name: name.to_owned(),
        took: None,
        base: None,
        parts: Vec::new(),
    }
}

fn milliseconds(begun: Instant) -> Option<u64> {
    u64::try_from(begun.elapsed().as_millis()).ok()
}

fn from_record(base: Option<Arc<State>>, record: &StepRecord, linked: bool) -> Option<State> {
    let layers =
        record.layers.iter().map(|name| LayerId::parse(name).ok()).collect::<Option<Vec<_>>>()?;
    let identity = match linked {
        true => state::linked_identity(base.as_deref(), &layers),
        false => record.identity()?,
    };
    Some(State::new(base, layers, identity, record.created))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::Dockerfile;
    use crate::event::Event;
    use crate::graph::{self, Bases, Request, RunNetwork};
    use crate::oci::Platform;
    use crate::registry::{Settings, Web};
    use crate::sandbox::Recording;
    use crate::snapshot::{Choice, SnapshotterKind};
    use crate::source::image::Images;
    use crate::store::Store;

    #[test]
    fn a_step_that_panics_ends_the_solve() {
        let text = b"FROM scratch\nRUN [\"/a\"]\n";
        let request = Request { network: RunNetwork::None, ..Request::new(Platform::host()) };
        let file = Dockerfile::parse(text).unwrap();
        let plan = graph::lower(&file, &request, &Bases::new(), &mut Vec::new()).unwrap();
        let root = tempfile::tempdir().unwrap();
        let (store, cancel) = (Store::open(root.path()).unwrap(), Cancel::new());
        let web = Web::new(&Settings::default(), &cancel).unwrap();
        let images = Images::new(&store, web.client, false, cancel.clone());
        let sandbox = Recording::new(|_, _| panic!("in the sandbox"));
        let reporter = |_: Event| {};
        let snapshotters = Choice::new(SnapshotterKind::Copy, &store, &sandbox, &reporter);
        let solver = Solver {
            store: &store,
            images: &images,
            agent: &web.agent,
            sandbox: &sandbox,
            snapshotters: &snapshotters,
            emulators: &Default::default(),
            graph: &plan.graph,
            reporter: &reporter,
            cancel,
            contexts: Vec::new(),
            secrets: &[],
            ssh: &[],
            hosts: &[],
            ulimits: &[],
            shm_size: 0,
            limits: &Default::default(),
            gateway: None,
            jobs: 1,
            made: &|_, _| {},
            compression: None,
            memory: String::new(),
        };
        let solved = catch_unwind(AssertUnwindSafe(|| solver.solve(&[plan.result])));
        assert_eq!(*solved.unwrap_err().downcast::<&str>().unwrap(), "in the sandbox");
    }
}
