//! The build graph: what a Dockerfile asks to be done, with every name resolved and every variable expanded.
//!
//! Pure: [`lower()`] takes a parsed Dockerfile, the arguments of the build and the configs of the base images, and
//! returns vertices of three kinds (sources, runs, file operations), each stage's config and history. It does no
//! input or output: where it needs the config of an image that it was not given, it says which
//! ([`Failure::Need`]) and is called again.
//!
//! Metadata instructions are no vertices; they edit the config of their stage. ARG, ENV, USER, WORKDIR and SHELL
//! reach a vertex only through the fields that it really uses.

mod args;
mod copy;
mod epoch;
mod error;
mod expose;
mod facts;
mod from;
mod history;
mod image;
mod lower;
mod merge;
mod naming;
mod origin;
mod plan;
mod request;
mod run;
mod stage;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use error::{Failure, GraphError};
pub use facts::{Fact, Seen};
pub use history::quote;
pub use image::{ImageLocation, ImageRequest};
pub use lower::lower;
pub use merge::{Plan, Planned};
pub use plan::{plan_dot, plan_text};
pub use request::{Entitlements, NamedContext, Request};
pub use stage::context_key;

use crate::digest::Digest;
use crate::dockerfile::ast::{Sharing, Span};
use crate::dockerfile::chmod::Chmod;
use crate::oci::{ImageConfig, Platform};

/// Names a vertex of one graph; inputs always have smaller numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub u32);

/// Vertices in an order in which inputs come first.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    vertices: Vec<Vertex>,
}

impl Graph {
    /// Returns a vertex.
    pub fn get(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0 as usize]
    }

    /// Returns all vertices, inputs first.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Vertex)> {
        self.vertices.iter().enumerate().map(|(i, vertex)| (VertexId(i as u32), vertex))
    }

    /// Returns how many vertices there are.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    fn push(&mut self, vertex: Vertex) -> VertexId {
        self.vertices.push(vertex);
        VertexId(self.vertices.len() as u32 - 1)
    }
}

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// What.
    pub op: Op,
    /// The vertex whose file system this one changes; `None`: an empty one.
    pub base: Option<VertexId>,
    /// What people see, e.g. `[build 2/5] RUN make`.
    pub name: String,
    /// Where in the Dockerfile it comes from.
    pub span: Option<Span>,
    /// Whether a cached result may not be used.
    pub ignore_cache: bool,
    /// SOURCE_DATE_EPOCH: the time of what it makes, in seconds.
    pub epoch: Option<i64>,
}

impl Vertex {
    /// Returns whether it is a file operation with `--link`: it does not look at what it is put on.
    pub fn is_linked(&self) -> bool {
        matches!(&self.op, Op::File(file) if file.link)
    }

    /// Returns the vertices that must be done before this one, the base first, possibly with repetitions.
    pub fn inputs(&self) -> Vec<VertexId> {
        let mut inputs: Vec<_> = self.base.into_iter().collect();
        match &self.op {
            Op::Image(_) | Op::Files(_) | Op::Http(_) | Op::Git(_) => {}
            Op::Run(run) => inputs.extend(run.mounts.iter().filter_map(RunMount::input)),
            Op::File(file) => inputs.extend(file.actions.iter().filter_map(FileAction::input)),
        }
        inputs
    }
}

/// What a vertex does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The layers of an image.
    Image(ImageSource),
    /// Files of the host: the context or a named one.
    Files(FilesSource),
    /// One file from the web.
    Http(HttpSource),
    /// A git repository.
    Git(GitSource),
    /// A command.
    Run(Box<Run>),
    /// Files copied, written, made.
    File(FileOp),
}

/// An image that was found.
#[derive(Debug, Clone)]
pub struct Base {
    /// Its config.
    pub config: ImageConfig,
    /// Its manifest: what the request meant when it was resolved.
    pub manifest: Digest,
}

/// The images that have been resolved so far.
pub type Bases = BTreeMap<ImageRequest, Base>;

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSource {
    /// What was asked for.
    pub request: ImageRequest,
    /// Which manifest that is.
    pub manifest: Digest,
}

/// Files of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesSource {
    /// The main context.
    Main,
    /// A directory named with `--build-context`.
    Named(PathBuf),
}

/// One file from the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// `http://` or `https://`.
    pub url: String,
    /// The name that the file gets.
    pub filename: String,
    /// The digest that it must have.
    pub checksum: Option<Digest>,
}

/// A git repository. kiln cannot fetch one yet; a build that needs it says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    /// The repository, with fragment and query, as written.
    pub remote: String,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command with its shell.
    pub args: Vec<String>,
    /// `NAME=value` in order.
    pub env: Vec<String>,
    /// Proxy variables: in the environment of the process, not in the key.
    pub proxy_env: Vec<String>,
    /// Absolute.
    pub cwd: String,
    /// USER as it stands; empty: root.
    pub user: String,
    /// What is mounted, in order.
    pub mounts: Vec<RunMount>,
    /// Secrets as variables.
    pub secret_env: Vec<SecretEnv>,
    /// `--network` resolved against the build's.
    pub network: RunNetwork,
    /// `--security=insecure`
    pub insecure: bool,
    /// The UTS host name.
    pub hostname: String,
    /// The platform of its stage.
    pub platform: Platform,
    /// What the image at the bottom of its stage says that its programs are for; `None`: there is no such image.
    pub programs: Option<Platform>,
}

/// The network of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// The sandbox's default, which is the host's.
    Default,
    /// The host's by name.
    Host,
    /// None.
    None,
}

/// A secret as a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretEnv {
    /// The variable.
    pub name: String,
    /// The secret.
    pub id: String,
    /// Whether its absence is an error.
    pub required: bool,
}

/// Something mounted for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// Absolute and clean.
    pub target: String,
    /// What.
    pub kind: RunMountKind,
}

impl RunMount {
    fn input(&self) -> Option<VertexId> {
        match &self.kind {
            RunMountKind::Bind { input, .. } => *input,
            RunMountKind::Cache(cache) => cache.input,
            RunMountKind::Tmpfs { .. }
            | RunMountKind::Secret(_)
            | RunMountKind::Ssh(_)
            | RunMountKind::Script { .. } => None,
        }
    }
}

/// Owner and permissions of something mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What is mounted for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunMountKind {
    /// Files of another vertex; writes are thrown away.
    Bind {
        /// Whose; `None`: an empty file system.
        input: Option<VertexId>,
        /// Which part, absolute and clean.
        source: String,
        /// Whether writes are refused.
        readonly: bool,
    },
    /// A directory that outlives the build.
    Cache(CacheMount),
    /// Memory.
    Tmpfs {
        /// Bytes; 0: not limited.
        size: u64,
        /// Whether writes are refused.
        readonly: bool,
    },
    /// A secret as a file.
    Secret(SecretMount),
    /// An agent's socket.
    Ssh(SecretMount),
    /// A here-document that is a program: written to a read-only directory under this name.
    Script {
        /// The file's name.
        name: String,
        /// The text.
        content: String,
    },
}

/// RUN --mount=type=cache
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Its name, with the namespace.
    pub id: String,
    /// Whose files it starts with.
    pub input: Option<VertexId>,
    /// Which part of them, absolute and clean.
    pub source: String,
    /// How users of it live together.
    pub sharing: Sharing,
    /// Whether writes are refused.
    pub readonly: bool,
    /// What a new directory gets; `None`: 0755 and root, and not part of its identity.
    pub access: Option<Access>,
}

/// RUN --mount=type=secret and ssh
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Which.
    pub id: String,
    /// Whether its absence is an error.
    pub required: bool,
    /// What the file gets.
    pub access: Access,
}

/// Changes to a file system that need no process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOp {
    /// In order.
    pub actions: Vec<FileAction>,
    /// COPY --link: made on an empty file system and put on top of the base whatever that is.
    pub link: bool,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAction {
    /// WORKDIR: a directory with its parents, unless it is there.
    MakeDirectory {
        /// Absolute and clean.
        path: String,
        /// USER as it stands; empty: root.
        user: String,
    },
    /// COPY and ADD of one source.
    Copy(Copy),
}

impl FileAction {
    /// Returns the vertex that it copies from.
    pub fn input(&self) -> Option<VertexId> {
        match self {
            Self::Copy(Copy { source: CopySource::Vertex { id, .. }, .. }) => *id,
            Self::MakeDirectory { .. }
            | Self::Copy(Copy { source: CopySource::Inline { .. }, .. }) => None,
        }
    }
}

/// COPY and ADD of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where from.
    pub source: CopySource,
    /// Absolute; a trailing `/` says that it is a directory.
    pub dest: String,
    /// `--chown` expanded; empty: as the source has it.
    pub chown: String,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// Archives among the sources are unpacked.
    pub unpack: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
}

/// Where COPY and ADD take files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySource {
    /// Another vertex.
    Vertex {
        /// Which; `None`: an empty file system.
        id: Option<VertexId>,
        /// Absolute and clean, possibly with wildcards.
        path: String,
        /// Wildcards, links and directories are treated as COPY does; false for a single downloaded file.
        pattern: bool,
        /// COPY --parents.
        parents: Option<Parents>,
    },
    /// A here-document.
    Inline {
        /// The file's name.
        name: String,
        /// The text.
        content: String,
    },
}

/// COPY --parents
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parents {
    /// What is copied, relative to the source's path, with `**`.
    pub pattern: String,
    /// A path that must exist.
    pub required: Option<String>,
}

/// What lowering made.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// What is to be done; only what the target needs.
    pub graph: Graph,
    /// The vertex whose file system is the image's; `None`: an empty one.
    pub result: Option<VertexId>,
    /// The image's config, without layers and times.
    pub config: ImageConfig,
    /// The image that the target stage is based on, if it is based on one with layers.
    pub base: Option<(ImageRequest, Base)>,
    /// SOURCE_DATE_EPOCH of `--build-arg`, or else of a global ARG, in seconds.
    pub epoch: Option<i64>,
    /// The target's name.
    pub target: String,
}
