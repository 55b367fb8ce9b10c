//! What docker's `config.json` and the environment say about registries and proxies.

use std::collections::BTreeMap;
use std::error::Error as _;

use kiln::builder::RegistrySettings;

use super::environment::Environment;

/// Docker's configuration, unread but for its proxies: whoever needs its credentials judges the rest.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerConfig(Option<Vec<u8>>);

const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

impl DockerConfig {
    /// Reads it. One that cannot be read is only worth a warning: most builds need no credentials.
    pub(super) fn read(environment: &Environment, warnings: &mut Vec<String>) -> Self {
        let Some(path) = environment.docker_config() else { return Self::default() };
        Self(kiln::fs::read_if_present(&path).unwrap_or_else(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            warnings.push(format!("{error}{cause}"));
            None
        }))
    }

    /// Its proxies are build arguments, in upper and in lower case, unless one is given.
    pub(super) fn add_proxies(&self, build_args: &mut Vec<(String, String)>) {
        let bytes = self.0.as_deref().unwrap_or_default();
        let Ok(config) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
        for (key, name) in PROXIES {
            let lower = name.to_lowercase();
            let given = build_args.iter().any(|(arg, _)| arg == name || *arg == lower);
            let value = config["proxies"]["default"][key].as_str().filter(|it| !it.is_empty());
            if let (false, Some(value)) = (given, value) {
                build_args.push((name.to_owned(), value.to_owned()));
                build_args.push((lower, value.to_owned()));
            }
        }
    }

    /// How registries are reached.
    pub(super) fn registry(self, environment: &Environment) -> RegistrySettings {
        let names = PROXIES.iter().flat_map(|(_, name)| [(*name).to_owned(), name.to_lowercase()]);
        let proxies: BTreeMap<_, _> =
            names.filter_map(|name| Some((name.clone(), environment.set(&name)?))).collect();
        RegistrySettings { docker_config: self.0, insecure: Vec::new(), proxies }
    }
}
