//! What docker's `config.json` and the environment say about proxies.

use std::collections::BTreeMap;

use super::config_files::docker_config;
use super::environment::Environment;

/// Docker's configuration, of which only the proxies are read.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerConfig(serde_json::Value);

const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

impl DockerConfig {
    /// Reads it. One that cannot be read has none: who needs its credentials says what is wrong with it.
    pub(super) fn read(environment: &Environment) -> Self {
        let bytes = docker_config(environment).and_then(|path| kiln::fs::read(&path).ok());
        Self(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Its proxies are build arguments, in upper and in lower case, unless one is given.
    pub(super) fn add_proxies(&self, build_args: &mut Vec<(String, String)>) {
        for (key, name) in PROXIES {
            let lower = name.to_lowercase();
            let given = build_args.iter().any(|(arg, _)| arg == name || *arg == lower);
            let value = self.0["proxies"]["default"][key].as_str().filter(|it| !it.is_empty());
            if let (false, Some(value)) = (given, value) {
                build_args.push((name.to_owned(), value.to_owned()));
                build_args.push((lower, value.to_owned()));
            }
        }
    }
}

/// The proxies of kiln itself, as the environment says them.
pub(super) fn proxies(environment: &Environment) -> BTreeMap<String, String> {
    let names = PROXIES.iter().flat_map(|(_, name)| [(*name).to_owned(), name.to_lowercase()]);
    names.filter_map(|name| Some((name.clone(), environment.set(&name)?))).collect()
}
