//! One command: its file system, its mounts, its process, and what it left.

use super::error::StepError;
use super::mounts::{Mounted, mount_all};
use super::{Progress, Solver, user};
use crate::event::{Cancel, Event, StepId, Stream};
use crate::fs::has_no_space;
use crate::graph::{Run, RunNetwork, VertexId};
use crate::layer::{Contents, DirectoryContents, Metadata, Tree, diff_upper};
use crate::sandbox::spec::{Network, Process, Root, Security, Spec};
use crate::sandbox::{Exit, Io};
use crate::snapshot::LayerId;
use crate::snapshot::reduce::Leftovers;
use crate::snapshot::upper::Upper;
use crate::source::SourceError;

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
        let base = progress.state(self.graph.get(id).base);
        let snapshots = self.snapshots();
        let (tree, layers) = match &base {
            Some(state) => (state.tree(snapshots)?.clone(), state.layers()),
            None => (Tree::empty(), Vec::new()),
        };
        let user = user::process_user(&tree, &run.user)?;
        let upper = Upper::new(self.store, tree.root().meta())?;
        let mounted = mount_all(self, run, progress, cancel)?;
        let root = Root::Overlay {
            lower: snapshots.directories(&layers)?,
            upper: upper.files.clone(),
            work: upper.work.clone(),
        };
        let spec = self.spec(run, root, user, &mounted);
        let result = self.run_process(id, run, &spec, cancel);
        drop(mounted);
        if let Err(error) = result {
            upper.discard();
            return Err(error);
        }
        let found = upper.read(cancel)?;
        let leftovers = Leftovers::of(&found);
        let changes = diff_upper(&tree, found)?;
        leftovers.reduce(&upper.files, &changes)?;
        let layer = snapshots.commit_directory(&changes, &upper.files, None)?;
        let directory = snapshots.directory(layer)?;
        let contents = DirectoryContents::open(&directory).map_err(SourceError::from)?;
        let contents: std::sync::Arc<dyn Contents> = std::sync::Arc::new(contents);
        upper.discard();
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
            mounts,
            process: Process {
                args: run.args.clone(),
                env,
                cwd: run.cwd.clone().into(),
                user,
                rlimits: self.ulimits.to_vec(),
            },
            network: match run.network {
                RunNetwork::Default | RunNetwork::Host => Network::Host,
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
        }
    }

    fn run_process(
        &self,
        id: VertexId,
        run: &Run,
        spec: &Spec,
        cancel: &Cancel,
    ) -> Result<(), StepError> {
        let mut tail = Tail::default();
        let mut hear = |stream: Stream, bytes: &[u8]| {
            tail.push(bytes);
            self.say(Event::Output { step: StepId(id.0), stream, bytes: bytes.to_vec() });
        };
        let exit = self.sandbox.run(spec, Io::Piped(&mut hear), cancel)?;
        if exit.is_success() {
            return Ok(());
        }
        let mut how = match exit {
            Exit::Code(code) => format!("exited with code {code}"),
            Exit::Signal { number, out_of_memory: true } => {
                format!("was killed by signal {number}; memory had run out")
            }
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

/// The metadata of a directory that kiln makes for itself.
pub(super) fn plain_directory() -> Metadata {
    Metadata { mode: 0o755, ..Metadata::default() }
}
