//! `kiln login`: a name and a password are shown to a registry and, if it takes them, kept where docker and podman
//! find them.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::Cancel;
use kiln::fs::{self, PathError};
use kiln::registry::{
    AuthFile, AuthFileEdit, ConfigError, Credential, Helper, HelperError, RegistryError, Settings,
    Web,
};

use super::config_files::docker_config;
use super::network::ReachFlags;
use super::progress::Mode;
use super::secret::{self, Secret};
use super::watch::Watch;
use super::{Done, Session, answer, report, say};

/// What a registry is when none is named.
const DOCKER_HUB: &str = "docker.io";

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The registry [default: docker.io]
    registry: Option<String>,
    /// The name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// The password; other users of this machine can see it
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<Secret>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    reach: ReachFlags,
}

/// What credentials are kept under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// `host[:port]`
    pub(super) registry: String,
    /// The same, or more: `host[:port]/repository` or a part of it, as podman has it.
    pub(super) whole: String,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let name = Name::read(flags.registry.as_deref())?;
    if flags.password.is_some() {
        let message = "a password on the command line can be seen by others; use --password-stdin";
        say(&report::warning(message, &session.terminal));
    }
    let keeper = Keeper::find(flags, &name, session)?;
    let settings = flags.reach.settings(session)?;
    let keeper = keeper.or_first_helper(&settings, &name);
    let (username, password) = ask(flags)?;
    let credential =
        Credential::Password { username: username.clone(), password: password.clone() };
    Watch::new(Mode::Quiet, session).follow(|_, cancel| {
        let web = Web::new(&settings, cancel).map_err(|error| vec![malformed(&error)])?;
        let shown = web.client.log_in(&name.registry, &credential);
        shown.map_err(|error| vec![refused(&name, &error)])
    })?;
    keeper.keep(&name, &username, &password)?;
    Ok(answer("Login Succeeded\n")?)
}

impl Name {
    /// Reads what the user calls a registry; docker takes URLs too.
    pub(super) fn read(text: Option<&str>) -> Result<Self, Diagnostic> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or(DOCKER_HUB);
        let bare = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
        let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
        let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        let registry = match host {
            "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
            host => host,
        };
        // Nothing else is a host with a port and perhaps a repository.
        let probe = if path.is_empty() { "/x" } else { path };
        let usable = kiln::oci::Reference::parse(&format!("{registry}{probe}"));
        match usable {
            Ok(probe) if probe.tag().is_none() && probe.digest().is_none() && !host.is_empty() => {
                Ok(Self { registry: registry.to_owned(), whole: format!("{registry}{path}") })
            }
            _ => Err(Diagnostic::new(Blame::Input, format!("`{text}` is no registry"))
                .hint(Some("write its host, and the port if it needs one".to_owned()))),
        }
    }
}

/// Asks for what the flags do not say.
fn ask(flags: &Flags) -> Result<(String, String), Diagnostic> {
    let username = match &flags.username {
        Some(username) => username.clone(),
        None => secret::name("Username: ")?,
    };
    let password = match &flags.password {
        Some(Secret(password)) => password.clone(),
        None if flags.password_stdin => secret::from_stdin()?,
        None => secret::password()?,
    };
    if username.is_empty() || password.is_empty() {
        return Err(Diagnostic::new(Blame::Input, "a name and a password are needed"));
    }
    Ok((username, password))
}

/// Who keeps the credentials.
enum Keeper {
    File(PathBuf, Box<AuthFileEdit>),
    Helper(Helper),
}

impl Keeper {
    /// Finds the file: the one that is named, or the first that has something for this registry already, since what
    /// it says would be taken instead; or docker's.
    fn find(flags: &Flags, name: &Name, session: &Session) -> Result<Self, Diagnostic> {
        let environment = &session.environment;
        let (paths, named) = flags.reach.auth_files(environment);
        for path in paths {
            let file = read(&path)?;
            if named || file.as_ref().is_some_and(|file| file.has(&name.whole)) {
                return Self::file(path);
            }
        }
        let path = docker_config(environment).ok_or_else(|| {
            let hint = "give `--authfile FILE`, or set DOCKER_CONFIG or HOME".to_owned();
            Diagnostic::new(Blame::Input, "there is no home to keep credentials in")
                .hint(Some(hint))
        })?;
        Self::file(path)
    }

    fn file(path: PathBuf) -> Result<Self, Diagnostic> {
        let empty = AuthFile { path: path.clone(), bytes: Vec::new() };
        let file = match read(&path)? {
            Some(file) => file,
            None => AuthFileEdit::read(&empty).map_err(|error| malformed(&error))?,
        };
        Ok(Self::File(path, Box::new(file)))
    }

    /// A helper that `registries.conf` puts before the files comes first.
    fn or_first_helper(self, settings: &Settings, name: &Name) -> Self {
        match settings.registries.credential_helpers().first().map(String::as_str) {
            None | Some("containers-auth.json") => self,
            Some(helper) => {
                Self::Helper(Helper { name: helper.to_owned(), server: name.registry.clone() })
            }
        }
    }

    fn keep(self, name: &Name, username: &str, password: &str) -> Result<(), Diagnostic> {
        let store = |helper: &Helper| {
            helper.store(username, password, &Cancel::new()).map_err(|error| failed(&error))
        };
        let (path, mut file) = match self {
            Self::File(path, file) => (path, file),
            Self::Helper(helper) => return store(&helper),
        };
        // Helpers know registries only.
        match file.helper(&name.registry).filter(|_| name.whole == name.registry) {
            Some(helper) => {
                store(&helper)?;
                file.set_kept_elsewhere(&name.whole);
            }
            None => file.set(&name.whole, username, password),
        }
        write(&path, &file)
    }
}

/// Reads a file of credentials, if there is one.
pub(super) fn read(path: &Path) -> Result<Option<AuthFileEdit>, Diagnostic> {
    let bytes = fs::read_if_present(path).map_err(|error| unusable(&error))?;
    let file = bytes.map(|bytes| AuthFile { path: path.to_owned(), bytes });
    file.map(|file| AuthFileEdit::read(&file)).transpose().map_err(|error| malformed(&error))
}

/// Writes a file of credentials in one step, for nobody else to read. What a link leads to is replaced, not the link.
pub(super) fn write(path: &Path, file: &AuthFileEdit) -> Result<(), Diagnostic> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
    made.map_err(PathError::of("create the directory", parent))
        .and_then(|()| fs::replace(&path, &file.to_bytes(), parent))
        .map_err(|error| unusable(&error))
}

fn unusable(error: &PathError) -> Diagnostic {
    Diagnostic::new(Blame::Machine, error.to_string()).causes_of(error)
}

fn malformed(error: &ConfigError) -> Diagnostic {
    Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint())
}

pub(super) fn failed(error: &HelperError) -> Diagnostic {
    Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(error)
}

fn refused(name: &Name, error: &RegistryError) -> Diagnostic {
    let message = format!("cannot log in to `{}`", name.registry);
    let (blame, hint) = match error {
        RegistryError::Denied { .. } => {
            let hint = "check the name and the password; some registries want an access token";
            (Blame::Input, Some(hint.to_owned()))
        }
        error => (Blame::Machine, error.hint()),
    };
    let mut diagnostic = Diagnostic::new(blame, message).hint(hint);
    diagnostic.causes = vec![error.to_string()];
    diagnostic.causes_of(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_may_be_called() {
        let read = |text: Option<&str>| {
            let name = Name::read(text).ok()?;
            Some((name.registry, name.whole))
        };
        let both = |registry: &str, whole: &str| Some((registry.to_owned(), whole.to_owned()));
        let same = |registry: &str| both(registry, registry);
        assert_eq!(read(None), same("docker.io"));
        assert_eq!(read(Some("https://index.docker.io/v1/")), same("docker.io"));
        assert_eq!(read(Some("localhost:5000/")), same("localhost:5000"));
        assert_eq!(read(Some("http://r.io/v2/")), same("r.io"));
        assert_eq!(read(Some("registry")), same("registry"));
        assert_eq!(read(Some("q.io/team/x")), both("q.io", "q.io/team/x"));
        for wrong in ["q.io/x:1", "q io", "-q.io", "user@q.io", "/x"] {
            assert_eq!(read(Some(wrong)), None, "{wrong}");
        }
    }
}
