//! Build arguments: the predefined ones, the global ones before the first FROM, proxies.

use std::collections::BTreeMap;

use super::{GraphError, Request};
use crate::dockerfile::ast::{Command, Instruction};
use crate::dockerfile::word::Expander;

/// Variables in the order in which they were last set; a name that is set again moves to the end, as the
/// reference has it, which the environment of a command shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Env(Vec<(String, String)>);

impl Env {
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.0.retain(|(k, _)| k != key);
        self.0.push((key.to_owned(), value.to_owned()));
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }
}

/// Returns the predefined arguments, visible to FROM and importable by ARG.
pub(super) fn predefined(request: &Request, target: &str) -> Env {
    let (build, for_) = (&request.build_platform, request.target_platform());
    let pairs = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", build.os_version.clone()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone()),
        ("TARGETPLATFORM", for_.format_all()),
        ("TARGETOS", for_.os.clone()),
        ("TARGETOSVERSION", for_.os_version.clone()),
        ("TARGETARCH", for_.architecture.clone()),
        ("TARGETVARIANT", for_.variant.clone()),
        ("TARGETSTAGE", if target.is_empty() { "default".to_owned() } else { target.to_owned() }),
    ];
    let mut env = Env::default();
    for (key, value) in pairs {
        env.set(key, request.build_args.get(key).unwrap_or(&value));
    }
    env
}

/// Adds the global arguments, in order, to the predefined ones.
pub(super) fn with_globals(
    mut env: Env,
    commands: &[Command],
    build_args: &BTreeMap<String, String>,
    expander: &Expander,
) -> Result<Env, GraphError> {
    for command in commands {
        let Instruction::Arg(definitions) = &command.instruction else { continue };
        for definition in definitions {
            let value = match (build_args.get(&definition.key), &definition.value) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => {
                    let lookup = |name: &str| env.get(name).map(str::to_owned);
                    let expanded = expander.expand(default, &lookup);
                    Some(expanded.map_err(|error| GraphError::from(error).at(command.span))?)
                }
                (None, None) => None,
            };
            if let Some(value) = value {
                env.set(&definition.key, &value);
            }
        }
    }
    Ok(env)
}

const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Returns the proxy variables among the build arguments, each in both cases.
pub(super) fn proxy_env(build_args: &BTreeMap<String, String>) -> Vec<String> {
    let mut env = Vec::new();
    for name in PROXIES {
        let given = build_args.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            env.push(format!("{name}={value}"));
            env.push(format!("{}={value}", name.to_ascii_lowercase()));
        }
    }
    env
}

/// Arguments that the reference records but never puts into the environment of a command.
pub(super) fn is_environment(key: &str) -> bool {
    !matches!(key, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}
