//! RUN: the command, its environment and its mounts.

use super::lower::{Current, Lowering};
use super::stage::Step;
use super::state::{State, clean, normalize};
use super::{
    Access, CacheMount, Entitlements, FilesSource, GraphError, Op, Request, Run, RunMount,
    RunMountKind, RunNetwork, SecretEnv, SecretMount, VertexId,
};
use crate::dockerfile::ast::{self, MountKind, RunSecurity};
use crate::dockerfile::{heredoc, mount};
use crate::wildcard;

/// Where a here-document with a shebang is mounted.
const SCRIPT_DIRECTORY: &str = "/dev/pipes";

pub(super) fn lower_run(
    lowering: &mut Lowering<'_>,
    current: &mut Current,
    step: &Step,
    run: &ast::Run,
) -> Result<(), GraphError> {
    if !run.devices.is_empty() {
        return Err(GraphError::new("`RUN --device` is not supported"));
    }
    entitled(run, lowering.request)?;
    let (command, mut mounts) = command(&current.state, run, step);
    let mut secret_env = Vec::new();
    for (index, text) in run.mounts.iter().enumerate() {
        let source = step.sources.get(index).copied().flatten();
        let parsed = parse_mount(lowering, current, text)?;
        match parsed.kind {
            MountKind::Secret => secret(&parsed, &current.state, &mut mounts, &mut secret_env)?,
            MountKind::Ssh => {
                let is_ssh = |mount: &&RunMount| matches!(mount.kind, RunMountKind::Ssh(_));
                let index = mounts.iter().filter(is_ssh).count();
                mounts.push(ssh(&parsed, &current.state, index)?);
            }
            MountKind::Bind | MountKind::Cache | MountKind::Tmpfs => {
                let input = match (source, parsed.kind) {
                    (Some(stage), _) => lowering.stage_files(stage, current)?,
                    (None, MountKind::Bind) => Some(lowering.files(FilesSource::Main)),
                    (None, _) => None,
                };
                mounts.push(files_mount(&parsed, input, lowering.request, &current.state)?);
            }
        }
    }
    let history = history(&current.state, &command);
    let op = Op::Run(Box::new(Run {
        args: command,
        env: current.state.env.to_strings(),
        proxy_env: super::args::proxy_env(&lowering.request.build_args),
        cwd: clean(current.state.cwd()),
        user: current.state.config.config.user.clone(),
        mounts,
        secret_env,
        network: network(run.network, lowering.request),
        insecure: run.security == RunSecurity::Insecure,
        hostname: hostname(lowering.request),
        platform: current.state.platform.clone(),
        programs: current.state.programs.clone(),
    }));
    let shown = shown(lowering, &current.state, step, run);
    lowering.push(current, op, &shown, step);
    current.state.record(format!("RUN {history} # buildkit"), true);
    Ok(())
}

/// Returns the command with its shell, and the mount of a script if it is one.
fn command(state: &State, run: &ast::Run, step: &Step) -> (Vec<String>, Vec<RunMount>) {
    let heredocs = &step.command.heredocs;
    let args = &run.command.args;
    let (true, Some(first)) = (run.command.shell_form, heredocs.first()) else {
        let args =
            if run.command.shell_form { state.with_shell(args.join(" ")) } else { args.clone() };
        return (args, Vec::new());
    };
    let text = args.join(" ");
    if !heredoc::is_single(&text) {
        let mut whole = text;
        for doc in heredocs {
            whole.push_str(&format!("\n{}{}", doc.content, doc.name));
        }
        return (state.with_shell(whole), Vec::new());
    }
    let body = heredoc::body(first);
    if state.platform.os != "windows" && body.starts_with("#!") {
        let script = RunMountKind::Script { name: first.name.clone(), content: body };
        let mount = RunMount { target: SCRIPT_DIRECTORY.to_owned(), kind: script };
        return (state.with_shell(format!("{SCRIPT_DIRECTORY}/{}", first.name)), vec![mount]);
    }
    (state.with_shell(body), Vec::new())
}

/// What the history says: the arguments in scope with their values, then the command.
fn history(state: &State, command: &[String]) -> String {
    let mut args: Vec<(&str, String)> = Vec::new();
    for (key, value) in &state.args {
        let value = state.env.get(key).map(str::to_owned).or(value.clone()).unwrap_or_default();
        match args.iter_mut().find(|(seen, _)| seen == key) {
            Some(seen) => seen.1 = value,
            None => args.push((key, value)),
        }
    }
    let mut words = Vec::new();
    if !args.is_empty() {
        words.push(format!("|{}", args.len()));
        words.extend(args.into_iter().map(|(key, value)| format!("{key}={value}")));
    }
    words.extend(command.iter().cloned());
    words.join(" ")
}

/// What people see: the instruction, and the first line of a here-document that is all of it.
fn shown(lowering: &Lowering<'_>, state: &State, step: &Step, run: &ast::Run) -> String {
    let code = lowering.shown(state, step);
    let is_single = run.command.shell_form && heredoc::is_single(&run.command.args.join(" "));
    let Some(doc) = step.command.heredocs.first().filter(|_| is_single) else { return code };
    let mut lines = doc.content.trim().lines();
    let first = lines.next().unwrap_or_default();
    let more = if lines.next().is_some() { "..." } else { "" };
    format!("{code} ({first}{more})")
}

fn network(network: ast::RunNetwork, request: &Request) -> RunNetwork {
    match network {
        ast::RunNetwork::Default => request.network,
        ast::RunNetwork::None => RunNetwork::None,
        ast::RunNetwork::Host => RunNetwork::Host,
    }
}

/// Fails if RUN asks for what it may not; where nothing is to be run ([`Request::every_stage`]), anything may be asked for.
fn entitled(run: &ast::Run, request: &Request) -> Result<(), GraphError> {
    let Entitlements { host_network, insecure } = request.entitlements;
    let (flag, name) = match () {
        () if request.every_stage => return Ok(()),
        () if run.network == ast::RunNetwork::Host && !host_network => {
            ("--network=host", "network.host")
        }
        () if run.security == RunSecurity::Insecure && !insecure => {
            ("--security=insecure", "security.insecure")
        }
        () => return Ok(()),
    };
    let error = GraphError::new(format!("`RUN {flag}` is not allowed in this build"));
    Err(error.hint(format!("if you trust the Dockerfile: `--allow={name}`")))
}

fn hostname(request: &Request) -> String {
    let given = request.build_args.get("BUILDKIT_SANDBOX_HOSTNAME");
    given.cloned().unwrap_or_else(|| "buildkitsandbox".to_owned())
}

fn parse_mount(
    lowering: &mut Lowering<'_>,
    current: &Current,
    text: &str,
) -> Result<ast::Mount, GraphError> {
    let Lowering { notes, expander, .. } = lowering;
    let mut expand = |word: &str| notes.expand(expander, &current.state, word);
    Ok(mount::parse(text, &mut expand)?)
}

fn target(written: &str, state: &State) -> Result<String, GraphError> {
    let target = normalize(written, state.cwd());
    match target.as_str() {
        "/" => Err(GraphError::new("a mount cannot take the place of `/`")
            .hint("name another directory with `target=`")),
        _ => Ok(target),
    }
}

fn files_mount(
    mount: &ast::Mount,
    input: Option<VertexId>,
    request: &Request,
    state: &State,
) -> Result<RunMount, GraphError> {
    let target = target(&mount.target, state)?;
    let source = clean(&format!("/{}", mount.source));
    let kind = match mount.kind {
        MountKind::Bind => RunMountKind::Bind { input, source, readonly: mount.readonly },
        MountKind::Tmpfs => {
            RunMountKind::Tmpfs { size: mount.size.max(0) as u64, readonly: mount.readonly }
        }
        MountKind::Cache => {
            let namespace = request.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
            let id =
                if mount.id.is_empty() { wildcard::clean(&mount.target) } else { mount.id.clone() };
            let given = mount.mode.is_some() || mount.uid.is_some() || mount.gid.is_some();
            let access = (given && source == "/").then(|| access(mount, 0o755));
            RunMountKind::Cache(CacheMount {
                id: format!("{}/{id}", namespace.map_or("", String::as_str)),
                input,
                source,
                sharing: mount.sharing.unwrap_or_default(),
                readonly: mount.readonly,
                access,
            })
        }
        MountKind::Secret | MountKind::Ssh => unreachable!("handled by the caller"),
    };
    Ok(RunMount { target, kind })
}

fn access(mount: &ast::Mount, mode: u32) -> Access {
    Access {
        mode: mount.mode.unwrap_or(mode),
        uid: mount.uid.unwrap_or(0),
        gid: mount.gid.unwrap_or(0),
    }
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn secret(
    mount: &ast::Mount,
    state: &State,
    mounts: &mut Vec<RunMount>,
    variables: &mut Vec<SecretEnv>,
) -> Result<(), GraphError> {
    let id = match (mount.source.as_str(), mount.id.as_str(), mount.target.as_str()) {
        ("", "", "") => {
            return Err(
                GraphError::new("a secret needs an id").hint("write `--mount=type=secret,id=NAME`")
            );
        }
        ("", "", target) => base_name(target).to_owned(),
        ("", id, _) => id.to_owned(),
        (source, _, _) => source.to_owned(),
    };
    let required = mount.required;
    if let Some(name) = &mount.env {
        variables.push(SecretEnv { name: name.clone(), id: id.clone(), required });
    }
    let written = match (mount.target.as_str(), &mount.env) {
        ("", Some(_)) => return Ok(()),
        ("", None) => format!("/run/secrets/{}", base_name(&id)),
        (target, _) => target.to_owned(),
    };
    let kind = RunMountKind::Secret(SecretMount { id, required, access: access(mount, 0o400) });
    mounts.push(RunMount { target: target(&written, state)?, kind });
    Ok(())
}

/// Returns the mount of an agent, the `index`th of the command.
fn ssh(mount: &ast::Mount, state: &State, index: usize) -> Result<RunMount, GraphError> {
    if !mount.source.is_empty() {
        return Err(GraphError::new("a mount of type `ssh` has no `source`"));
    }
    let id = if mount.id.is_empty() { "default".to_owned() } else { mount.id.clone() };
    let written = match mount.target.as_str() {
        "" => format!("/run/buildkit/ssh_agent.{index}"),
        target => target.to_owned(),
    };
    let access = access(mount, 0o600);
    let kind = RunMountKind::Ssh(SecretMount { id, required: mount.required, access });
    Ok(RunMount { target: target(&written, state)?, kind })
}
