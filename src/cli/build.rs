//! `kiln build`: from flags to a request, and from an outcome to what is printed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use kiln::builder::{
    self, Build, Context, DockerfileSource, NetworkMode, NoCache, Outcome, RegistrySettings,
    Secret, SecretSource, Squash,
};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::Cancel;
use kiln::export::Output;
use kiln::export::output::csv;
use kiln::sandbox::spec::Rlimit;

use super::flags::BuildFlags;
use super::{Done, Failure, print, progress, signals, sizes};

type Checked<T> = Result<T, Failure>;

pub(super) fn run(root: PathBuf, flags: BuildFlags) -> Done {
    let start = std::time::Instant::now();
    let style = progress::style(flags.progress.as_deref(), flags.quiet)?;
    let (quiet, iidfile, metadata) =
        (flags.quiet, flags.iidfile.clone(), flags.metadata_file.clone());
    let (build, _spool) = request(root, flags)?;
    let cancel = Cancel::new();
    signals::cancel_on_signal(&cancel);
    let display = progress::Display::new(style);
    let result = builder::build(&build, &display, &cancel);
    let canceled = cancel.is_canceled();
    display.finish(result.is_ok());
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(_) if canceled => return Err(Failure::Canceled),
        Err(diagnostics) => return Err(diagnostics.into()),
    };
    if outcome.wrote {
        settle_later(&build);
    }
    if let Some(path) = iidfile {
        write_file(&path, outcome.config.to_string().as_bytes())?;
    }
    if let Some(path) = metadata {
        write_file(&path, &metadata_json(&outcome))?;
    }
    if !quiet && style.is_for_people() {
        let names = if outcome.names.is_empty() {
            String::new()
        } else {
            format!(" as {}", outcome.names.join(", "))
        };
        super::warn(&format!("built{names} in {:.1}s", start.elapsed().as_secs_f64()));
    }
    // Standard output may be an archive already.
    match build.outputs.iter().any(|output| output.dest == Some(kiln::export::Dest::Stdout)) {
        true => Ok(()),
        false => print(&format!("{}\n", if quiet { outcome.config } else { outcome.manifest })),
    }
}

/// Starts the process that flushes the store. Nobody waits for it: until it is done, a crash of the machine costs the
/// cached results of this build, and nothing else does.
fn settle_later(build: &Build) {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let mut command = Command::new(&build.init);
    command.arg("--root").arg(&build.state).arg("settle").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Without it the results merely count as unsettled.
    let _ = command.spawn();
}

/// `kiln settle`
pub(super) fn settle(root: &Path) -> Done {
    kiln::store::settle(root).map_err(|error| {
        let diagnostic = Diagnostic::new(Blame::Machine, error.to_string());
        Failure::from(vec![diagnostic.causes_of(&error)])
    })
}

fn metadata_json(outcome: &Outcome) -> Vec<u8> {
    let value = serde_json::json!({
        "containerimage.config.digest": outcome.config.to_string(),
        "containerimage.descriptor": {
            "mediaType": outcome.media_type,
            "digest": outcome.manifest.to_string(),
            "size": outcome.manifest_size,
        },
        "containerimage.digest": outcome.manifest.to_string(),
        "image.name": outcome.names.join(","),
    });
    let mut bytes = serde_json::to_vec_pretty(&value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Writes a small file so that nobody ever reads a part of it.
fn write_file(path: &Path, bytes: &[u8]) -> Done {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    kiln::fs::replace(path, bytes, directory.unwrap_or(Path::new("."))).map_err(machine)
}

fn machine(error: kiln::fs::PathError) -> Failure {
    Failure::from(vec![Diagnostic::new(Blame::Machine, error.to_string()).causes_of(&error)])
}

/// Turns flags into a request. The file that is returned beside it holds a context from standard input.
pub(super) fn request(root: PathBuf, flags: BuildFlags) -> Checked<(Build, Option<File>)> {
    if let Some(name) = flags.unsupported.given() {
        return Err(Failure::input(
            format!("`{name}` is not supported yet"),
            "leave it out; `kiln build --help` lists what is",
        ));
    }
    let (context, dockerfile, spool) = sources(&root, &flags)?;
    let build = Build {
        state: root,
        init: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe")),
        context,
        dockerfile,
        named_contexts: pairs("--build-context", &flags.build_context)?,
        target: flags.target,
        build_args: flags.build_arg.iter().filter_map(|text| build_arg(text)).collect(),
        labels: flags.label.iter().map(|text| split_or_empty(text)).collect(),
        tags: flags.tag,
        platforms: flags.platform.into_iter().filter(|platform| !platform.is_empty()).collect(),
        outputs: flags.output.iter().map(|text| output(text)).collect::<Checked<_>>()?,
        squash: match (flags.squash_all, flags.squash) {
            (true, _) => Squash::All,
            (false, true) => Squash::Stage,
            (false, false) => Squash::No,
        },
        no_cache: match (flags.no_cache, flags.no_cache_filter.is_empty()) {
            (true, _) => NoCache::All,
            (false, false) => NoCache::Stages(flags.no_cache_filter),
            (false, true) => NoCache::Never,
        },
        pull: flags.pull,
        network: network(&flags.network)?,
        secrets: flags.secret.iter().map(|text| secret(text)).collect::<Checked<_>>()?,
        ssh: flags.ssh.iter().map(|text| ssh(text)).collect::<Checked<_>>()?,
        add_hosts: flags.add_host.iter().map(|text| add_host(text)).collect::<Checked<_>>()?,
        shm_size: flags.shm_size.map_or(Ok(0), |text| size("--shm-size", &text))?,
        ulimits: flags.ulimit.iter().map(|text| ulimit(text)).collect::<Checked<_>>()?,
        jobs: flags
            .jobs
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
        source_date_epoch: source_date_epoch()?,
        registry: registry_settings(),
    };
    Ok((build, spool))
}

type Sources = (Context, DockerfileSource, Option<File>);

fn sources(root: &Path, flags: &BuildFlags) -> Checked<Sources> {
    let file = flags.file.as_deref();
    match (flags.context.as_str(), file) {
        ("-", Some("-")) => {
            let message = "standard input cannot be both the context and the Dockerfile";
            Err(Failure::input(message, "write one of the two to a file"))
        }
        ("-", _) => from_stdin(root, file),
        (context, _) => {
            let path = Path::new(context);
            let remote = ["http://", "https://", "git://", "ssh://", "git@", "github.com/"];
            if !path.exists() && remote.iter().any(|scheme| context.starts_with(scheme)) {
                let message =
                    format!("the context `{context}` is a URL, which is not supported yet");
                return Err(Failure::input(
                    message,
                    "download or clone it, and name the directory",
                ));
            }
            if path.is_dir() {
                return Ok((
                    Context::Directory(path.to_owned()),
                    dockerfile_beside(path, file)?,
                    None,
                ));
            }
            if path.is_file() {
                return Ok((Context::Archive(path.to_owned()), dockerfile_in_archive(file)?, None));
            }
            Err(Failure::input(
                format!("the context `{context}` is neither a directory nor an archive"),
                "the context comes last: `kiln build -t NAME .`",
            ))
        }
    }
}

/// The Dockerfile of a directory. `-f` is relative to where kiln runs, not to the context.
fn dockerfile_beside(context: &Path, file: Option<&str>) -> Checked<DockerfileSource> {
    match file {
        Some("-") => read_stdin(),
        Some(file) => Ok(DockerfileSource::File { path: file.into(), display: file.to_owned() }),
        None => {
            let names = ["Dockerfile", "dockerfile", "Containerfile"];
            let found = names.iter().map(|name| context.join(name)).find(|path| path.exists());
            let path = found.unwrap_or_else(|| context.join("Dockerfile"));
            let display = path.strip_prefix(".").unwrap_or(&path).display().to_string();
            Ok(DockerfileSource::File { path, display })
        }
    }
}

fn dockerfile_in_archive(file: Option<&str>) -> Checked<DockerfileSource> {
    match file {
        Some("-") => read_stdin(),
        Some(file) if Path::new(file).is_absolute() => {
            Ok(DockerfileSource::File { path: file.into(), display: file.to_owned() })
        }
        file => Ok(DockerfileSource::InContext(file.unwrap_or("Dockerfile").to_owned())),
    }
}

fn read_stdin() -> Checked<DockerfileSource> {
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).map_err(stdin_failed)?;
    Ok(DockerfileSource::Text { display: "<stdin>".to_owned(), text })
}

fn stdin_failed(error: std::io::Error) -> Failure {
    Failure::from(vec![Diagnostic::new(
        Blame::Machine,
        format!("cannot read standard input: {error}"),
    )])
}

/// Standard input is an archive, or a Dockerfile that needs no context.
fn from_stdin(root: &Path, file: Option<&str>) -> Checked<Sources> {
    let mut stdin = std::io::stdin().lock();
    let mut head = Vec::new();
    stdin.by_ref().take(512).read_to_end(&mut head).map_err(stdin_failed)?;
    if !is_archive(&head) {
        if let Some(file) = file {
            let message =
                format!("`-f {file}` names a Dockerfile, and standard input is one as well");
            return Err(Failure::input(
                message,
                "leave out `-f`, or give a tar archive on standard input",
            ));
        }
        let mut text = head;
        stdin.read_to_end(&mut text).map_err(stdin_failed)?;
        let dockerfile = DockerfileSource::Text { display: "<stdin>".to_owned(), text };
        return Ok((Context::Empty, dockerfile, None));
    }
    kiln::fs::create_dir_all(root).map_err(machine)?;
    // It has no name, so that not even a killed build leaves it behind.
    let spool = tempfile::tempfile_in(root);
    let mut spool =
        spool.map_err(|error| machine(kiln::fs::PathError::of("create a file in", root)(error)))?;
    let failed = |error| machine(kiln::fs::PathError::of("write a file in", root)(error));
    spool.write_all(&head).map_err(failed)?;
    std::io::copy(&mut stdin, &mut spool).map_err(failed)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", spool.as_raw_fd()));
    Ok((Context::Archive(path), dockerfile_in_archive(file)?, Some(spool)))
}

fn is_archive(head: &[u8]) -> bool {
    let compressed: [&[u8]; 4] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    compressed.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

fn split_or_empty(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

fn pairs(flag: &str, texts: &[String]) -> Checked<Vec<(String, String)>> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(Failure::input(format!("`{flag} {text}` is no `NAME=VALUE`"), "")),
    };
    texts.iter().map(pair).collect()
}

/// A build argument without a value is taken from the environment, and not given at all if it is not set there.
fn build_arg(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.to_owned(), value)),
    }
}

fn output(text: &str) -> Checked<Output> {
    Output::parse(text)
        .map_err(|error| Failure::input(error.message, error.hint.unwrap_or_default()))
}

fn network(text: &str) -> Checked<NetworkMode> {
    match text {
        "default" => Ok(NetworkMode::Default),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => {
            Err(Failure::input(format!("unknown network `{other}`"), "use default, host or none"))
        }
    }
}

fn secret(text: &str) -> Checked<Secret> {
    let usage = "write `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`";
    let bad = |message: String| Failure::input(message, usage);
    let fields = csv(text).ok_or_else(|| bad(format!("unpaired quote in `--secret {text}`")))?;
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in &fields {
        let pair = field.split_once('=');
        let (key, value) =
            pair.ok_or_else(|| bad(format!("`{field}` in `--secret {text}` is no `key=value`")))?;
        match key {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => file = Some(PathBuf::from(value)),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
            _ => return Err(bad(format!("`{field}` means nothing in `--secret {text}`"))),
        }
    }
    let id = id
        .filter(|id| !id.is_empty())
        .ok_or_else(|| bad(format!("`--secret {text}` has no id")))?;
    if kind.as_deref() == Some("env") && variable.is_none() {
        variable = file.take().map(|path| path.display().to_string()).or(Some(id.clone()));
    }
    let source = match (file, variable) {
        (Some(path), _) => file_secret(path, text)?,
        (None, Some(name)) => variable_secret(&name)?,
        (None, None) if kind.is_none() && std::env::var_os(&id).is_some() => variable_secret(&id)?,
        (None, None) => file_secret(PathBuf::from(&id), text)?,
    };
    Ok(Secret { id, source })
}

fn file_secret(path: PathBuf, text: &str) -> Checked<SecretSource> {
    match path.metadata() {
        Ok(meta) if meta.is_file() => Ok(SecretSource::File(path)),
        Ok(_) => {
            Err(Failure::input(format!("`{}` of `--secret {text}` is no file", path.display()), ""))
        }
        Err(error) => Err(Failure::input(
            format!("cannot read `{}` of `--secret {text}`: {error}", path.display()),
            "",
        )),
    }
}

fn variable_secret(name: &str) -> Checked<SecretSource> {
    use std::os::unix::ffi::OsStringExt;
    match std::env::var_os(name) {
        Some(value) => Ok(SecretSource::Value(value.into_vec())),
        None => Err(Failure::input(format!("the variable `{name}` for a secret is not set"), "")),
    }
}

fn ssh(text: &str) -> Checked<(String, PathBuf)> {
    let (id, path) = match text.split_once('=') {
        Some((id, path)) => (id, Some(PathBuf::from(path))),
        None => (text, None),
    };
    let agent =
        || std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = path.or_else(agent) else {
        return Err(Failure::input(
            format!("`--ssh {text}` needs an agent, but SSH_AUTH_SOCK is not set"),
            "start one with `eval $(ssh-agent)` and add your key with `ssh-add`",
        ));
    };
    use std::os::unix::fs::FileTypeExt;
    match path.metadata() {
        Ok(meta) if meta.file_type().is_socket() => Ok((id.to_owned(), path)),
        Ok(_) => Err(Failure::input(
            format!("`{}` of `--ssh {text}` is no agent's socket", path.display()),
            "key files are not supported yet: add the key to an agent with `ssh-add`",
        )),
        Err(error) => Err(Failure::input(
            format!("cannot use `{}` of `--ssh {text}`: {error}", path.display()),
            "",
        )),
    }
}

fn add_host(text: &str) -> Checked<(String, String)> {
    let pair = text.split_once('=').or_else(|| text.split_once(':'));
    let usage = "write `--add-host NAME:ADDRESS`";
    let (name, address) = pair
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Failure::input(format!("`--add-host {text}` has no address"), usage))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    // Steps share the host's network, where the host is this machine itself.
    let address = if address == "host-gateway" { "127.0.0.1" } else { address };
    match address.parse::<std::net::IpAddr>() {
        Ok(_) => Ok((name.to_lowercase(), address.to_owned())),
        Err(_) => Err(Failure::input(
            format!("`{address}` in `--add-host {text}` is no IP address"),
            usage,
        )),
    }
}

fn size(flag: &str, text: &str) -> Checked<u64> {
    sizes::parse(text).ok_or_else(|| {
        Failure::input(format!("`{flag} {text}` is no size"), "write for instance `128m`")
    })
}

pub(super) fn ulimit(text: &str) -> Checked<Rlimit> {
    let bad = || {
        Failure::input(
            format!("`--ulimit {text}` is no limit"),
            "write `NAME=SOFT[:HARD]`, e.g. `nofile=1024:4096`",
        )
    };
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse().map_err(|_| bad()),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(Failure::input(
            format!("the soft limit of `--ulimit {text}` is above the hard one"),
            "",
        ));
    }
    Ok(Rlimit { name: name.to_owned(), soft, hard })
}

fn source_date_epoch() -> Checked<Option<i64>> {
    match std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Failure::input(
                format!("SOURCE_DATE_EPOCH is `{text}`, which is no number"),
                "give it as seconds since 1970-01-01",
            )
        }),
    }
}

/// What the environment says about registries.
pub(super) fn registry_settings() -> RegistrySettings {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory =
        variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")));
    let docker_config =
        directory.and_then(|directory| std::fs::read(directory.join("config.json")).ok());
    let names = ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let proxies: BTreeMap<String, String> = names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
        .collect();
    RegistrySettings { docker_config, insecure: Vec::new(), proxies }
}
