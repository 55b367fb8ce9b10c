//! Platforms: `os[(version[+feature…])][/architecture[/variant]]`, with containerd's aliases and matching.
//!
//! A parsed platform is normalised: `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`, `linux/arm` is
//! `linux/arm/v7`. What suits a platform, and how well, is [`Platform::rank`]. Windows versions take no part in
//! matching: kiln runs on Linux.

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
        let (wanted, offered) = (self.clone().normalized(), offered.clone().normalized());
        let features = &offered.os_features;
        if wanted.os != offered.os || !features.iter().all(|f| wanted.os_features.contains(f)) {
            return None;
        }
        let accepted = accepted(&wanted.architecture, &wanted.variant);
        let found = (offered.architecture, offered.variant);
        let position = accepted.into_iter().position(|(architecture, variant)| {
            normal_architecture(&architecture, &variant) == found
        })?;
        Some((position, std::cmp::Reverse(features.len())))
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

/// Arm64 v9.n runs what v8.(n+5) runs (at most v8.9), which runs every older v8, which runs 32-bit arm.
fn accepted_by_arm64(variant: &str) -> Vec<(String, String)> {
    let (major, minor) = match variant {
        "" => (8, Some(0)),
        other => match other.split_once('.') {
            None => (if other == "v9" { 9 } else { 8 }, matches!(other, "v8" | "v9").then_some(0)),
            Some((major, minor)) => (if major == "v9" { 9 } else { 8 }, minor.parse::<u8>().ok()),
        },
    };
    let limit = if major == 9 { 7 } else { 9 };
    let Some(minor) = minor.filter(|minor| *minor <= limit) else { return Vec::new() };
    let versions = |major: u8, minor: u8| {
        (0..=minor).rev().map(move |minor| match minor {
            0 => format!("v{major}"),
            minor => format!("v{major}.{minor}"),
        })
    };
    let mut variants: Vec<_> = versions(major, minor).collect();
    if major == 9 {
        variants.extend(versions(8, (minor + 5).min(9)));
    }
    let mut out: Vec<_> = variants.into_iter().map(|v| ("arm64".to_owned(), v)).collect();
    out.extend(accepted("arm", "v8"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Platform {
        Platform::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn platforms_are_normalised() {
        let host = Platform::host().to_string();
        #[rustfmt::skip]
        let cases = [
            ("linux", host.as_str()), ("Linux", host.as_str()), ("arm64", "linux/arm64"), ("aarch64", "linux/arm64"),
            ("x86_64", "linux/amd64"), ("armhf", "linux/arm/v7"), ("armel", "linux/arm/v6"), ("arm", "linux/arm/v7"),
            ("i386", "linux/386"), ("linux/arm64/v8", "linux/arm64"), ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"), ("linux/arm/6", "linux/arm/v6"), ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v2", "linux/amd64/v2"), ("LINUX/AMD64", "linux/amd64"), ("macos/arm64", "darwin/arm64"),
            ("freebsd/unheard-of/x", "freebsd/unheard-of/x"), ("windows(10.0.17763)/amd64", "windows/amd64"),
        ];
        for (text, normal) in cases {
            assert_eq!(parse(text).to_string(), normal, "{text}");
        }
        for text in ["windows(10.0.17763)/amd64", "windows(10.0%2B1+b%28+win32k)/arm/v7"] {
            assert_eq!(parse(text).format_all(), text);
        }
        assert_eq!(Platform::default().to_string(), "unknown");
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in [
            "",
            "/",
            "linux/",
            "linux//v7",
            "*",
            "linux/*",
            "a/b/c/d",
            "linux/a b",
            "x(1",
            "(1)",
            "x(1)y",
            "x(%z)",
            "x(1+)",
        ] {
            assert_eq!(Platform::parse(text), Err(PlatformError::Format(text.into())), "{text}");
        }
        let unknown = Platform::parse("vax").unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "invalid platform `vax`: unknown operating system or architecture"
        );
    }

    #[test]
    fn older_variants_will_do() {
        #[rustfmt::skip]
        let cases = [
            ("linux/arm/v7", "linux/arm/v7", Some(0)), ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v7", "linux/arm/v5", Some(2)), ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)), ("linux/arm64", "linux/arm/v8", Some(1)),
            ("linux/arm64", "linux/arm/v7", Some(2)), ("linux/arm64", "linux/arm64/v9", None),
            ("linux/arm64/v9", "linux/arm64", Some(6)), ("linux/arm64/v8.2", "linux/arm64/v8.1", Some(1)),
            ("linux/amd64", "linux/amd64", Some(0)), ("linux/amd64", "linux/386", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)), ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64", "windows/amd64", None), ("linux/386", "linux/amd64", None),
            ("linux/arm64/v8.10", "linux/arm64", None), ("linux/riscv64", "linux/riscv64", Some(0)),
        ];
        for (wanted, offered, rank) in cases {
            let found = parse(wanted).rank(&parse(offered)).map(|(rank, _)| rank);
            assert_eq!(found, rank, "{offered} for {wanted}");
        }
    }
}
