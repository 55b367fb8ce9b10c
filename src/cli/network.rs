//! The flags that say how registries are reached; every command that may ask one has them.
//!
//! `RegistryFlags::settings` puts them together with what the environment and the configuration files say. Names are
//! those of podman and buildah.

use std::error::Error as _;
use std::path::PathBuf;

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::fs::read_if_present;
use kiln::registry::agent::{Certificates, Roots};
use kiln::registry::{AuthFile, Credential, Registries, Settings};

use super::Session;
use super::build::boolean;
use super::config_files::{RegistriesFiles, auth_files, certificate_directories};
use super::docker::proxies;
use super::environment::Environment;
use super::secret::{self, Secret};

/// How registries are reached, and with which credentials.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RegistryFlags {
    #[command(flatten)]
    reach: ReachFlags,
    /// The credentials of the registry; a password that is left out is asked for, one that is given can be seen by
    /// other users of this machine
    #[arg(long, value_name = "USER[:PASSWORD]", help_heading = HEADING)]
    creds: Option<Secret>,
}

/// How registries are reached.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ReachFlags {
    /// Whether registries must prove who they are; `false` also allows plain HTTP
    /// [default: as registries.conf says, else true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, value_parser = boolean,
          default_missing_value = "true", help_heading = HEADING)]
    tls_verify: Option<bool>,
    /// The file of credentials [default: $REGISTRY_AUTH_FILE, else podman's and docker's]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    authfile: Option<PathBuf>,
    /// Trust and show the certificates of this directory: *.crt, *.cert with *.key
    #[arg(long, value_name = "DIR", help_heading = HEADING)]
    cert_dir: Option<PathBuf>,
}

const HEADING: &str = "How registries are reached";

impl RegistryFlags {
    /// Returns how registries are reached, and what the user should be warned of.
    pub(crate) fn settings(
        &self,
        session: &Session,
    ) -> Result<(Settings, Vec<String>), Diagnostic> {
        let mut warnings = Vec::new();
        let settings = Settings {
            auth_files: self.reach.read_auth_files(&session.environment, &mut warnings)?,
            credential: self.creds.as_ref().map(credential).transpose()?,
            ..self.reach.settings(session)?
        };
        Ok((settings, warnings))
    }
}

impl ReachFlags {
    /// Returns how registries are reached, without any credentials.
    pub(super) fn settings(&self, session: &Session) -> Result<Settings, Diagnostic> {
        let environment = &session.environment;
        Ok(Settings {
            auth_files: Vec::new(),
            credential: None,
            registries: registries(environment)?,
            verify: self.tls_verify,
            certificates: self.certificates(environment)?,
            proxies: proxies(environment),
        })
    }

    /// Returns the files that may have credentials, in the order in which they are asked; the second says whether
    /// the user named the one that there is.
    pub(super) fn auth_files(&self, environment: &Environment) -> (Vec<PathBuf>, bool) {
        let named = self.authfile.clone().or_else(|| environment.path("REGISTRY_AUTH_FILE"));
        match named {
            Some(path) => (vec![path], true),
            None => (auth_files(environment), false),
        }
    }

    /// Reads the files of credentials. One that cannot be read is only worth a warning, unless it is asked for: most
    /// images need no credentials.
    fn read_auth_files(
        &self,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<AuthFile>, Diagnostic> {
        if let Some(path) = &self.authfile {
            let bytes = kiln::fs::read(path).map_err(|error| {
                Diagnostic::new(Blame::Input, error.to_string()).causes_of(&error)
            })?;
            return Ok(vec![AuthFile { path: path.clone(), bytes }]);
        }
        let read = |path: PathBuf| match read_if_present(&path) {
            Ok(bytes) => Some(AuthFile { bytes: bytes?, path }),
            Err(error) => {
                let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
                warnings.push(format!("{error}{cause}"));
                None
            }
        };
        Ok(self.auth_files(environment).0.into_iter().filter_map(read).collect())
    }

    fn certificates(&self, environment: &Environment) -> Result<Certificates, Diagnostic> {
        if let Some(path) = self.cert_dir.as_ref().filter(|path| !path.is_dir()) {
            let message = format!("`--cert-dir {}` is no directory", path.display());
            return Err(Diagnostic::new(Blame::Input, message));
        }
        let file = environment.path("SSL_CERT_FILE");
        let directories = environment.path("SSL_CERT_DIR").map(|list| {
            let split = std::env::split_paths(&list).collect::<Vec<_>>();
            split.into_iter().filter(|path| !path.as_os_str().is_empty()).collect::<Vec<_>>()
        });
        let directories = directories.unwrap_or_default();
        let roots = match file.is_none() && directories.is_empty() {
            true => Roots::System,
            false => Roots::Paths { file, directories },
        };
        let per_host = certificate_directories(environment);
        Ok(Certificates { roots, per_host, for_all: self.cert_dir.clone() })
    }
}

/// `USER:PASSWORD`, or `USER` whose password the terminal is asked for.
fn credential(Secret(text): &Secret) -> Result<Credential, Diagnostic> {
    let (username, password) = match text.split_once(':') {
        Some((username, password)) => (username, password.to_owned()),
        None => (text.as_str(), secret::password()?),
    };
    if username.is_empty() {
        let hint = Some("write `--creds USER:PASSWORD`".to_owned());
        return Err(Diagnostic::new(Blame::Input, "`--creds` names no user").hint(hint));
    }
    Ok(Credential::Password { username: username.to_owned(), password })
}

/// Reads `registries.conf` and what goes with it.
fn registries(environment: &Environment) -> Result<Registries, Diagnostic> {
    let mut registries = Registries::default();
    for (path, needed) in RegistriesFiles::find(environment).files {
        let blame = if needed { Blame::Input } else { Blame::Machine };
        let read = if needed { kiln::fs::read(&path).map(Some) } else { read_if_present(&path) };
        let bytes =
            read.map_err(|error| Diagnostic::new(blame, error.to_string()).causes_of(&error))?;
        let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
        let parsed = Registries::parse(&path, &text).map_err(|error| {
            Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint()).causes_of(&error)
        })?;
        registries = registries.overridden_by(parsed);
    }
    Ok(registries)
}

#[cfg(test)]
mod tests;
