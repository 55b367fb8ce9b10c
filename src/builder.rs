//! One build from request to outcome: the whole story on one screen, in [`build`].

mod cap;
mod check;
mod finish;
mod inputs;
mod plan;
mod platforms;
mod push;
mod report;

use std::path::PathBuf;

pub use check::Check;
pub use inputs::{Inputs, LARGEST_DOCKERFILE, parse};

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::dockerfile::ast::Dockerfile;
use crate::event::{Cancel, Event, Reporter};
use crate::export::Output;
use crate::graph::Entitlements;
pub use crate::registry::Settings as RegistrySettings;
use crate::registry::Web;
use crate::sandbox::{Emulators, Gateway, Namespaces};
use crate::snapshot::Choice;
pub use crate::snapshot::SnapshotterKind;
use crate::solve::Solver;
pub use crate::solve::secret::{LARGEST_SECRET, Secret, SecretSource};
use crate::source::image::Images;
use crate::store::Store;
use crate::verify;

/// Everything that a build is asked to do; made by the command line, complete in itself.
#[derive(Debug, Clone)]
pub struct Build {
    /// The state root: store, cache, snapshots.
    pub state: PathBuf,
    /// The program that the sandbox starts as its init: kiln itself.
    pub init: PathBuf,
    /// The main context.
    pub context: Context,
    /// Where the Dockerfile is.
    pub dockerfile: DockerfileSource,
    /// `--build-context name=value`, value as written.
    pub named_contexts: Vec<(String, String)>,
    /// `--target`
    pub target: Option<String>,
    /// `--build-arg`, in order; later ones win.
    pub build_args: Vec<(String, String)>,
    /// `--label`, in order; later ones win.
    pub labels: Vec<(String, String)>,
    /// `--tag`, as written.
    pub tags: Vec<String>,
    /// `--platform`, as written, one by one; empty: this machine's. Of several the result is an index.
    pub platforms: Vec<String>,
    /// `--output`; empty: keep the result in the local store.
    pub outputs: Vec<Output>,
    /// `--squash`, `--squash-all`
    pub squash: Squash,
    /// `--no-cache`, `--no-cache-filter`
    pub no_cache: NoCache,
    /// `--pull`: look every reference up again.
    pub pull: bool,
    /// `--network`
    pub network: NetworkMode,
    /// `--allow`
    pub entitlements: Entitlements,
    /// `--secret`
    pub secrets: Vec<Secret>,
    /// `--ssh`: id and the agent's socket.
    pub ssh: Vec<(String, PathBuf)>,
    /// `--add-host`: name and address.
    pub add_hosts: Vec<(String, String)>,
    /// `--shm-size` in bytes; 0: the default.
    pub shm_size: u64,
    /// `--ulimit`
    pub ulimits: Vec<crate::sandbox::spec::Rlimit>,
    /// `--memory` and its kin.
    pub limits: crate::sandbox::spec::Limits,
    /// How many steps may run at once.
    pub jobs: usize,
    /// How registries are reached.
    pub registry: RegistrySettings,
    /// `--snapshotter`
    pub snapshotter: SnapshotterKind,
    /// How many bytes the store may take when the build is over ([`crate::gc::hold_cap`]); `None`: any number.
    pub keep_storage: Option<u64>,
}

impl Build {
    /// A build of which nothing more is asked: the last stage for this machine, kept without a name in the store at
    /// `state`, one step at a time.
    pub fn new(state: PathBuf, context: Context, dockerfile: DockerfileSource) -> Self {
        Self {
            state,
            init: "/proc/self/exe".into(),
            context,
            dockerfile,
            named_contexts: Vec::new(),
            target: None,
            build_args: Vec::new(),
            labels: Vec::new(),
            tags: Vec::new(),
            platforms: Vec::new(),
            outputs: Vec::new(),
            squash: Squash::No,
            no_cache: NoCache::Never,
            pull: false,
            network: NetworkMode::Default,
            entitlements: Entitlements::default(),
            secrets: Vec::new(),
            ssh: Vec::new(),
            add_hosts: Vec::new(),
            shm_size: 0,
            ulimits: Vec::new(),
            limits: crate::sandbox::spec::Limits::default(),
            jobs: 1,
            registry: RegistrySettings::default(),
            snapshotter: SnapshotterKind::Auto,
            keep_storage: None,
        }
    }
}

/// The main context.
#[derive(Debug, Clone)]
pub enum Context {
    /// A directory.
    Directory(PathBuf),
    /// A tar archive, compressed or not, as a file (standard input is spooled by the caller).
    Archive(PathBuf),
    /// No files at all.
    Empty,
}

/// Where the Dockerfile is.
#[derive(Debug, Clone)]
pub enum DockerfileSource {
    /// A file of the host. `display` is what the user typed.
    File {
        /// Where it is.
        path: PathBuf,
        /// What the user typed.
        display: String,
    },
    /// A path inside an archive context.
    InContext(String),
    /// A text, e.g. from standard input.
    Text {
        /// Shown in errors, e.g. `<stdin>`.
        display: String,
        /// The bytes.
        text: Vec<u8>,
    },
}

/// Which layers are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Squash {
    /// None.
    #[default]
    No,
    /// Those that this build put on the base.
    Stage,
    /// All, the base's as well.
    All,
}

/// Whose cached results are not used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NoCache {
    /// Nobody's.
    #[default]
    Never,
    /// Every step's.
    All,
    /// The steps' of these stages.
    Stages(Vec<String>),
}

/// The network of RUN steps that do not name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// kiln's default: the host's network.
    #[default]
    Default,
    /// The host's.
    Host,
    /// None.
    None,
    /// One of the step's own, connected by this program. Steps that ask for the host's have that where it is allowed.
    Private(Gateway),
}

/// What a build made.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The manifest, or the index if there are several images.
    pub manifest: Digest,
    /// The manifest's size in bytes.
    pub manifest_size: u64,
    /// The manifest's media type.
    pub media_type: String,
    /// The config: docker's image id. An index has none.
    pub config: Option<Digest>,
    /// The names under which it was kept.
    pub names: Vec<String>,
    /// Whether the store was written to, so that it should be settled ([`crate::store::settle`]).
    pub wrote: bool,
}

impl Outcome {
    /// Returns what is called the image's id: the digest of its config, and of an index its own, as in buildx.
    pub fn id(&self) -> Digest {
        self.config.unwrap_or(self.manifest)
    }
}

/// What everything begins with.
struct Opened {
    store: Store,
    inputs: Inputs,
    file: Dockerfile,
    web: Web,
}

fn open(
    request: &Build,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Opened, Vec<Diagnostic>> {
    let store = Store::open(&request.state).map_err(report::store)?;
    let lost = verify::recover(&store, cancel).map_err(|error| report::verify(&error))?;
    for finding in lost.iter().filter(|finding| finding.outcome == verify::Outcome::Lost) {
        let message =
            format!("`{}` was lost when the machine stopped: it {}", finding.id, finding.problem);
        reporter.report(Event::Warning { message });
    }
    let inputs = Inputs::read(request, &store)?;
    let file = inputs.parse()?;
    let web = Web::new(&request.registry, cancel).map_err(|error| report::docker_config(&error))?;
    Ok(Opened { store, inputs, file, web })
}

/// Runs a build. Errors come as a list, because a Dockerfile may have several.
pub fn build(
    request: &Build,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Outcome, Vec<Diagnostic>> {
    let Opened { store, inputs, file, web } = open(request, reporter, cancel)?;
    let store = cap::Capped { store, cap: request.keep_storage, reporter };
    let images = Images::new(&store, web.client.clone(), request.pull, cancel.clone());
    let plan = check::lower(&inputs, &file, &images, reporter)?;
    let sandbox = Namespaces::new(request.init.clone(), store.scratch().to_owned());
    let snapshotters = Choice::new(request.snapshotter, &store, &sandbox, reporter);
    let contexts = inputs.contexts(&plan.graph)?;
    let stop = cancel.child();
    let targets = push::Target::of(request, &inputs, (cancel, &stop));
    let targets = targets.map_err(|error| report::docker_config(&error))?;
    let pushing = push::Pushing { store: &store, reporter, cancel, stop: &stop, targets: &targets };
    let emulators = Emulators::of_this_machine();
    let states = std::thread::scope(|scope| {
        let early = pushing.early(request, &plan, scope);
        let solver = Solver {
            store: &store,
            images: &images,
            agent: &web.agent,
            sandbox: &sandbox,
            snapshotters: &snapshotters,
            emulators: &emulators,
            graph: &plan.graph,
            reporter,
            cancel: cancel.clone(),
            contexts,
            secrets: &request.secrets,
            ssh: &request.ssh,
            hosts: &request.add_hosts,
            ulimits: &request.ulimits,
            limits: &request.limits,
            shm_size: request.shm_size,
            gateway: match request.network {
                NetworkMode::Private(gateway) => Some(gateway),
                NetworkMode::Default | NetworkMode::Host | NetworkMode::None => None,
            },
            jobs: request.jobs,
            made: &|vertex, layers| {
                if let Some(early) = &early {
                    early.take(vertex, layers);
                }
            },
            compression: finish::compression(request),
            memory: inputs.memory(request),
        };
        let results: Vec<_> = plan.images.iter().map(|image| image.result).collect();
        solver.solve(&results).inspect_err(|_| stop.cancel())
    });
    let states = states.map_err(|error| report::solve(&inputs, &plan, error))?;
    let (store, images, inputs) = (&store, &images, &inputs);
    let finish = finish::Finish { request, store, images, inputs, reporter, cancel, pushing };
    finish::finish(&finish, &plan, &states)
}

/// Says what a build would do, without doing it.
pub fn plan(
    request: &Build,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<crate::graph::Plan, Vec<Diagnostic>> {
    let Opened { store, inputs, file, web } = open(request, reporter, cancel)?;
    let images = Images::new(&store, web.client.clone(), request.pull, cancel.clone());
    plan::lower(&inputs, &file, &images, reporter, &mut Vec::new())
}

/// Says what lint finds, without building: in all stages, or in those that the target needs if there is one.
///
/// Findings are no errors here, even with `error=true`. If the Dockerfile has errors these are returned, and what was
/// found up to them is sent as warnings.
pub fn check(
    request: &Build,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Check, Vec<Diagnostic>> {
    let Opened { store, mut inputs, file, web } = open(request, reporter, cancel)?;
    let images = Images::new(&store, web.client.clone(), request.pull, cancel.clone());
    inputs.requests.truncate(1);
    inputs.requests[0].every_stage = request.target.as_deref().unwrap_or_default().is_empty();
    let findings = check::check(&inputs, &file, &images, reporter)?;
    Ok(Check { inputs, findings })
}
