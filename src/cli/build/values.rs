//! Reads the values of single flags: truth values, sizes, limits, hosts, secrets, agents.
//!
//! Every function takes what the user typed and gives plain data or a problem that names the flag. Files are looked
//! at only where a mistake would otherwise show up late in the build.

use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use kiln::builder::{LARGEST_SECRET, Secret, SecretSource};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::dockerfile::csv_record;
use kiln::sandbox::spec::Rlimit;

use crate::cli::environment::Environment;

/// The result of reading a value.
pub(crate) type Read<T> = Result<T, Diagnostic>;

/// A problem with what the user gave.
pub(super) fn problem(message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(Blame::Input, message)
}

fn hinted(message: impl Into<String>, hint: &str) -> Diagnostic {
    problem(message).hint(Some(hint.to_owned()))
}

/// Reads a truth value as Go does.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    kiln::dockerfile::boolean(text).ok_or_else(|| "expected true or false".to_owned())
}

/// Splits `NAME=VALUE`; the value is `None` without a `=`.
pub(super) fn pair(flag: &str, text: &str) -> Read<(String, Option<String>)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        // The value may be a secret.
        return Err(problem(format!("`{flag}` needs a name before the `=`")));
    }
    Ok((name.to_owned(), value))
}

/// Reads a number of bytes as a mount's `size` has it: `64m`, `1.5g`, `512kb`, `1 GiB`.
pub(crate) fn size(flag: &str, text: &str) -> Read<u64> {
    let size = kiln::dockerfile::mount::size(text).ok().filter(|size| *size < i64::MAX);
    size.and_then(|size| u64::try_from(size).ok()).ok_or_else(|| {
        hinted(
            format!("invalid size `{text}` for `{flag}`"),
            "write a number with b, k, m or g, e.g. `64m`",
        )
    })
}

/// Reads `NAME=SOFT[:HARD]`.
pub(crate) fn ulimit(text: &str) -> Read<Rlimit> {
    let wrong = || {
        hinted(
            format!("invalid limit `--ulimit {text}`"),
            "write `NAME=SOFT[:HARD]`, e.g. `nofile=1024:4096`",
        )
    };
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    if !Rlimit::names().any(|known| known == name) {
        let hint = format!("the limits are {}", Rlimit::names().collect::<Vec<_>>().join(", "));
        return Err(hinted(format!("unknown limit `{name}` for `--ulimit`"), &hint));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "-1" => Ok(u64::MAX),
        _ => text.parse::<u64>().map_err(|_| wrong()),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(problem(format!(
            "the soft limit of `--ulimit {text}` is above the hard limit"
        )));
    }
    Ok(Rlimit { name: name.to_owned(), soft, hard })
}

/// Reads `NAME=ADDRESS` or `NAME:ADDRESS`. Steps use the host's network, so its gateway is the loopback address.
pub(super) fn add_host(text: &str) -> Read<(String, String)> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = split.filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        hinted(format!("invalid host `--add-host {text}`"), "write `NAME=ADDRESS`")
    })?;
    if address == "host-gateway" {
        return Ok((name.to_lowercase(), "127.0.0.1".to_owned()));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let parsed: Result<IpAddr, _> = bare.parse();
    match parsed {
        Ok(_) => Ok((name.to_lowercase(), bare.to_owned())),
        Err(_) => Err(problem(format!("`{address}` in `--add-host {text}` is not an IP address"))),
    }
}

/// Reads `id=ID[,type=file|env][,src=FILE][,env=NAME]`; the second value is a warning.
pub(super) fn secret(text: &str, environment: &Environment) -> Read<(Secret, Option<String>)> {
    let mut fields = [const { None }; 4];
    let names = ["id", "type", "src", "env"];
    for field in csv_record(text).ok_or_else(|| secret_form(text))? {
        let (key, value) = field.split_once('=').ok_or_else(|| secret_form(text))?;
        let key = key.to_lowercase();
        let key = if key == "source" { "src" } else { &key };
        let at = names.iter().position(|name| *name == key);
        let at = at.ok_or_else(|| {
            hinted(format!("`--secret` has no field `{key}`"), "it has id, type, src and env")
        })?;
        fields[at] = Some(value.to_owned()).filter(|value| !value.is_empty());
    }
    let [id, kind, src, env] = fields;
    let id = id.ok_or_else(|| secret_form(text))?;
    let env = match (kind.as_deref(), env, &src) {
        (Some("env"), None, Some(src)) => Some(src.clone()),
        (Some("env"), None, None) => Some(id.clone()),
        (Some("file"), ..) => None,
        (None, None, None) if environment.get(&id).is_some() => Some(id.clone()),
        (None | Some("env"), env, _) => env,
        (Some(other), ..) => {
            let message = format!("unknown secret type `{other}`");
            return Err(hinted(message, "the types are file and env"));
        }
    };
    match env {
        Some(name) => Ok(secret_of_variable(id, &name, environment)),
        None => secret_of_file(id.clone(), &PathBuf::from(src.unwrap_or(id))).map(|it| (it, None)),
    }
}

fn secret_form(text: &str) -> Diagnostic {
    hinted(
        format!("invalid secret `--secret {text}`"),
        "write `id=ID,src=FILE` or `id=ID,env=NAME`",
    )
}

fn secret_of_variable(
    id: String,
    name: &str,
    environment: &Environment,
) -> (Secret, Option<String>) {
    let value = environment.bytes(name);
    let warning = value.is_none().then(|| {
        format!("the secret `{id}` is empty: the environment variable `{name}` is not set")
    });
    (Secret { id, source: SecretSource::Value(value.unwrap_or_default()) }, warning)
}

fn secret_of_file(id: String, path: &Path) -> Read<Secret> {
    let shown = path.display();
    let found = std::fs::metadata(path).map_err(|error| {
        problem(format!("cannot read the secret `{id}` from `{shown}`: {error}"))
    })?;
    if found.is_dir() {
        return Err(problem(format!(
            "cannot read the secret `{id}` from `{shown}`: it is a directory"
        )));
    }
    if found.len() > LARGEST_SECRET {
        return Err(problem(format!("the secret `{id}` in `{shown}` is larger than 500 KiB")));
    }
    Ok(Secret { id, source: SecretSource::File(path.to_owned()) })
}

/// Reads `default|ID[=SOCKET]`.
pub(super) fn ssh(text: &str, environment: &Environment) -> Read<(String, PathBuf)> {
    let (id, path) = text.split_once('=').unwrap_or((text, ""));
    let id = if id.is_empty() { "default" } else { id }.to_owned();
    let agent = "start an agent, add the key to it (`ssh-add FILE`) and give `--ssh default`";
    if path.is_empty() {
        let socket = environment.path("SSH_AUTH_SOCK").ok_or_else(|| {
            let message =
                format!("`--ssh {text}` needs an SSH agent, but SSH_AUTH_SOCK is not set");
            hinted(message, "start one with `eval $(ssh-agent)` and `ssh-add`")
        })?;
        return Ok((id, socket));
    }
    if path.contains(',') || path.starts_with("raw=") {
        let message = format!("`--ssh {text}`: several keys and raw sockets are not supported yet");
        return Err(hinted(message, agent));
    }
    let found = std::fs::metadata(path)
        .map_err(|error| problem(format!("cannot use `{path}` for `--ssh`: {error}")))?;
    if !found.file_type().is_socket() {
        return Err(hinted(format!("`--ssh {text}`: key files are not supported yet"), agent));
    }
    Ok((id, PathBuf::from(path)))
}

#[cfg(test)]
mod tests;
