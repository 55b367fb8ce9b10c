//! The way to registries and the web, as the user's settings say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::agent::{Agent, AgentOptions, Certificates, Proxies};
use super::credentials::Credentials;
use super::{AuthFile, Client, ConfigError, Credential, Options, Registries};
use crate::event::Cancel;

/// What must be known about registries and the network.
#[derive(Clone, Default)]
pub struct Settings {
    /// Files of credentials, in the order in which they are asked: the first that has some is taken.
    pub auth_files: Vec<AuthFile>,
    /// The credentials of every registry, in place of those of the files.
    pub credential: Option<Credential>,
    /// What `registries.conf` says.
    pub registries: Registries,
    /// Whether registries must prove who they are, whatever `registries.conf` says about one.
    pub verify: Option<bool>,
    /// Whose certificates are trusted, and which are shown.
    pub certificates: Certificates,
    /// Proxy variables as the user has set them: `HTTP_PROXY` and its kin in either case.
    pub proxies: BTreeMap<String, String>,
}

/// Proxies may have passwords: only the variables' names are shown.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { auth_files, credential, registries, verify, certificates, proxies } = self;
        f.debug_struct("Settings")
            .field("auth_files", auth_files)
            .field("credential", credential)
            .field("registries", registries)
            .field("verify", verify)
            .field("certificates", certificates)
            .field("proxies", &proxies.keys())
            .finish()
    }
}

/// An HTTP client and a registry client that share connections.
pub struct Web {
    /// HTTP.
    pub agent: Arc<Agent>,
    /// Registries.
    pub client: Client,
}

impl Web {
    /// Makes both; nothing is asked yet.
    pub fn new(settings: &Settings, cancel: &Cancel) -> Result<Self, ConfigError> {
        let variable = |name: &str| {
            let given = settings.proxies.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            given.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let proxies = Proxies {
            http: variable("http_proxy"),
            https: variable("https_proxy"),
            exceptions: variable("no_proxy").unwrap_or_default(),
        };
        let credentials = Credentials::new(settings, cancel)?;
        let agent = Arc::new(Agent::new(AgentOptions {
            proxies,
            certificates: settings.certificates.clone(),
            cancel: cancel.clone(),
            ..AgentOptions::default()
        }));
        let options = Options {
            credentials: Arc::new(move |repository| credentials.of(repository)),
            registries: settings.registries.clone(),
            verify: settings.verify,
            cancel: cancel.clone(),
            ..Options::default()
        };
        let client = Client::new(Arc::clone(&agent), options);
        Ok(Self { agent, client })
    }
}
