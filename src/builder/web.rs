//! The way to registries and the web, as the request says.

use std::sync::Arc;

use super::RegistrySettings;
use crate::diagnostic::{Blame, Diagnostic};
use crate::event::Cancel;
use crate::registry::agent::{Agent, AgentOptions, Proxies};
use crate::registry::{Client, DockerConfig, Options};

/// An HTTP client and a registry client that share connections.
pub struct Web {
    /// HTTP.
    pub agent: Arc<Agent>,
    /// Registries.
    pub client: Client,
}

impl Web {
    /// Makes both; nothing is asked yet.
    pub fn new(settings: &RegistrySettings, cancel: &Cancel) -> Result<Self, Vec<Diagnostic>> {
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
            Some(bytes) => DockerConfig::parse(bytes).map_err(|error| {
                let hint = error.hint();
                vec![Diagnostic::new(Blame::Input, error.to_string()).hint(hint)]
            })?,
            None => DockerConfig::default(),
        };
        let agent = Arc::new(Agent::new(AgentOptions { proxies, ..AgentOptions::default() }));
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
