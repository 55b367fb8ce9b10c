//! The way to registries and the web, as the user's settings say.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::agent::{Agent, AgentOptions, Proxies};
use super::{Client, ConfigError, DockerConfig, Options};
use crate::event::Cancel;

/// What must be known about registries and the network.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The content of docker's `config.json`, if there is one.
    pub docker_config: Option<Vec<u8>>,
    /// Hosts reached by plain HTTP, besides loopback.
    pub insecure: Vec<String>,
    /// Proxy variables as the user has set them: `HTTP_PROXY` and its kin in either case.
    pub proxies: BTreeMap<String, String>,
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
        let config = match &settings.docker_config {
            Some(bytes) => DockerConfig::parse(bytes)?,
            None => DockerConfig::default(),
        };
        let agent = Arc::new(Agent::new(AgentOptions {
            proxies,
            cancel: cancel.clone(),
            ..AgentOptions::default()
        }));
        let options = Options {
            credentials: Arc::new(move |repository| config.credential(repository).cloned()),
            insecure: settings.insecure.clone(),
            cancel: cancel.clone(),
            ..Options::default()
        };
        let client = Client::new(Arc::clone(&agent), options);
        Ok(Self { agent, client })
    }
}
