//! Docker's `config.json` and containers' `auth.json`: bytes in, credentials out.
//!
//! Which files to read, and in which order, is the caller's to say. Helper programs are named, not run: `helper` and
//! `store` say which program to ask for which server; `credentials.rs` asks it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credential, Helper};

/// The key under which Docker keeps the credentials of Docker Hub.
pub(super) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// A file of credentials that was read; what is in it does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthFile {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it: the JSON of docker's `config.json` or containers' `auth.json`.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a file of credentials cannot be used; never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not the JSON that it should be.
    #[error("malformed registry credentials in `{path}` (line {line}, column {column})")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// An entry's `auth` is not base64 of `name:password`.
    #[error("malformed credentials of registry `{registry}` in `{path}`")]
    Entry {
        /// Which file.
        path: PathBuf,
        /// The entry's key.
        registry: String,
    },
}

impl ConfigError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => {
                Some("repair or remove the file, and log in again".to_owned())
            }
            Self::Entry { registry, .. } => Some(format!("log in to {registry} again")),
        }
    }
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
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
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
    pub fn parse(file: &AuthFile) -> Result<Self, ConfigError> {
        let AuthFile { path, bytes } = file;
        let file: File = serde_json::from_slice(bytes).map_err(|error| ConfigError::Malformed {
            path: path.clone(),
            line: error.line(),
            column: error.column(),
        })?;
        let mut entries = BTreeMap::new();
        for (key, entry) in file.auths.unwrap_or_default() {
            if let Some(credential) = entry.unwrap_or_default().credential(path, &key)? {
                entries.insert(key, credential);
            }
        }
        Ok(Self {
            entries,
            helpers: file.helpers.unwrap_or_default(),
            store: file.store.filter(|it| !it.is_empty()),
        })
    }

    /// Returns the credentials that the file itself holds for a repository: those of the longest key that names it or
    /// a part of it from the left.
    pub fn credential(&self, name: &str) -> Option<&Credential> {
        let matching = self.entries.iter().filter_map(|(key, credential)| {
            let key = normal(key);
            let within = name.strip_prefix(&key)?;
            (within.is_empty() || within.starts_with('/')).then_some((key.len(), credential))
        });
        matching.max_by_key(|(length, _)| *length).map(|(_, credential)| credential)
    }

    /// Returns the program that keeps a registry's credentials: that of `credHelpers`, where an empty name means none,
    /// else that of `credsStore`.
    pub fn helper(&self, domain: &str) -> Option<Helper> {
        let own = self.helpers.iter().find(|(key, _)| normal(key) == domain);
        let (name, server) = match own {
            Some((key, name)) => (name, key.as_str()),
            None if domain == "docker.io" => (self.store.as_ref()?, DOCKER_HUB_KEY),
            None => (self.store.as_ref()?, domain),
        };
        (!name.is_empty()).then(|| Helper { name: name.clone(), server: server.to_owned() })
    }

    /// Returns the registries that have a program of their own.
    pub(super) fn helped(&self) -> impl Iterator<Item = String> {
        self.helpers.iter().filter(|(_, name)| !name.is_empty()).map(|(key, _)| normal(key))
    }
}

impl Entry {
    fn credential(self, path: &Path, key: &str) -> Result<Option<Credential>, ConfigError> {
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
            let (username, password) = pair.ok_or_else(|| ConfigError::Entry {
                path: path.to_owned(),
                registry: key.to_owned(),
            })?;
            let password = password.trim_matches('\0').to_owned();
            return Ok(Some(Credential::Password { username: username.to_owned(), password }));
        }
        let pair = filled(self.username).zip(filled(self.password));
        Ok(pair.map(|(username, password)| Credential::Password { username, password }))
    }
}

/// Returns a key as a name: without scheme, without the API's path, and Docker Hub under one name.
pub(super) fn normal(key: &str) -> String {
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

    use crate::oci::Reference;

    fn parsed(text: &str) -> Result<DockerConfig, ConfigError> {
        DockerConfig::parse(&AuthFile { path: "/a.json".into(), bytes: text.as_bytes().to_vec() })
    }

    fn named(text: &str) -> String {
        Reference::parse(text).unwrap().name()
    }

    #[test]
    fn the_longest_key_counts() {
        let file = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{}"}},"q.io":{{"username":"q","password":"1"}},
            "q.io/team":{{"identitytoken":"t"}},"https://l:5000":{{"registrytoken":"r","auth":"!"}},"e.io":{{}},"n.io":null}},
            "HttpHeaders":{{}}}}"#,
            STANDARD.encode("me:a:b\0\0")
        );
        let config = parsed(&file).unwrap();
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
        }
    }

    #[test]
    fn helpers_are_named() {
        let file = r#"{"auths":{"https://a.io":{}},"credsStore":"pass","credHelpers":{"g.io":"gcr","p.io":""}}"#;
        let config = parsed(file).unwrap();
        let program = |name: &str, server: &str| {
            Some(Helper { name: name.to_owned(), server: server.to_owned() })
        };
        assert_eq!(config.helper("g.io"), program("gcr", "g.io"));
        assert_eq!(config.helper("p.io"), None);
        assert_eq!(config.helper("docker.io"), program("pass", DOCKER_HUB_KEY));
        assert_eq!(config.helper("b.io:5000"), program("pass", "b.io:5000"));
        assert_eq!(parsed("{}").unwrap().helper("b.io"), None);
    }

    #[test]
    fn errors_do_not_quote_the_file() {
        let error = parsed(r#"{"auths":{"a":{"auth":"s3cret""#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        assert!(error.to_string().contains("`/a.json`"));
        let error = parsed(r#"{"auths":{"a.io":{"auth":"czNjcmV0"}}}"#).unwrap_err();
        assert_eq!(error.to_string(), "malformed credentials of registry `a.io` in `/a.json`");
        let file = AuthFile { path: "/a.json".into(), bytes: b"s3cret".to_vec() };
        assert_eq!(format!("{file:?}"), r#"AuthFile { path: "/a.json", .. }"#);
    }
}
