//! Platforms: `os[(version[+feature…])][/architecture[/variant]]`, with containerd's aliases and matching.
//!
//! A parsed platform is normalised: `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`, `linux/arm` is
//! `linux/arm/v7`. What suits a platform, and how well, is [`Platform::rank`].

mod windows;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::json::{is_default, or_default};

/// What an image is made for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Platform {
    /// The CPU, `amd64`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// The operating system, `linux`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
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
    /// The CPU's variant, `v7`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub variant: String,
}

/// Why a text is not a platform.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum PlatformError {
    /// It does not have the form of one.
    #[error("invalid platform `{0}`")]
    Format(String),
    /// A single word that is neither an operating system nor an architecture.
    #[error("invalid platform `{0}`: unknown operating system or architecture")]
    Unknown(String),
}

impl PlatformError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        Some(
            "the form is `os/architecture[/variant]`, as in `linux/amd64` or `linux/arm/v7`"
                .to_owned(),
        )
    }
}

#[rustfmt::skip]
const SYSTEMS: &[&str] = &[
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "nacl", "netbsd",
    "openbsd", "plan9", "solaris", "windows", "zos",
];

#[rustfmt::skip]
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "ppc64", "ppc64le", "loong64", "mips", "mipsle",
    "mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "riscv", "riscv64", "s390", "s390x", "sparc",
    "sparc64", "wasm",
];

impl Platform {
    /// Returns what kiln itself runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "loongarch64" => "loong64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            other => other,
        };
        let (architecture, os) = (architecture.to_owned(), "linux".to_owned());
        Self { architecture, os, ..Self::default() }.normalized()
    }

    /// Parses a platform and normalises it.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError::Format(text.to_owned());
        let parts: Vec<_> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if parts.len() > 3 || !parts[1..].iter().all(word) {
            return Err(malformed());
        }
        let (os, os_version, os_features) = parse_os(parts[0]).ok_or_else(malformed)?;
        let mut platform = Self { os, os_version, os_features, ..Self::default() };
        match parts[1..] {
            [] if SYSTEMS.contains(&normal_os(&platform.os).as_str()) => {
                let host = Self::host();
                (platform.architecture, platform.variant) = (host.architecture, host.variant);
            }
            [] => {
                (platform.architecture, platform.variant) = normal_architecture(parts[0], "");
                if !ARCHITECTURES.contains(&platform.architecture.as_str()) {
                    return Err(PlatformError::Unknown(text.to_owned()));
                }
                "linux".clone_into(&mut platform.os);
            }
            [architecture] => architecture.clone_into(&mut platform.architecture),
            [architecture, variant, ..] => {
                architecture.clone_into(&mut platform.architecture);
                variant.clone_into(&mut platform.variant);
            }
        }
        Ok(platform.normalized())
    }

    /// Returns the same with the names that containerd prefers.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.os = normal_os(&self.os);
        (self.architecture, self.variant) = normal_architecture(&self.architecture, &self.variant);
        self.os_features.sort();
        self.os_features.dedup();
        self
    }

    /// Returns how well an image for `offered` suits `self`, the least being the best; `None` if not at all.
    ///
    /// As containerd's `Only`: an older variant of the same CPU will do, 386 for amd64, 32-bit arm for arm64. Of
    /// equally good ones the image that uses more of the offered features of the operating system wins.
    pub fn rank(&self, offered: &Self) -> Option<(usize, std::cmp::Reverse<usize>)> {
        let count = offered.os_features.len();
        let (wanted, mut offered) = (self.clone().normalized(), offered.clone().normalized());
        if wanted.os != offered.os {
            return None;
        }
        if wanted.os == "windows" {
            // Every Windows has it, and lists made before it was looked at leave it out.
            offered.os_features.retain(|feature| feature != "win32k");
            if !windows::runs(&wanted.os_version, &offered.os_version) {
                return None;
            }
        }
        if !offered.os_features.iter().all(|feature| wanted.os_features.contains(feature)) {
            return None;
        }
        let accepted = accepted(&wanted.architecture, &wanted.variant);
        let found = (offered.architecture, offered.variant);
        let position = accepted.into_iter().position(|(architecture, variant)| {
            normal_architecture(&architecture, &variant) == found
        })?;
        Some((position, std::cmp::Reverse(count)))
    }

    /// Returns the platform with the version and features of its operating system: `windows(10.0.17763)/amd64`.
    pub fn format_all(&self) -> String {
        if self.os_version.is_empty() && self.os_features.is_empty() {
            return self.to_string();
        }
        let mut features = self.os_features.clone();
        features.sort();
        features.dedup();
        let features: String = features
            .iter()
            .filter(|feature| !feature.is_empty())
            .map(|feature| format!("+{}", encode(feature)))
            .collect();
        let os = format!("{}({}{features})", self.os, encode(&self.os_version));
        Self { os, ..self.clone() }.to_string()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return f.write_str("unknown");
        }
        let parts = [&self.os, &self.architecture, &self.variant];
        let parts: Vec<_> =
            parts.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        f.write_str(&parts.join("/"))
    }
}

impl std::str::FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

/// `name` or `name(version+feature…)`, in which `%` escapes.
fn parse_os(text: &str) -> Option<(String, String, Vec<String>)> {
    let (name, options) = match text.split_once('(') {
        Some((name, options)) => (name, options.strip_suffix(')')?),
        None => (text, ""),
    };
    let allowed = |extra: &'static [u8]| {
        move |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') || extra.contains(&b)
    };
    if name.is_empty() || !name.bytes().all(allowed(b"")) {
        return None;
    }
    if !options.bytes().all(allowed(b".%+")) {
        return None;
    }
    let mut parts = options.split('+');
    let version = decode(parts.next()?)?;
    let features: Option<Vec<_>> =
        parts.map(|p| if p.is_empty() { None } else { decode(p) }).collect();
    Some((name.to_owned(), version, features?))
}

fn decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut out = parts.next()?.as_bytes().to_vec();
    for part in parts {
        out.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        out.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(out).ok()
}

fn encode(text: &str) -> String {
    let escape = |c| match c {
        '%' | '+' | '(' | ')' | '/' => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

fn normal_os(os: &str) -> String {
    match os.to_lowercase().as_str() {
        "" => "linux".to_owned(),
        "macos" => "darwin".to_owned(),
        other => other.to_owned(),
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_lowercase(), variant.to_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// Returns the CPUs whose programs run on the given one, the best first.
fn accepted(architecture: &str, variant: &str) -> Vec<(String, String)> {
    let below = |architecture: &str, from: u8, to: u8| -> Vec<_> {
        (to..from).rev().map(|v| (architecture.to_owned(), format!("v{v}"))).collect()
    };
    let version = variant.strip_prefix('v').unwrap_or(variant).parse().ok();
    let mut out = vec![(architecture.to_owned(), variant.to_owned())];
    match (architecture, version) {
        ("amd64", version) => {
            out.extend(below("amd64", version.unwrap_or(1), 1));
            out.push(("386".to_owned(), String::new()));
        }
        ("arm", Some(version)) => out.extend(below("arm", version, 5)),
        ("arm64", _) => return accepted_by_arm64(variant),
        _ => {}
    }
    out
}

/// The arm64 variants of a major version, from the oldest.
const ARM64_V8: [&str; 10] =
    ["v8", "v8.1", "v8.2", "v8.3", "v8.4", "v8.5", "v8.6", "v8.7", "v8.8", "v8.9"];
const ARM64_V9: [&str; 8] = ["v9", "v9.1", "v9.2", "v9.3", "v9.4", "v9.5", "v9.6", "v9.7"];

/// Arm64 v9.n runs what v8.(n+5) runs (at most v8.9), which runs every older v8, which runs 32-bit arm. Of a variant
/// that is none of these nothing is known, not even that it runs what is made for it.
fn accepted_by_arm64(variant: &str) -> Vec<(String, String)> {
    let variant = if variant.is_empty() { "v8" } else { variant };
    let eight = ARM64_V8.iter().position(|known| *known == variant);
    let nine = ARM64_V9.iter().position(|known| *known == variant);
    let below: Vec<&str> = match (eight, nine) {
        (Some(minor), _) => ARM64_V8[..=minor].to_vec(),
        (None, Some(minor)) => {
            let eights = &ARM64_V8[..=(minor + 5).min(ARM64_V8.len() - 1)];
            eights.iter().chain(&ARM64_V9[..=minor]).copied().collect()
        }
        (None, None) => return Vec::new(),
    };
    let arm64 = below.into_iter().rev().map(|v| ("arm64".to_owned(), v.to_owned()));
    arm64.chain(accepted("arm", "v8")).collect()
}

#[cfg(test)]
mod tests;
