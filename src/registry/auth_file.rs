//! What logging in and out changes in a file of credentials: bytes in, bytes out.
//!
//! Everything else that is in the file stays, in its order. Docker's own form is written: JSON indented by tabs, and
//! Docker Hub under the URL that docker has for it, which podman understands too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use super::config::{DOCKER_HUB_KEY, normal};
use super::{AuthFile, ConfigError, DockerConfig, Helper};

/// A file of credentials that is being changed.
#[derive(Clone)]
pub struct AuthFileEdit {
    all: Map<String, Value>,
    config: DockerConfig,
}

impl AuthFileEdit {
    /// Reads a file; one without a single byte is as good as none.
    ///
    /// # Errors
    ///
    /// Fails if it is not such a file.
    pub fn read(file: &AuthFile) -> Result<Self, ConfigError> {
        if file.bytes.trim_ascii().is_empty() {
            return Ok(Self { all: Map::new(), config: DockerConfig::default() });
        }
        let config = DockerConfig::parse(file)?;
        let all = serde_json::from_slice(&file.bytes).map_err(|error| ConfigError::Malformed {
            path: file.path.clone(),
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self { all, config })
    }

    /// Returns whether the file has anything under this name: a registry (`host[:port]`), or a repository or a part
    /// of one from the left.
    pub fn has(&self, name: &str) -> bool {
        self.names().iter().any(|known| known == name)
    }

    /// Returns the names that the file has something under, or a helper for.
    pub fn names(&self) -> Vec<String> {
        let auths = self.all.get("auths").and_then(Value::as_object);
        let keys = auths.into_iter().flatten().map(|(key, _)| normal(key));
        let mut names: Vec<String> = keys.chain(self.config.helped()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Returns the program that the file wants to keep the credentials of a registry.
    pub fn helper(&self, registry: &str) -> Option<Helper> {
        self.config.helper(registry)
    }

    /// Keeps a name and a password in the file.
    pub fn set(&mut self, name: &str, username: &str, password: &str) {
        let auth = STANDARD.encode(format!("{username}:{password}"));
        self.replace(name, json!({ "auth": auth }));
    }

    /// Notes that a helper keeps the credentials.
    pub fn set_kept_elsewhere(&mut self, name: &str) {
        self.replace(name, json!({}));
    }

    /// Removes the credentials under a name; `false`: there were none.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(Value::Object(auths)) = self.all.get_mut("auths") else { return false };
        let before = auths.len();
        auths.retain(|key, _| normal(key) != name);
        auths.len() < before
    }

    /// Returns the file's new content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        self.all.serialize(&mut serializer).expect("writing JSON to memory cannot fail");
        bytes.push(b'\n');
        bytes
    }

    fn replace(&mut self, name: &str, entry: Value) {
        self.remove(name);
        let key = if name == "docker.io" { DOCKER_HUB_KEY } else { name };
        let auths = self.all.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        auths[key] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(text: &str) -> AuthFileEdit {
        let file = AuthFile { path: "/a.json".into(), bytes: text.as_bytes().to_vec() };
        AuthFileEdit::read(&file).unwrap()
    }

    fn text(edit: &AuthFileEdit) -> String {
        String::from_utf8(edit.to_bytes()).unwrap()
    }

    #[test]
    fn everything_else_stays() {
        let mut file = edit(
            r#"{"z":[1],"auths":{"b.io":{"auth":"eDp5","email":"e"},"docker.io":{"auth":"eDp5"}},"HttpHeaders":{"a":"b"}}"#,
        );
        assert_eq!(file.names(), ["b.io", "docker.io"]);
        file.set("docker.io", "me", "pass:word");
        file.set_kept_elsewhere("c.io:5000");
        let expected = "{\n\t\"z\": [\n\t\t1\n\t],\n\t\"auths\": {\n\t\t\"b.io\": {\n\t\t\t\"auth\": \"eDp5\",\n\t\t\t\
                        \"email\": \"e\"\n\t\t},\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \
                        \"bWU6cGFzczp3b3Jk\"\n\t\t},\n\t\t\"c.io:5000\": {}\n\t},\n\t\"HttpHeaders\": {\n\t\t\"a\": \"b\"\n\t}\n}\n";
        assert_eq!(text(&file), expected);
        assert!(file.has("docker.io") && !file.has("index.docker.io"));
        assert!(file.remove("docker.io") && !file.remove("docker.io"));
        assert_eq!(file.names(), ["b.io", "c.io:5000"]);
    }

    #[test]
    fn a_file_that_is_not_there_yet() {
        let mut file = edit("");
        assert!(!file.remove("a.io"));
        file.set("a.io/team", "u", "p");
        let expected =
            "{\n\t\"auths\": {\n\t\t\"a.io/team\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t}\n}\n";
        assert_eq!(text(&file), expected);
        let mut null = edit(r#"{"auths":null}"#);
        null.set("a.io/team", "u", "p");
        assert_eq!(text(&null), expected);
        let list = AuthFile { path: "/a.json".into(), bytes: b"[]".to_vec() };
        assert!(AuthFileEdit::read(&list).is_err());
    }
}
