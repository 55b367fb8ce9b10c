//! The abstract syntax tree of a Dockerfile: what the text says, with nothing expanded or resolved.
//!
//! Every node has a [`Span`]. Quotes, variables and escapes inside words are kept as written; `word.rs` expands
//! them later against an environment. `Instruction` is closed and matched without `_`.

use std::time::Duration;

/// A place in the Dockerfile: lines are 1-based and inclusive, bytes are offsets into the original text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Span {
    /// First line.
    pub first_line: u32,
    /// Last line.
    pub last_line: u32,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset one past the last byte.
    pub end: usize,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Dockerfile {
    /// The escape character, `\` or a backtick.
    pub escape: char,
    /// Parser directives in order.
    pub directives: Vec<Directive>,
    /// `# syntax=`: the frontend image that the file asks for.
    pub syntax: Option<Syntax>,
    /// `# check=`: which lint rules count. Unlike those of `directives` it may follow a byte order mark or `#!`.
    pub check: Option<Directive>,
    /// ARG instructions before the first FROM; each `Command` holds an `Instruction::Arg`.
    pub global_args: Vec<Command>,
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// What the parser tolerates but should be changed.
    pub warnings: Vec<Warning>,
}

/// `# name=value` at the top of the file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Directive {
    /// Lower-cased name.
    pub name: String,
    /// The value as written.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// The frontend that the file asks for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Syntax {
    /// The first word: an image reference.
    pub reference: String,
    /// The whole value.
    pub command_line: String,
    /// Where it stands.
    pub span: Span,
}

/// Something tolerated, such as an empty continuation line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// What it is.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// One FROM and what follows it.
///
/// ```text
/// stage ::= blank* from blank* #xA
///           (comment | blank* #xA | blank* command blank* #xA heredoc_body*)*
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stage {
    /// Lower-cased name after AS; empty if it has none.
    pub name: String,
    /// The base as written, not expanded.
    pub base: String,
    /// The value of `--platform` as written; empty if absent.
    pub platform: String,
    /// The FROM keyword as written.
    pub keyword: String,
    /// The FROM instruction as one line.
    pub code: String,
    /// Flags as written.
    pub flags: Vec<String>,
    /// The comment block above.
    pub comments: Vec<String>,
    /// The doc comment (`# name text` above a named stage).
    pub doc: String,
    /// Where the FROM stands.
    pub span: Span,
    /// The instructions in order.
    pub commands: Vec<Command>,
}

/// One instruction with its surroundings.
///
/// `command ::= trigger | maintainer | onbuild`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Command {
    /// What it says.
    pub instruction: Instruction,
    /// The keyword as written.
    pub keyword: String,
    /// The joined line, trimmed, without heredoc bodies.
    pub code: String,
    /// Flags as written, unquoted.
    pub flags: Vec<String>,
    /// The comment block above.
    pub comments: Vec<String>,
    /// Here-documents in order of appearance.
    pub heredocs: Vec<Heredoc>,
    /// Where it stands.
    pub span: Span,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// The body as written, line ends as `\n`, tabs not removed yet.
    pub content: String,
    /// False if the delimiter was quoted.
    pub expand: bool,
    /// `<<-`: leading tabs of each line are to be removed.
    pub chomp: bool,
    /// The file descriptor number before `<<`, 0 if absent.
    pub fd: u32,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub enum Instruction {
    /// ADD
    Add(Add),
    /// ARG
    Arg(Vec<ArgDefinition>),
    /// CMD
    Cmd(CommandLine),
    /// COPY
    Copy(Copy),
    /// ENTRYPOINT
    Entrypoint(CommandLine),
    /// ENV
    Env(Vec<KeyValue>),
    /// EXPOSE: the words, sorted by byte.
    Expose(Vec<String>),
    /// HEALTHCHECK
    Healthcheck(Healthcheck),
    /// LABEL
    Label(Vec<KeyValue>),
    /// MAINTAINER
    Maintainer(String),
    /// ONBUILD: the trigger as text.
    Onbuild(String),
    /// RUN
    Run(Run),
    /// SHELL
    Shell(Vec<String>),
    /// STOPSIGNAL
    Stopsignal(String),
    /// USER
    User(String),
    /// VOLUME
    Volume(Vec<String>),
    /// WORKDIR
    Workdir(String),
}

/// A command in shell form (one text) or exec form (a JSON array).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CommandLine {
    /// True for a text that a shell is to interpret.
    pub shell_form: bool,
    /// One text, or the array's members. In shell form it is empty only if there was no text at all.
    pub args: Vec<String>,
}

/// A pair of ENV or LABEL, quotes kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeyValue {
    /// The key as written.
    pub key: String,
    /// The value as written.
    pub value: String,
    /// The legacy form `KEY value`.
    pub legacy: bool,
}

/// One definition of ARG.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ArgDefinition {
    /// The name as written.
    pub key: String,
    /// The default as written, if any.
    pub value: Option<String>,
    /// The doc comment.
    pub doc: String,
}

/// A file written inside the Dockerfile as a source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct InlineFile {
    /// The file's name: the heredoc's delimiter.
    pub path: String,
    /// The content, tabs already removed for `<<-`.
    pub data: String,
    /// Whether variables in it are expanded.
    pub expand: bool,
}

/// COPY
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Copy {
    /// Paths as written.
    pub sources: Vec<String>,
    /// Files written in place.
    pub inline: Vec<InlineFile>,
    /// Destination as written.
    pub dest: String,
    /// `--from`
    pub from: String,
    /// `--chown`
    pub chown: String,
    /// `--chmod`
    pub chmod: String,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
}

/// ADD
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Add {
    /// Paths or URLs as written.
    pub sources: Vec<String>,
    /// Files written in place.
    pub inline: Vec<InlineFile>,
    /// Destination as written.
    pub dest: String,
    /// `--chown`
    pub chown: String,
    /// `--chmod`
    pub chmod: String,
    /// `--link`
    pub link: bool,
    /// `--exclude`
    pub exclude: Vec<String>,
    /// `--checksum`
    pub checksum: String,
    /// `--keep-git-dir`, if given
    pub keep_git_dir: Option<bool>,
    /// `--unpack`, if given
    pub unpack: Option<bool>,
}

/// HEALTHCHECK
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", text]`.
    pub test: Vec<String>,
    /// `--interval`; zero: inherited.
    pub interval: Duration,
    /// `--timeout`; zero: inherited.
    pub timeout: Duration,
    /// `--start-period`; zero: inherited.
    pub start_period: Duration,
    /// `--start-interval`; zero: inherited.
    pub start_interval: Duration,
    /// `--retries`; zero: inherited.
    pub retries: u32,
}

/// RUN
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Run {
    /// The command. Heredocs of a shell form are in `Command::heredocs`.
    pub command: CommandLine,
    /// `--mount`, each as written; `dockerfile::mount::parse` reads one once its variables can be expanded.
    pub mounts: Vec<String>,
    /// `--network`
    pub network: RunNetwork,
    /// `--security`
    pub security: RunSecurity,
    /// `--device`, each as written.
    pub devices: Vec<String>,
    /// Names of the flags that were given, sorted.
    pub flags_used: Vec<String>,
}

/// RUN --network
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum RunNetwork {
    /// What the build was told.
    #[default]
    Default,
    /// Only a loopback device.
    None,
    /// The host's network.
    Host,
}

/// RUN --security
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum RunSecurity {
    /// The default sandbox.
    #[default]
    Sandbox,
    /// All privileges that kiln itself has.
    Insecure,
}

/// RUN --mount, read and checked; paths and names already expanded.
///
/// `mount ::= ('type=' kind ",")? mount_option ("," mount_option)*`
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Mount {
    /// `type`
    pub kind: MountKind,
    /// `from`
    pub from: String,
    /// `source`
    pub source: String,
    /// `target`, as written (may be empty or relative)
    pub target: String,
    /// Read-only, the type's default applied.
    pub readonly: bool,
    /// `size` of a tmpfs in bytes; 0: not given.
    pub size: i64,
    /// `id`
    pub id: String,
    /// `sharing`; `None`: not given.
    pub sharing: Option<Sharing>,
    /// `required`
    pub required: bool,
    /// `env` of a secret
    pub env: Option<String>,
    /// `mode`
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
}

/// RUN --mount=type=
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    #[default]
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret as a file or variable.
    Secret,
    /// An SSH agent's socket.
    Ssh,
}

/// RUN --mount=type=cache,sharing=
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub enum Sharing {
    /// All users at once.
    #[default]
    Shared,
    /// A new directory while another build holds it.
    Private,
    /// One user at a time.
    Locked,
}
