//! What a stage carries from instruction to instruction, and how metadata instructions change it.

use super::args::Env;
use super::{GraphError, VertexId, history};
use crate::dockerfile::ast::{CommandLine, Healthcheck, KeyValue, Span};
use crate::oci::{self, ImageConfig, Platform};
use crate::wildcard;

/// The comment of every history entry that an instruction makes.
pub(super) const HISTORY_COMMENT: &str = "buildkit.dockerfile.v0";

/// A build argument in scope: its name and value, if it has one.
pub(super) type ScopedArg = (String, Option<String>);

/// A stage in progress.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The file system so far; `None`: empty.
    pub(super) top: Option<VertexId>,
    /// The config so far, with the history.
    pub(super) config: ImageConfig,
    /// Variables of commands: ENV and ARG together.
    pub(super) env: Env,
    /// ARGs in scope, in order of declaration, repetitions included.
    pub(super) args: Vec<ScopedArg>,
    /// The platform of the stage.
    pub(super) platform: Platform,
    /// What the image at the bottom says that its programs are for, if there is one.
    pub(super) programs: Option<Platform>,
    /// Whether there was a WORKDIR in this stage or in one that it is based on.
    pub(super) workdir_set: bool,
    /// What was given in this very stage.
    pub(super) given: Given,
    /// Bytes of history that its instructions have made.
    pub(super) recorded: usize,
}

/// How much history the instructions of a stage may make. Every value that they give is in it, so it bounds the
/// environment too: an instruction that doubles a variable needs thirty repetitions for a gigabyte, and an image can
/// bring them as triggers.
const MOST_RECORDED: usize = 4 << 20;

/// Where those instructions of one stage stand of which only the last counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// Without one, ENTRYPOINT resets that of the base.
    pub(super) cmd: Option<Span>,
    pub(super) entrypoint: Option<Span>,
    pub(super) healthcheck: Option<Span>,
}

impl State {
    /// Starts a stage on a config.
    pub(super) fn new(top: Option<VertexId>, mut config: ImageConfig, platform: Platform) -> Self {
        config.created = None;
        let mut env = Env::default();
        if platform.os != "windows"
            && !config.config.env.iter().any(|pair| pair.starts_with("PATH="))
        {
            config.config.env.push(format!("PATH={}", oci::DEFAULT_PATH));
        }
        for pair in &config.config.env {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            env.set(key, value);
        }
        // As with WORKDIR, an absolute path stays as it was written.
        if !config.config.working_dir.is_empty() && !config.config.working_dir.starts_with('/') {
            config.config.working_dir = normalize(&config.config.working_dir, "/");
        }
        let (args, given) = (Vec::new(), Given::default());
        let (workdir_set, recorded) = (false, 0);
        Self { top, config, env, args, platform, programs: None, workdir_set, given, recorded }
    }

    /// Starts a stage on another stage.
    pub(super) fn inherit(&self) -> Self {
        let mut state = Self { given: Given::default(), ..self.clone() };
        state.config.config.on_build.clear();
        state
    }

    /// Adds a history entry.
    pub(super) fn record(&mut self, created_by: String, has_layer: bool) {
        self.recorded += created_by.len();
        self.config.history.push(oci::History {
            created: None,
            created_by,
            author: String::new(),
            comment: HISTORY_COMMENT.to_owned(),
            empty_layer: !has_layer,
        });
    }

    /// Fails if the instructions have made more of the history than anybody needs.
    pub(super) fn bounded(&self) -> Result<(), GraphError> {
        if self.recorded <= MOST_RECORDED {
            return Ok(());
        }
        let most = MOST_RECORDED >> 20;
        Err(GraphError::new(format!("the values of the stage's instructions exceed {most} MiB")))
    }

    /// The working directory of commands.
    pub(super) fn cwd(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        }
    }

    /// The shell of shell forms.
    pub(super) fn with_shell(&self, text: String) -> Vec<String> {
        let mut args = self.config.config.shell.clone();
        if args.is_empty() {
            let default: &[&str] = match self.config.os.as_str() {
                "windows" => &["cmd", "/S", "/C"],
                _ => &["/bin/sh", "-c"],
            };
            args = default.iter().map(|word| (*word).to_owned()).collect();
        }
        args.push(text);
        args
    }

    fn command(&self, line: &CommandLine) -> Vec<String> {
        match line.shell_form {
            true => self.with_shell(line.args.join(" ")),
            false => line.args.clone(),
        }
    }

    /// Whether the shell of shell forms is the one that nobody named.
    pub(super) fn has_default_shell(&self) -> bool {
        self.config.config.shell.is_empty()
    }

    pub(super) fn env_instruction(&mut self, pairs: &[KeyValue]) {
        for pair in pairs {
            self.env.set(&pair.key, &pair.value);
            self.config.config.set_env(&pair.key, &pair.value);
        }
        self.record(history::pairs("ENV", pairs), false);
    }

    pub(super) fn label(&mut self, pairs: &[KeyValue]) {
        for pair in pairs {
            self.config.config.labels.insert(pair.key.clone(), pair.value.clone());
        }
        self.record(history::pairs("LABEL", pairs), false);
    }

    pub(super) fn cmd(&mut self, line: &CommandLine) {
        let args = self.command(line);
        self.record(format!("CMD {}", history::quoted_list(&args)), false);
        self.config.config.cmd = args;
        self.config.config.args_escaped = true;
    }

    pub(super) fn entrypoint(&mut self, line: &CommandLine) {
        let args = self.command(line);
        self.record(format!("ENTRYPOINT {}", history::quoted_list(&args)), false);
        self.config.config.entrypoint = args;
        if self.given.cmd.is_none() {
            self.config.config.cmd.clear();
        }
    }

    pub(super) fn healthcheck(&mut self, check: &Healthcheck) {
        self.config.config.healthcheck = Some(oci::Healthcheck {
            test: check.test.clone(),
            interval: check.interval.as_nanos() as i64,
            timeout: check.timeout.as_nanos() as i64,
            start_period: check.start_period.as_nanos() as i64,
            start_interval: check.start_interval.as_nanos() as i64,
            retries: i64::from(check.retries),
        });
        self.record(history::healthcheck(check), false);
    }
}

/// Whether a path is absolute, as the platform has it.
pub(super) fn is_absolute(path: &str, platform: &Platform) -> bool {
    match platform.os.as_str() {
        "windows" => {
            let drive = path.get(..2).filter(|drive| drive.eq_ignore_ascii_case("c:"));
            path[drive.map_or(0, str::len)..].starts_with(['/', '\\'])
        }
        _ => path.starts_with('/'),
    }
}

/// Joins a path to an absolute directory and cleans it.
pub(super) fn normalize(path: &str, dir: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{dir}/{path}") };
    clean(&joined)
}

/// Go's `path.Clean` of an absolute path.
pub(super) fn clean(path: &str) -> String {
    wildcard::clean(&format!("/{path}"))
}
