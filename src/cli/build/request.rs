//! Turns flags and environment into a `Build`.
//!
//! All problems are collected, so that one run tells them all. What a name or a platform means is the builder's to
//! decide: they are handed on as written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use kiln::builder::{Build, NetworkMode, NoCache, RegistrySettings, Squash};
use kiln::diagnostic::Diagnostic;
use kiln::export::{Dest, Output, OutputKind};

use super::context::{self, Inputs};
use super::flags::Flags;
use super::values::{self, Read, pair, problem};
use crate::cli::Session;
use crate::cli::environment::Environment;

/// What is built, and what goes with it.
#[derive(Debug)]
pub(super) struct Request {
    /// For the builder.
    pub(super) build: Build,
    /// For the user.
    pub(super) warnings: Vec<String>,
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
    let config = docker_config(environment, &mut warnings);
    let build_args = problems.each(&flags.build_arg, |text| build_arg(text, environment));
    let mut build_args: Vec<_> = build_args.into_iter().flatten().collect();
    let epoch = problems.take(source_date_epoch(&mut build_args, environment)).flatten();
    add_proxies(&mut build_args, config.as_deref());
    let secrets = problems.each(&flags.secret, |text| values::secret(text, environment));
    let (secrets, empty): (Vec<_>, Vec<_>) = secrets.into_iter().unzip();
    warnings.extend(empty.into_iter().flatten());
    let outputs = problems.each(&flags.output, output);
    let outputs = problems.take(together(outputs, flags.load)).unwrap_or_default();
    let named_contexts = problems.each(&flags.build_context, named_context);
    let labels = problems.each(&flags.label, label);
    let ssh = problems.each(&flags.ssh, |text| values::ssh(text, environment));
    let add_hosts = problems.each(&flags.add_host, values::add_host);
    let ulimits = problems.each(&flags.ulimit, values::ulimit);
    let shm_size = flags.shm_size.as_deref().map(|text| values::size("--shm-size", text));
    let shm_size = shm_size.and_then(|size| problems.take(size)).unwrap_or(0);
    let network = problems.take(network(&flags.network)).unwrap_or_default();
    // Last: standard input is not touched when something else is wrong already.
    let Inputs { context, dockerfile, spool } = problems
        .last(|| context::find(&flags.context, flags.file.as_deref(), stdin, &state.join("tmp")))?;
    let build = Build {
        state,
        init: PathBuf::from(INIT),
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
        secrets,
        ssh,
        add_hosts,
        shm_size,
        ulimits,
        jobs: flags.jobs.map_or_else(processors, usize::from),
        source_date_epoch: epoch,
        registry: registry(config, environment),
    };
    Ok(Request { build, warnings, _spool: spool })
}

/// This program, also when its file was replaced or removed since it was started.
const INIT: &str = "/proc/self/exe";

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

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The argument, else the environment, which becomes an argument; empty: none.
fn source_date_epoch(
    build_args: &mut Vec<(String, String)>,
    environment: &Environment,
) -> Read<Option<i64>> {
    let given = build_args.iter().rev().find(|(name, _)| name == EPOCH);
    let value = match given {
        Some((_, value)) => value.clone(),
        None => {
            let Some(value) = environment.set(EPOCH) else { return Ok(None) };
            build_args.push((EPOCH.to_owned(), value.clone()));
            value
        }
    };
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| {
        problem(format!("`{EPOCH}={value}` is not a number of seconds"))
            .hint(Some("e.g. `$(git log -1 --format=%ct)`".to_owned()))
    })
}

fn output(text: &str) -> Read<Output> {
    let output = Output::parse(text);
    output.map_err(|error| problem(error.to_string()).causes_of(&error).hint(error.hint()))
}

/// Looks at all outputs together: `--load` is one more, and standard output takes only one.
fn together(mut outputs: Vec<Output>, load: bool) -> Read<Vec<Output>> {
    use std::io::IsTerminal;
    let to_stdout = outputs.iter().filter(|output| output.dest == Some(Dest::Stdout)).count();
    if to_stdout > 1 {
        return Err(problem("only one output can go to standard output"));
    }
    if to_stdout == 1 && io::stdout().is_terminal() {
        let hint = "give `dest=FILE`, or redirect standard output".to_owned();
        return Err(problem("an archive is not written to a terminal").hint(Some(hint)));
    }
    let kept = outputs.iter().any(|output| output.kind == OutputKind::Image);
    if load && !outputs.is_empty() && !kept {
        outputs.extend(Output::parse("type=image").ok());
    }
    Ok(outputs)
}

fn named_context(text: &str) -> Read<(String, String)> {
    let form = || {
        problem(format!("invalid context `--build-context {text}`"))
            .hint(Some("write `NAME=VALUE`".to_owned()))
    };
    let (name, value) = pair("--build-context", text).map_err(|_| form())?;
    let value = value.filter(|value| !value.is_empty()).ok_or_else(form)?;
    let image = ["docker-image://", "oci-layout://"].iter().any(|scheme| value.starts_with(scheme));
    if image || PathBuf::from(&value).is_dir() {
        return Ok((name, value));
    }
    if context::is_url(&value) || value.starts_with("target:") {
        let message = format!("the context `{name}` from `{value}` is not supported yet");
        return Err(problem(message));
    }
    let message = format!("the context `{name}` is not a directory: `{value}`");
    let hint = "a directory, oci-layout://DIR or docker-image://REFERENCE".to_owned();
    Err(problem(message).hint(Some(hint)))
}

fn network(mode: &str) -> Read<NetworkMode> {
    match mode {
        "" | "default" => Ok(NetworkMode::Default),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        _ => Err(problem(format!("`--network={mode}` is not supported"))
            .hint(Some("the networks are default, host and none".to_owned()))),
    }
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

/// `local` is this machine's platform, and alone is what kiln builds for anyway.
fn platforms(flags: &Flags, environment: &Environment) -> Vec<String> {
    let default = environment.set("DOCKER_DEFAULT_PLATFORM").filter(|_| flags.platform.is_empty());
    let given = flags.platform.iter().map(String::as_str).chain(default.iter().map(String::as_str));
    let given: Vec<_> = given.map(str::trim).filter(|platform| !platform.is_empty()).collect();
    match given.as_slice() {
        ["local"] => Vec::new(),
        _ => given
            .into_iter()
            .map(|it| if it == "local" { this_platform() } else { it.to_owned() })
            .collect(),
    }
}

fn this_platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("linux/{architecture}")
}

/// A configuration that cannot be read stops no build: most need no credentials.
fn docker_config(environment: &Environment, warnings: &mut Vec<String>) -> Option<Vec<u8>> {
    use std::error::Error as _;
    let path = environment.docker_config()?;
    kiln::fs::read_if_present(&path).unwrap_or_else(|error| {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        warnings.push(format!("{error}{cause}"));
        None
    })
}

const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

/// The proxies of docker's configuration are build arguments in both cases, unless one is given.
fn add_proxies(build_args: &mut Vec<(String, String)>, config: Option<&[u8]>) {
    // A broken configuration is reported by whoever needs its credentials.
    let config = config.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok());
    let Some(config) = config else { return };
    for (key, name) in PROXIES {
        let lower = name.to_lowercase();
        let given = build_args.iter().any(|(arg, _)| arg == name || *arg == lower);
        let value = config["proxies"]["default"][key].as_str().filter(|value| !value.is_empty());
        if let (false, Some(value)) = (given, value) {
            build_args.push((name.to_owned(), value.to_owned()));
            build_args.push((lower, value.to_owned()));
        }
    }
}

fn registry(docker_config: Option<Vec<u8>>, environment: &Environment) -> RegistrySettings {
    let names = PROXIES.iter().flat_map(|(_, name)| [(*name).to_owned(), name.to_lowercase()]);
    let proxies: BTreeMap<_, _> =
        names.filter_map(|name| Some((name.clone(), environment.set(&name)?))).collect();
    RegistrySettings { docker_config, insecure: Vec::new(), proxies }
}

#[cfg(test)]
mod tests;
