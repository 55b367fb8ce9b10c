//! The image config: what a container of the image runs, its layers' diff ids, and its history.
//!
//! The fields, their order and what is left out when empty are those of Docker's image specification
//! (`DockerOCIImage`) as BuildKit marshals it; the keys at the top are sorted, because BuildKit patches a map.
//! Keys that kiln does not know are kept in `other`. Two things differ from BuildKit on purpose: no diff ids and
//! no history are an empty list where Go writes `null`, which the OCI schema forbids, and times are in UTC.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::{self, is_default, or_default};
use super::{CONFIG_LIMIT, DEFAULT_PATH, Error, Platform};
use crate::digest::DiffId;

/// An image's config.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The CPU, `amd64`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// The operating system, `linux`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// The CPU's variant, `v7`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub variant: String,
    /// The operating system's version (Windows).
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub os_version: String,
    /// What the operating system must have (Windows).
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_default"
    )]
    pub os_features: Vec<String>,
    /// Who made it (MAINTAINER).
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub author: String,
    /// When it was made.
    #[serde(default, with = "json::time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// What a container runs.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ProcessConfig,
    /// The layers.
    #[serde(default, deserialize_with = "or_default")]
    pub rootfs: RootFs,
    /// How it was made, oldest first.
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<History>,
    /// What else the document says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a container of the image runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessConfig {
    /// `user[:group]`, names or ids, as written in the Dockerfile.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub user: String,
    /// `80/tcp`.
    #[serde(default, with = "json::set", skip_serializing_if = "is_default")]
    pub exposed_ports: BTreeSet<String>,
    /// `NAME=value`, in the order of first appearance.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub env: Vec<String>,
    /// What is run, before `cmd`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub entrypoint: Vec<String>,
    /// The default arguments, or what is run where there is no entry point.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub cmd: Vec<String>,
    /// Paths that hold data of a container, not of the image.
    #[serde(default, with = "json::set", skip_serializing_if = "is_default")]
    pub volumes: BTreeSet<String>,
    /// Where it starts.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// What asks it to stop, `SIGTERM`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub stop_signal: String,
    /// For Windows; BuildKit sets it with every CMD.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub args_escaped: bool,
    /// How to see that it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds on top of this image.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub on_build: Vec<String>,
    /// The shell of the shell forms.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub shell: Vec<String>,
    /// What else the document says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How to see that a container is well; times in nanoseconds, 0: inherited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `NONE`, `CMD` and arguments, or `CMD-SHELL` and a command.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub interval: i64,
    /// Until a check counts as hung.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub timeout: i64,
    /// From the start until failures count.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub start_period: i64,
    /// Between two checks during the start period.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub retries: i64,
}

/// The layers, lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The digests of the uncompressed layers.
    #[serde(default, with = "json::texts")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of an image's making.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, with = "json::time", skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// By what.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub created_by: String,
    /// By whom.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub author: String,
    /// `buildkit.dockerfile.v0`, or what else made it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub comment: String,
    /// Whether it made no layer.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Returns the config of `FROM scratch`.
    pub fn scratch(platform: &Platform) -> Self {
        let mut image = Self::default();
        image.set_platform(platform);
        image.config.working_dir = "/".to_owned();
        image.ensure_path();
        image
    }

    /// Parses a config.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let image: Self = json::parse("image config", bytes, CONFIG_LIMIT)?;
        match image.rootfs.kind.as_str() {
            "layers" | "" => Ok(image),
            other => Err(Error::Unsupported { what: "rootfs type", found: other.to_owned() }),
        }
    }

    /// Writes the config: the same value gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).expect("the config has string keys");
        match value {
            Value::Object(mut map) => {
                map.sort_keys();
                json::compact(&map)
            }
            other => json::compact(&other),
        }
    }

    /// Returns the config that a build on this image starts with: its time is not the new image's, and keys
    /// that the image specification does not know are left behind, as BuildKit's frontend leaves them.
    #[must_use]
    pub fn into_base(mut self) -> Self {
        self.created = None;
        self.other = Map::new();
        self.config.other = Map::new();
        self
    }

    /// Returns what the image is made for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
        }
        .normalized()
    }

    /// Says what the image is made for.
    pub fn set_platform(&mut self, platform: &Platform) {
        self.os.clone_from(&platform.os);
        self.architecture.clone_from(&platform.architecture);
        self.variant.clone_from(&platform.variant);
        self.os_version.clone_from(&platform.os_version);
        self.os_features.clone_from(&platform.os_features);
    }

    /// Appends the default PATH where none is set, except for Windows.
    pub fn ensure_path(&mut self) {
        if self.os != "windows" && self.config.env("PATH").is_none() {
            self.config.set_env("PATH", DEFAULT_PATH);
        }
    }

    /// Returns whether there is no file and no step in it, which makes it the same as `scratch`.
    pub fn is_empty(&self) -> bool {
        self.rootfs.diff_ids.is_empty() && self.history.iter().all(|step| step.empty_layer)
    }
}

impl ProcessConfig {
    /// Returns the value of an environment variable; of equal names the last counts.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().rev().find_map(|entry| match entry.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (entry == name).then_some(""),
        })
    }

    /// Sets an environment variable: in the place of its first appearance, else at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let is_it = |entry: &String| entry.split('=').next() == Some(name);
        let entry = format!("{name}={value}");
        let Some(first) = self.env.iter().position(is_it) else {
            self.env.push(entry);
            return;
        };
        self.env[first] = entry;
        let mut at = 0;
        self.env.retain(|entry| {
            at += 1;
            at <= first + 1 || !is_it(entry)
        });
    }
}

#[cfg(test)]
mod tests;
