//! Turns flags and environment into a `Build`.
//!
//! All problems are collected, so that one run tells them all. What a name or a platform means is the builder's to
//! decide: they are handed on as written.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use kiln::builder::{Build, NetworkMode, NoCache, Squash};
use kiln::diagnostic::Diagnostic;
use kiln::export::{Dest, Output, OutputKind};
use kiln::graph::Entitlements;
use kiln::parallel::processors;

use super::context::{self, Inputs};
use super::flags::Flags;
use super::values::{self, Read, pair, problem};
use crate::cli::Session;
use crate::cli::docker::DockerConfig;
use crate::cli::environment::{EPOCH, Environment};
use crate::cli::gateway::gateway;
use crate::cli::snapshotter::Snapshotter;

/// What is built, and what goes with it.
#[derive(Debug)]
pub(crate) struct Request {
    /// For the builder.
    pub(crate) build: Build,
    /// For the user.
    pub(crate) warnings: Vec<String>,
    /// Stays open until the build is over.
    pub(super) _spool: Option<File>,
}

/// Makes the request, or says everything that is wrong with the flags.
pub(super) fn make(
    flags: &Flags,
    session: &Session,
    stdin: &mut dyn io::Read,
) -> Result<Request, Vec<Diagnostic>> {
    let mut problems = Problems(flags.compat.problems());
    let environment = &session.environment;
    let mut warnings = flags.compat.warnings();
    let state = problems.take(session.state_root()).unwrap_or_default();
    let reach = problems.take(flags.reach.settings(session));
    let (registry, unread) = reach.unwrap_or_default();
    warnings.extend(unread);
    let config = problems.take(session.config()).unwrap_or_default();
    let build_args = problems.each(&flags.build_arg, |text| build_arg(text, environment));
    let mut build_args: Vec<_> = build_args.into_iter().flatten().collect();
    add_epoch(&mut build_args, environment);
    DockerConfig::read(environment).add_proxies(&mut build_args);
    let secrets = problems.each(&flags.secret, |text| values::secret(text, environment));
    let (secrets, empty): (Vec<_>, Vec<_>) = secrets.into_iter().unzip();
    warnings.extend(empty.into_iter().flatten());
    let outputs = problems.each(&flags.output, output);
    let outputs = problems.take(together(outputs, flags)).unwrap_or_default();
    let named_contexts = problems.each(&flags.build_context, named_context);
    let labels = problems.each(&flags.label, label);
    let ssh = problems.each(&flags.ssh, |text| values::ssh(text, environment));
    let add_hosts = problems.each(&flags.add_host, values::add_host);
    let ulimits = problems.each(&flags.ulimit, values::ulimit);
    let shm_size = flags.shm_size.as_deref().map(|text| values::size("--shm-size", text));
    let shm_size = shm_size.and_then(|size| problems.take(size)).unwrap_or(0);
    let limits = problems.take(flags.limits.limits(&flags.resource)).unwrap_or_default();
    let network = problems.take(network(&flags.network)).unwrap_or_default();
    let entitlements = problems.take(entitlements(&flags.allow)).unwrap_or_default();
    // Last: standard input is not touched when something else is wrong already.
    let Inputs { context, dockerfile, spool } = problems
        .last(|| context::find(&flags.context, flags.file.as_deref(), stdin, &state.join("tmp")))?;
    let build = Build {
        state,
        init: PathBuf::from(crate::cli::INIT),
        context,
        dockerfile,
        named_contexts,
        target: flags.target.clone().filter(|target| !target.is_empty()),
        build_args,
        labels,
        tags: flags.tag.clone(),
        platforms: platforms(flags, environment),
        outputs,
        squash: squash(flags),
        no_cache: no_cache(flags),
        pull: flags.pull,
        network,
        entitlements,
        secrets,
        ssh,
        add_hosts,
        shm_size,
        ulimits,
        limits,
        jobs: flags.jobs.map_or_else(|| 16.max(4 * processors()), usize::from),
        registry,
        snapshotter: Snapshotter::choose(flags.snapshotter, config.snapshotter),
        keep_storage: config.keep_storage,
    };
    Ok(Request { build, warnings, _spool: spool })
}

struct Problems(Vec<Diagnostic>);

impl Problems {
    fn take<T>(&mut self, read: Read<T>) -> Option<T> {
        read.map_err(|problem| self.0.push(problem)).ok()
    }

    fn each<T>(&mut self, texts: &[String], read: impl Fn(&str) -> Read<T>) -> Vec<T> {
        texts.iter().filter_map(|text| self.take(read(text))).collect()
    }

    fn last<T>(mut self, read: impl FnOnce() -> Read<T>) -> Result<T, Vec<Diagnostic>> {
        if self.0.is_empty() {
            return read().map_err(|problem| vec![problem]);
        }
        self.0.dedup();
        Err(self.0)
    }
}

/// `NAME=VALUE`, or `NAME` with the value of the environment; a name that is not set there gives nothing.
fn build_arg(text: &str, environment: &Environment) -> Read<Option<(String, String)>> {
    let (name, value) = pair("--build-arg", text)?;
    let value = value.or_else(|| environment.get(&name));
    Ok(value.map(|value| (name, value)))
}

fn label(text: &str) -> Read<(String, String)> {
    let (name, value) = pair("--label", text)?;
    Ok((name, value.unwrap_or_default()))
}

/// The environment's time is a build argument, as buildx has it; what it means is the builder's to say.
fn add_epoch(build_args: &mut Vec<(String, String)>, environment: &Environment) {
    let given = build_args.iter().any(|(name, _)| name == EPOCH);
    let value = environment.set(EPOCH).filter(|_| !given);
    build_args.extend(value.map(|value| (EPOCH.to_owned(), value)));
}

fn output(text: &str) -> Read<Output> {
    let output = Output::parse(text);
    output.map_err(|error| problem(error.to_string()).causes_of(&error).hint(error.hint()))
}

/// Looks at all outputs together: `--load` and `--push` are two more, and standard output takes only one.
fn together(mut outputs: Vec<Output>, flags: &Flags) -> Read<Vec<Output>> {
    use std::io::IsTerminal;
    let to_stdout = outputs.iter().filter(|output| output.dest == Some(Dest::Stdout)).count();
    if to_stdout > 1 {
        return Err(problem("only one output can go to standard output"));
    }
    if to_stdout == 1 && io::stdout().is_terminal() {
        let hint = "give `dest=FILE`, or redirect standard output".to_owned();
        return Err(problem("an archive is not written to a terminal").hint(Some(hint)));
    }
    let is_loaded = outputs.iter().any(is_loaded);
    let is_pushed = outputs.iter().any(|output| output.push);
    if flags.push && !is_pushed {
        outputs.extend(Output::parse("type=registry").ok());
    }
    if flags.load && !is_loaded {
        outputs.extend(Output::parse("type=docker").ok());
    }
    Ok(outputs)
}

/// Returns whether an output is an archive that another program is to load.
pub(super) fn is_loaded(output: &Output) -> bool {
    matches!(output.kind, OutputKind::Docker { tar: true }) && output.dest.is_none()
}

/// `NAME=VALUE`; what the value means is the builder's to say.
fn named_context(text: &str) -> Read<(String, String)> {
    let form = || {
        problem(format!("invalid context `--build-context {text}`"))
            .hint(Some("write `NAME=VALUE`".to_owned()))
    };
    let (name, value) = pair("--build-context", text).map_err(|_| form())?;
    let value = value.filter(|value| !value.is_empty()).ok_or_else(form)?;
    Ok((name, value))
}

fn network(mode: &str) -> Read<NetworkMode> {
    match mode {
        "" | "default" => Ok(NetworkMode::Default),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        _ => match gateway(mode) {
            Some(gateway) => gateway.map(NetworkMode::Private),
            None => Err(problem(format!("`--network={mode}` is not supported")).hint(Some(
                "the networks are default, host, none, private, pasta and slirp4netns".to_owned(),
            ))),
        },
    }
}

/// `--allow`. One entitlement is buildx's own, about files that kiln does not delete.
fn entitlements(names: &[String]) -> Read<Entitlements> {
    let mut entitlements = Entitlements::default();
    for name in names {
        match name.as_str() {
            "network.host" => entitlements.host_network = true,
            "security.insecure" => entitlements.insecure = true,
            "buildx.local.delete" => {}
            _ if name.starts_with("device") => {
                return Err(problem(format!("`--allow={name}` is not supported yet")));
            }
            _ => {
                let hint = "the entitlements are network.host and security.insecure".to_owned();
                return Err(
                    problem(format!("unknown entitlement `--allow={name}`")).hint(Some(hint))
                );
            }
        }
    }
    Ok(entitlements)
}

fn squash(flags: &Flags) -> Squash {
    match (flags.squash_all, flags.squash) {
        (true, _) => Squash::All,
        (false, true) => Squash::Stage,
        (false, false) => Squash::No,
    }
}

/// Both flags together mean the stronger one.
fn no_cache(flags: &Flags) -> NoCache {
    let stages: Vec<_> = flags.no_cache_filter.iter().filter(|stage| !stage.is_empty()).collect();
    match (flags.no_cache, stages.is_empty()) {
        (true, _) => NoCache::All,
        (false, true) if flags.no_cache_filter.is_empty() => NoCache::Never,
        // `--no-cache-filter=` names no stage and means all, as in docker.
        (false, true) => NoCache::All,
        (false, false) => NoCache::Stages(stages.into_iter().cloned().collect()),
    }
}

/// Each value may name several, with commas between; the environment's counts only without the flag.
fn platforms(flags: &Flags, environment: &Environment) -> Vec<String> {
    let default = environment.set("DOCKER_DEFAULT_PLATFORM").filter(|_| flags.platform.is_empty());
    let given = flags.platform.iter().chain(default.iter());
    let given = given.flat_map(|list| list.split(',')).map(str::trim);
    given.filter(|platform| !platform.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
