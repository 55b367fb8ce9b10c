//! Running an image's process: `kiln run`.
//!
//! The same store, snapshots and sandbox as a build; what the process writes is thrown away.

use std::path::PathBuf;

use crate::diagnostic::{Blame, Diagnostic};
use crate::event::{Cancel, Reporter};
use crate::images::{ImagesError, Library};
use crate::registry::Settings;
use crate::sandbox::spec::{Limits, Network, Process, Rlimit, Root, Security, Spec};
use crate::sandbox::{Emulators, Exit, Io, Namespaces, Sandbox};
use crate::snapshot::upper::owned_below;
use crate::snapshot::{Base, Choice, Snapshots, SnapshotterKind};
use crate::solve::user;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The state root.
    pub state: PathBuf,
    /// The program that the sandbox starts as its init: kiln itself.
    pub init: PathBuf,
    /// Which image.
    pub image: String,
    /// What replaces the image's command; empty: nothing does.
    pub command: Vec<String>,
    /// What replaces the image's entry point; `Some` of nothing removes it.
    pub entrypoint: Option<Vec<String>>,
    /// Further variables, `NAME=value`.
    pub env: Vec<String>,
    /// In place of the image's user.
    pub user: Option<String>,
    /// In place of the image's working directory.
    pub workdir: Option<String>,
    /// The network.
    pub network: Network,
    /// Limits.
    pub ulimits: Vec<Rlimit>,
    /// What it may use of the machine.
    pub limits: Limits,
    /// The host name.
    pub hostname: String,
    /// How the file system is made.
    pub snapshotter: SnapshotterKind,
    /// How registries are reached, if the image is not here.
    pub registry: Settings,
    /// How many bytes the store may have once an image was pulled.
    pub keep_storage: Option<u64>,
}

fn input(message: impl Into<String>, hint: Option<String>) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Input, message).hint(hint)]
}

fn machine(error: &dyn std::error::Error) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Machine, error.to_string()).causes_of(error)]
}

/// How it went.
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// How the process ended.
    pub exit: Exit,
    /// Whether the store was written to, so that it should be settled ([`crate::store::settle`]).
    pub wrote: bool,
}

/// Runs an image's process on kiln's own input and output, to its end.
///
/// `reporter` hears warnings only.
pub fn run(
    request: &Request,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Ran, Vec<Diagnostic>> {
    let failed = |error: ImagesError| vec![Diagnostic::from(error)];
    let library = Library::open(&request.state, &request.registry, cancel).map_err(failed)?;
    let library = library.capped(request.keep_storage);
    let store = library.store();
    let (image, fetched) = library.ready(&request.image).map_err(failed)?;
    let config = &image.config.config;
    let mut args = request.entrypoint.clone().unwrap_or_else(|| config.entrypoint.clone());
    let replaced = !request.command.is_empty() || request.entrypoint.is_some();
    args.extend(if replaced { request.command.clone() } else { config.cmd.clone() });
    if args.is_empty() {
        let hint = Some("name one after the image".to_owned());
        return Err(input(format!("the image `{}` has no command", request.image), hint));
    }
    let user = user::process_user(&fetched.tree, request.user.as_deref().unwrap_or(&config.user));
    let user = user.map_err(|error| input(error.to_string(), None))?;
    let mut env = config.env.clone();
    env.extend(request.env.iter().cloned());
    let workdir = request.workdir.clone().unwrap_or_else(|| config.working_dir.clone());
    let mut spec = Spec {
        root: Root::Directory(PathBuf::new()),
        owned_below: owned_below(&fetched.tree),
        // A label may be wrong: what cannot be run is found out when it is executed.
        mounts: Emulators::of_this_machine().mounts(&image.config.architecture).unwrap_or_default(),
        process: Process {
            args,
            env,
            cwd: if workdir.is_empty() { "/".into() } else { workdir.into() },
            user,
            rlimits: request.ulimits.clone(),
        },
        network: request.network,
        security: Security::Default,
        hostname: request.hostname.clone(),
        extra_hosts: Vec::new(),
        shm_size: 0,
        limits: request.limits.clone(),
    };
    let sandbox = Namespaces::new(request.init.clone(), store.scratch().to_owned());
    let base = Base { tree: &fetched.tree, layers: &fetched.layers };
    let choice = Choice::new(request.snapshotter, store, &sandbox, reporter);
    loop {
        let snapshotter = choice.get().map_err(|error| machine(&error))?;
        let workspace = snapshotter.prepare(Snapshots::new(store), base);
        let workspace = workspace.map_err(|error| machine(&error))?;
        spec.root = workspace.root.clone();
        let ended = sandbox.run(&spec, Io::Inherit, cancel).map(|(ended, _)| ended);
        workspace.discard();
        match ended {
            Ok(ended) => return Ok(Ran { exit: ended.exit, wrote: store.has_written() }),
            Err(error) if choice.falls_back(&error) => {}
            Err(error) => {
                let problem = Diagnostic::new(Blame::Machine, error.to_string());
                return Err(vec![problem.hint(error.hint()).causes_of(&error)]);
            }
        }
    }
}
