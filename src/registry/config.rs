//! Docker's `config.json` and containers' `auth.json`: bytes in, credentials out.
//!
//! Which file to read is the caller's to say. Helper programs are named, not run: `DockerConfig::helper` says
//! which program to ask for which server.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credential;
use crate::oci::Reference;

/// The key under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Why the file cannot be used; never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not the JSON that it should be.
    #[error("malformed registry credentials (line {line}, column {column})")]
    Malformed {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// An entry's `auth` is not base64 of `name:password`.
    #[error("malformed credentials of registry `{0}`")]
    Entry(String),
}

impl ConfigError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => {
                Some("repair or remove the file, and log in again".to_owned())
            }
            Self::Entry(registry) => Some(format!("log in to {registry} again")),
        }
    }
}

/// A program that knows credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// `docker-credential-` and this is the program.
    pub name: String,
    /// What it is asked for.
    pub server: String,
}

/// What the file says.
#[derive(Debug, Clone, Default)]
pub struct DockerConfig {
    entries: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// Parses the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let file: File = serde_json::from_slice(bytes).map_err(|error| ConfigError::Malformed {
            line: error.line(),
            column: error.column(),
        })?;
        let mut entries = BTreeMap::new();
        for (key, entry) in file.auths {
            if let Some(credential) = entry.unwrap_or_default().credential(&key)? {
                entries.insert(key, credential);
            }
        }
        Ok(Self { entries, helpers: file.helpers, store: file.store.filter(|it| !it.is_empty()) })
    }

    /// Returns the credentials that the file holds for a repository: those of the longest key that names it or a
    /// part of it from the left.
    pub fn credential(&self, repository: &Reference) -> Option<&Credential> {
        let name = repository.name();
        let matching = self.entries.iter().filter_map(|(key, credential)| {
            let key = normal(key);
            let within = name.strip_prefix(&key)?;
            (within.is_empty() || within.starts_with('/')).then_some((key.len(), credential))
        });
        matching.max_by_key(|(length, _)| *length).map(|(_, credential)| credential)
    }

    /// Returns the program that must be asked for a repository's credentials instead.
    pub fn helper(&self, repository: &Reference) -> Option<Helper> {
        let domain = repository.domain();
        let own = self.helpers.iter().find(|(key, _)| normal(key) == domain);
        let (name, server) = match (own, &self.store) {
            (Some((key, name)), _) => (name, key.clone()),
            (None, Some(name)) if domain == "docker.io" => (name, DOCKER_HUB_KEY.to_owned()),
            (None, Some(name)) => {
                let key = self.entries.keys().find(|key| normal(key) == domain);
                (name, key.map_or_else(|| domain.to_owned(), Clone::clone))
            }
            (None, None) => return None,
        };
        (!name.is_empty()).then(|| Helper { name: name.clone(), server })
    }
}

impl Entry {
    fn credential(self, key: &str) -> Result<Option<Credential>, ConfigError> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = filled(self.registrytoken) {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        if let Some(token) = filled(self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(auth) = filled(self.auth) {
            let decoded = STANDARD.decode(auth.trim()).ok();
            let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = text.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) = pair.ok_or_else(|| ConfigError::Entry(key.to_owned()))?;
            let password = password.trim_matches('\0').to_owned();
            return Ok(Some(Credential::Password { username: username.to_owned(), password }));
        }
        let pair = filled(self.username).zip(filled(self.password));
        Ok(pair.map(|(username, password)| Credential::Password { username, password }))
    }
}

/// Returns a key as a name: without scheme, without the API's path, and Docker Hub under one name.
fn normal(key: &str) -> String {
    let bare = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let bare = bare.strip_suffix("/v1").or_else(|| bare.strip_suffix("/v2")).unwrap_or(bare);
    let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
    match host {
        "index.docker.io" | "registry-1.docker.io" => format!("docker.io{path}"),
        host => format!("{host}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn the_longest_key_counts() {
        let file = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"q.io":{{"username":"q","password":"1"}},
            "q.io/team":{{"identitytoken":"t"}},"https://l:5000":{{"registrytoken":"r","auth":"!"}},"e.io":{{}},"n.io":null}},
            "HttpHeaders":{{}}}}"#,
            STANDARD.encode("me:a:b\0\0")
        );
        let config = DockerConfig::parse(file.as_bytes()).unwrap();
        let password = |username: &str, password: &str| {
            Some(Credential::Password { username: username.into(), password: password.into() })
        };
        for (name, expected) in [
            ("alpine", password("me", "a:b")),
            ("q.io/x", password("q", "1")),
            ("q.io/team", Some(Credential::IdentityToken("t".into()))),
            ("q.io/team/x", Some(Credential::IdentityToken("t".into()))),
            ("q.io/teamx", password("q", "1")),
            ("l:5000/x", Some(Credential::RegistryToken("r".into()))),
            ("e.io/x", None),
            ("n.io/x", None),
            ("other.io/x", None),
        ] {
            assert_eq!(config.credential(&named(name)), expected.as_ref(), "{name}");
            assert_eq!(config.helper(&named(name)), None);
        }
    }

    #[test]
    fn helpers_are_named() {
        let file = br#"{"auths":{"https://a.io":{}},"credsStore":"pass","credHelpers":{"g.io":"gcr","p.io":""}}"#;
        let config = DockerConfig::parse(file).unwrap();
        for (name, expected) in [
            ("alpine", Some(("pass", DOCKER_HUB_KEY))),
            ("g.io/x", Some(("gcr", "g.io"))),
            ("p.io/x", None),
            ("b.io/x", Some(("pass", "b.io"))),
        ] {
            let expected =
                expected.map(|(name, server)| Helper { name: name.into(), server: server.into() });
            assert_eq!(config.helper(&named(name)), expected, "{name}");
        }
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        let error = DockerConfig::parse(b"{\"auths\":{\"a\":{\"auth\":\"s3cret\"").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        let error = DockerConfig::parse(br#"{"auths":{"a.io":{"auth":"czNjcmV0"}}}"#).unwrap_err();
        assert_eq!(error.to_string(), "malformed credentials of registry `a.io`");
        assert!(DockerConfig::parse(b"{}").is_ok());
    }
}
