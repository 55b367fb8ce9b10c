//! One command: its file system, its mounts, its process, and what it left.

use super::error::StepError;
use super::mounts::{Mounted, mount_all};
use super::{Progress, Solver, user};
use crate::event::{Cancel, Event, StepId, Stream};
use crate::fs::has_no_space;
use crate::graph::{Run, RunNetwork, VertexId};
use crate::layer::Tree;
use crate::ownership::Owned;
use crate::sandbox::spec::{Network, Process, Root, Security, Spec};
use crate::sandbox::{Ended, Exit, Io, Remains};
use crate::snapshot::upper::owned_below;
use crate::snapshot::{Base, LayerId, Left};

/// How many lines of a failed command's output its error shows.
const LAST_LINES: usize = 20;

impl Solver<'_> {
    /// Runs a command on the file system of its base; returns the new one and the layer that makes the difference.
    pub(super) fn run_step(
        &self,
        id: VertexId,
        run: &Run,
        progress: &Progress,
        cancel: &Cancel,
    ) -> Result<(Tree, LayerId), StepError> {
        if run.platform.os != "linux" {
            return Err(StepError::Unsupported(format!(
                "cannot run commands for `{}`",
                run.platform.os
            )));
        }
        let state = progress.state(self.graph.get(id).base);
        let snapshots = self.snapshots();
        let (tree, layers) = match &state {
            Some(state) => (state.tree(snapshots)?.clone(), state.layers()),
            None => (Tree::empty(), Vec::new()),
        };
        let user = user::process_user(&tree, &run.user)?;
        let base = Base { tree: &tree, layers: &layers };
        let (snapshotter, workspace, (owned, remains)) = loop {
            let snapshotter = self.snapshotters.get()?;
            let workspace = snapshotter.prepare(snapshots, base)?;
            let mounted = mount_all(self, run, (progress, snapshotter), cancel)?;
            let mut spec = self.spec(run, workspace.root.clone(), user.clone(), &mounted);
            spec.owned_below = owned_below(&tree);
            let result = self.run_process(id, run, &spec, cancel);
            drop(mounted);
            match result {
                Ok(left) => break (snapshotter, workspace, left),
                Err(error) => {
                    workspace.discard();
                    // Nothing of the command has run if the sandbox could not be made.
                    if !matches!(&error, StepError::Sandbox(error) if self.snapshotters.falls_back(error))
                    {
                        return Err(error);
                    }
                }
            }
        };
        let left = Left { owned: &owned, remains };
        let (layer, changes) = snapshotter.keep(snapshots, base, workspace, left)?;
        let contents = snapshots.contents(layer, &changes)?;
        Ok((tree.apply(&changes, &contents)?, layer))
    }

    fn spec(
        &self,
        run: &Run,
        root: Root,
        user: crate::sandbox::spec::User,
        mounted: &Mounted,
    ) -> Spec {
        let mut env = run.env.clone();
        env.extend(run.proxy_env.iter().cloned());
        env.extend(mounted.env.iter().cloned());
        if let Some(socket) = &mounted.agent
            && !run.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK="))
        {
            env.push(format!("SSH_AUTH_SOCK={socket}"));
        }
        let mut mounts = mounted.mounts.clone();
        // Last, so that nothing hides it.
        mounts.extend(self.emulator(run));
        Spec {
            root,
            owned_below: Vec::new(),
            mounts,
            process: Process {
                args: run.args.clone(),
                env,
                cwd: run.cwd.clone().into(),
                user,
                rlimits: self.ulimits.to_vec(),
            },
            network: match run.network {
                RunNetwork::Default => self.gateway.map_or(Network::Host, Network::Private),
                RunNetwork::Host => Network::Host,
                RunNetwork::None => Network::None,
            },
            security: if run.insecure { Security::Insecure } else { Security::Default },
            hostname: run.hostname.clone(),
            extra_hosts: self
                .hosts
                .iter()
                .map(|(name, address)| (address.clone(), name.clone()))
                .collect(),
            shm_size: self.shm_size,
            limits: self.limits.clone(),
        }
    }

    fn run_process(
        &self,
        id: VertexId,
        run: &Run,
        spec: &Spec,
        cancel: &Cancel,
    ) -> Result<(Vec<Owned>, Remains), StepError> {
        let mut tail = Tail::default();
        let mut hear = |stream: Stream, bytes: &[u8]| {
            tail.push(bytes);
            self.say(Event::Output { step: StepId(id.0), stream, bytes: bytes.to_vec() });
        };
        let (Ended { exit, owned }, remains) =
            self.sandbox.run(spec, Io::Piped(&mut hear), cancel)?;
        if exit.is_success() {
            return Ok((owned, remains));
        }
        let mut how = match exit {
            Exit::Code(code) => format!("exited with code {code}"),
            Exit::Signal { number, out_of_memory: true } => match self.limits.memory {
                Some(limit) => format!(
                    "was killed by signal {number}; memory had run out, of which `--memory` allows {limit} bytes"
                ),
                None => format!("was killed by signal {number}; memory had run out"),
            },
            Exit::Signal { number, out_of_memory: false } => {
                format!("was killed by signal {number}")
            }
        };
        // What it wrote is still there: its directory goes when the step has ended.
        let state = self.store.root();
        if has_no_space(state) {
            how.push_str(&format!("; no space is left in `{}`", state.display()));
        }
        Err(StepError::Command { command: shorten(&run.args.join(" ")), how, output: tail.lines() })
    }
}

fn shorten(command: &str) -> String {
    const LONGEST: usize = 120;
    let mut lines = command.lines();
    let first = lines.next().unwrap_or_default();
    let cut: String = first.chars().take(LONGEST).collect();
    if cut.len() < first.len() || lines.next().is_some() { format!("{cut}…") } else { cut }
}

/// The last lines of an output, whatever its length.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        const LARGEST: usize = 64 << 10;
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * LARGEST {
            self.0.drain(..self.0.len() - LARGEST);
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        lines[from..].iter().map(|line| line.trim_end().to_owned()).collect()
    }
}
