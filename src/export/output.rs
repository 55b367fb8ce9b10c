//! Reads one `--output` value.
//!
//! `PATH` is a directory for the root file system, `-` its tar on standard output, anything else a record of
//! `key=value` fields with a `type`. Pure: nothing is looked up on disk, and whether standard output is a terminal
//! is the command line's business.

use std::path::PathBuf;

use super::{CompressionKind, Dest, Output, OutputKind};
use crate::dockerfile;

/// Why a value is no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Not a record.
    #[error("invalid output `{0}`")]
    Csv(String),
    /// A field without `=`.
    #[error("invalid output field `{0}`: expected `key=value`")]
    Field(String),
    /// No `type`, and more than a path.
    #[error("output `{0}` has no `type`")]
    NoType(String),
    /// A type that nobody has.
    #[error("unknown output type `{0}`")]
    Type(String),
    /// An attribute that the type does not have.
    #[error("output type `{kind}` has no attribute `{key}`")]
    Attribute {
        /// The type.
        kind: String,
        /// The attribute.
        key: String,
    },
    /// A value that the attribute does not take.
    #[error("invalid value `{value}` for the output attribute `{key}`: expected {expected}")]
    Value {
        /// The attribute.
        key: String,
        /// What was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A destination is needed.
    #[error("output type `{0}` needs `dest=`")]
    NoDest(String),
    /// Two attributes that exclude each other.
    #[error("{0}")]
    Conflict(&'static str),
    /// Known, but beyond kiln for now.
    #[error("output {0} is not supported yet")]
    NotSupported(String),
}

impl OutputError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Type(_) | Self::NoType(_) => {
                Some("the types are registry, oci, docker, local, tar and image".to_owned())
            }
            Self::Attribute { kind, .. } => Some(format!("it has {}", known(kind).join(", "))),
            Self::Csv(_) => {
                Some("quote a whole field that holds a comma, and double a quote in it".to_owned())
            }
            Self::NoDest(kind) => Some(format!("write `type={kind},dest=PATH`")),
            Self::Field(_) | Self::Value { .. } | Self::Conflict(_) | Self::NotSupported(_) => None,
        }
    }
}

const IMAGE_KEYS: [&str; 7] = [
    "name",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
    "dest",
];

fn known(kind: &str) -> Vec<&'static str> {
    match kind {
        "local" => vec!["dest", "mode", "platform-split"],
        "tar" => vec!["dest", "platform-split"],
        "image" | "registry" => {
            let pushing = ["push", "push-by-digest", "registry.insecure"];
            IMAGE_KEYS[..6].iter().copied().chain(pushing).collect()
        }
        _ => IMAGE_KEYS.into_iter().chain(["tar"]).collect(),
    }
}

impl Output {
    /// Reads one `--output` value.
    pub fn parse(text: &str) -> Result<Self, OutputError> {
        if text.is_empty() {
            return Err(OutputError::NoType(String::new()));
        }
        let fields =
            dockerfile::csv_record(text).ok_or_else(|| OutputError::Csv(text.to_owned()))?;
        match fields.as_slice() {
            [only] if only == text && !only.starts_with("type=") => Ok(bare(text)),
            _ => parse_fields(text, &fields),
        }
    }

    /// An output of a kind with nothing else said.
    pub fn new(kind: OutputKind, dest: Option<Dest>) -> Self {
        Self {
            kind,
            dest,
            names: Vec::new(),
            compression: None,
            level: None,
            force_compression: false,
            oci_media_types: None,
            rewrite_timestamp: false,
            push: false,
            push_by_digest: false,
            insecure: false,
            platform_split: None,
        }
    }
}

fn bare(text: &str) -> Output {
    match text {
        "-" => Output::new(OutputKind::Tar, Some(Dest::Stdout)),
        path => Output::new(OutputKind::Local, Some(Dest::Path(PathBuf::from(path)))),
    }
}

fn parse_fields(text: &str, fields: &[String]) -> Result<Output, OutputError> {
    let mut pairs = Vec::new();
    for field in fields {
        let (key, value) =
            field.split_once('=').ok_or_else(|| OutputError::Field(field.to_owned()))?;
        pairs.push((key.trim().to_lowercase(), value.to_owned()));
    }
    let kind_name = take_last(&mut pairs, "type").unwrap_or_default();
    let dest = take_last(&mut pairs, "dest").filter(|dest| !dest.is_empty());
    let tar = match take_last(&mut pairs, "tar") {
        Some(value) if matches!(kind_name.as_str(), "oci" | "docker") => boolean("tar", &value)?,
        Some(_) => return Err(attribute(&kind_name, "tar")),
        None => true,
    };
    let kind = match kind_name.as_str() {
        "" => return Err(OutputError::NoType(text.to_owned())),
        "oci" => OutputKind::Oci { tar },
        "docker" => OutputKind::Docker { tar },
        "local" => OutputKind::Local,
        "tar" => OutputKind::Tar,
        "image" | "registry" => OutputKind::Image,
        "cacheonly" => {
            return Err(OutputError::NotSupported(format!("type `{kind_name}`")));
        }
        other => return Err(OutputError::Type(other.to_owned())),
    };
    let mut output = Output::new(kind, destination(kind, &kind_name, dest)?);
    output.push = kind_name == "registry";
    for (key, value) in &pairs {
        set(&mut output, &kind_name, key, value)?;
    }
    check(&output)?;
    Ok(output)
}

fn take_last(pairs: &mut Vec<(String, String)>, key: &str) -> Option<String> {
    let last = pairs.iter().rev().find(|pair| pair.0 == key).map(|pair| pair.1.clone());
    pairs.retain(|pair| pair.0 != key);
    last
}

fn destination(
    kind: OutputKind,
    name: &str,
    dest: Option<String>,
) -> Result<Option<Dest>, OutputError> {
    let directory = match kind {
        OutputKind::Local => true,
        OutputKind::Oci { tar } | OutputKind::Docker { tar } => !tar,
        OutputKind::Tar => false,
        OutputKind::Image if dest.is_some() => return Err(attribute(name, "dest")),
        OutputKind::Image => return Ok(None),
    };
    match dest.as_deref() {
        // Whoever asks for it gives it a place: the program that loads it.
        None if matches!(kind, OutputKind::Docker { tar: true }) => Ok(None),
        None if directory => Err(OutputError::NoDest(name.to_owned())),
        Some("-") if directory => Err(OutputError::Value {
            key: "dest".to_owned(),
            value: "-".to_owned(),
            expected: "a directory",
        }),
        None | Some("-") => Ok(Some(Dest::Stdout)),
        Some(path) => Ok(Some(Dest::Path(PathBuf::from(path)))),
    }
}

fn set(output: &mut Output, kind: &str, key: &str, value: &str) -> Result<(), OutputError> {
    let root_file_system = matches!(output.kind, OutputKind::Local | OutputKind::Tar);
    let is_image = output.kind == OutputKind::Image;
    match key {
        "mode" if kind == "local" => return neutral(matches!(value, "" | "copy"), key, value),
        "platform-split" if root_file_system => output.platform_split = Some(boolean(key, value)?),
        _ if root_file_system => return Err(not_known(kind, key)),
        "name" => {
            output.names = value.split(',').filter(|n| !n.is_empty()).map(str::to_owned).collect()
        }
        "compression" => output.compression = Some(compression(value)?),
        "compression-level" => output.level = Some(level(value)?),
        "force-compression" => output.force_compression = boolean(key, value)?,
        "oci-mediatypes" => output.oci_media_types = Some(boolean(key, value)?),
        "rewrite-timestamp" => output.rewrite_timestamp = boolean(key, value)?,
        // How dockerd and containerd keep the image: kiln's store has one way, and always does both.
        "unpack" | "store" | "name-canonical" if is_image => {
            boolean(key, value)?;
        }
        "push" if is_image => output.push = boolean(key, value)?,
        "push-by-digest" if is_image => output.push_by_digest = boolean(key, value)?,
        "registry.insecure" if is_image => output.insecure = boolean(key, value)?,
        "push" | "push-by-digest" | "registry.insecure" | "prefer-nondist-layers" => {
            return neutral(is_off(value), key, value);
        }
        _ => return Err(not_known(kind, key)),
    }
    Ok(())
}

fn is_off(value: &str) -> bool {
    dockerfile::boolean(value) == Some(false)
}

/// Takes a value that asks for nothing.
fn neutral(is_neutral: bool, key: &str, value: &str) -> Result<(), OutputError> {
    match is_neutral {
        true => Ok(()),
        false => Err(OutputError::NotSupported(format!("attribute `{key}={value}`"))),
    }
}

fn not_known(kind: &str, key: &str) -> OutputError {
    let later = ["annotation", "attestation-", "dangling-name-prefix", "source-date-epoch"];
    if later.iter().any(|prefix| key.starts_with(prefix)) || key == "compatibility-version" {
        return OutputError::NotSupported(format!("attribute `{key}`"));
    }
    attribute(kind, key)
}

fn attribute(kind: &str, key: &str) -> OutputError {
    OutputError::Attribute { kind: kind.to_owned(), key: key.to_owned() }
}

fn boolean(key: &str, value: &str) -> Result<bool, OutputError> {
    dockerfile::boolean(value).ok_or_else(|| OutputError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        expected: "true or false",
    })
}

fn compression(value: &str) -> Result<CompressionKind, OutputError> {
    match value {
        "gzip" => Ok(CompressionKind::Gzip),
        "zstd" => Ok(CompressionKind::Zstd),
        "uncompressed" => Ok(CompressionKind::Uncompressed),
        "estargz" | "nydus" => {
            Err(OutputError::NotSupported(format!("attribute `compression={value}`")))
        }
        _ => Err(OutputError::Value {
            key: "compression".to_owned(),
            value: value.to_owned(),
            expected: "gzip, zstd or uncompressed",
        }),
    }
}

fn level(value: &str) -> Result<i32, OutputError> {
    value.parse().map_err(|_| level_error(value, "a number"))
}

fn level_error(value: &str, expected: &'static str) -> OutputError {
    OutputError::Value { key: "compression-level".to_owned(), value: value.to_owned(), expected }
}

fn check(output: &Output) -> Result<(), OutputError> {
    let level = output.level.unwrap_or(1);
    match output.compression.unwrap_or(CompressionKind::Gzip) {
        CompressionKind::Gzip if !(0..=9).contains(&level) => {
            Err(level_error(&level.to_string(), "0 to 9 for gzip"))
        }
        CompressionKind::Zstd if !(0..=22).contains(&level) => {
            Err(level_error(&level.to_string(), "0 to 22 for zstd"))
        }
        CompressionKind::Zstd if output.oci_media_types == Some(false) => {
            Err(OutputError::Conflict(
                "`compression=zstd` needs OCI media types: drop `oci-mediatypes=false`",
            ))
        }
        CompressionKind::Gzip | CompressionKind::Zstd | CompressionKind::Uncompressed => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<Dest> {
        Some(Dest::Path(PathBuf::from(text)))
    }

    #[test]
    fn kinds_and_destinations() {
        let oci = |tar| OutputKind::Oci { tar };
        let docker = |tar| OutputKind::Docker { tar };
        let cases = [
            ("out", OutputKind::Local, path("out")),
            ("./a b", OutputKind::Local, path("./a b")),
            ("-", OutputKind::Tar, Some(Dest::Stdout)),
            ("type=local,dest=out", OutputKind::Local, path("out")),
            ("type=tar", OutputKind::Tar, Some(Dest::Stdout)),
            ("type=tar,dest=-", OutputKind::Tar, Some(Dest::Stdout)),
            ("TYPE=tar, dest=a.tar", OutputKind::Tar, path("a.tar")),
            (r#"type=tar,"dest=a,b.tar""#, OutputKind::Tar, path("a,b.tar")),
            ("type=oci", oci(true), Some(Dest::Stdout)),
            ("type=oci,dest=a.tar", oci(true), path("a.tar")),
            ("type=oci,tar=false,dest=dir", oci(false), path("dir")),
            ("type=docker,dest=a.tar", docker(true), path("a.tar")),
            ("type=docker,dest=-", docker(true), Some(Dest::Stdout)),
            ("type=docker,dest=d,tar=0", docker(false), path("d")),
            ("type=docker", docker(true), None),
            ("type=registry", OutputKind::Image, None),
            ("type=image", OutputKind::Image, None),
            ("type=image,push=false", OutputKind::Image, None),
        ];
        for (text, kind, dest) in cases {
            let output = Output::parse(text).unwrap();
            assert_eq!((output.kind, output.dest), (kind, dest), "{text}");
        }
    }

    #[test]
    fn attributes() {
        let text = r#"type=oci,dest=x,"name=a:1,b/c:2",compression=zstd,compression-level=19,force-compression=true,oci-mediatypes=true,rewrite-timestamp=1"#;
        let output = Output::parse(text).unwrap();
        assert_eq!(output.names, ["a:1", "b/c:2"]);
        assert_eq!((output.compression, output.level), (Some(CompressionKind::Zstd), Some(19)));
        assert!(output.force_compression && output.rewrite_timestamp);
        assert_eq!(output.oci_media_types, Some(true));
        let plain = Output::parse("type=image,compression=uncompressed").unwrap();
        assert_eq!(plain.compression, Some(CompressionKind::Uncompressed));
        assert_eq!((plain.level, plain.oci_media_types), (None, None));
    }

    #[test]
    fn images_are_pushed() {
        let pushed = |text: &str| {
            let output = Output::parse(text).unwrap();
            (output.push, output.push_by_digest, output.insecure)
        };
        assert_eq!(pushed("type=registry"), (true, false, false));
        assert_eq!(pushed("type=image"), (false, false, false));
        assert_eq!(pushed("type=image,name=a,push=true,push-by-digest=1"), (true, true, false));
        assert_eq!(pushed("type=registry,registry.insecure=true"), (true, false, true));
        assert_eq!(pushed("type=registry,push=false"), (false, false, false));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let cases = [
            ("", "output `` has no `type`"),
            ("dest=a,name=b", "output `dest=a,name=b` has no `type`"),
            ("type=oci,x", "invalid output field `x`: expected `key=value`"),
            ("type=\"oci\",x=1", "invalid output `type=\"oci\",x=1`"),
            ("type=ocl", "unknown output type `ocl`"),
            ("type=local", "output type `local` needs `dest=`"),
            ("type=oci,tar=false", "output type `oci` needs `dest=`"),
            (
                "type=local,dest=-",
                "invalid value `-` for the output attribute `dest`: expected a directory",
            ),
            ("type=image,dest=x", "output type `image` has no attribute `dest`"),
            ("type=tar,tar=true", "output type `tar` has no attribute `tar`"),
            ("type=tar,compression=gzip", "output type `tar` has no attribute `compression`"),
            ("type=oci,compresion=gzip", "output type `oci` has no attribute `compresion`"),
            (
                "type=oci,tar=yes",
                "invalid value `yes` for the output attribute `tar`: expected true or false",
            ),
            (
                "type=oci,compression-level=10",
                "invalid value `10` for the output attribute `compression-level`: expected 0 to 9 for gzip",
            ),
            (
                "type=oci,compression=zstd,oci-mediatypes=false",
                "`compression=zstd` needs OCI media types: drop `oci-mediatypes=false`",
            ),
            ("type=cacheonly", "output type `cacheonly` is not supported yet"),
            ("type=oci,push=true", "output attribute `push=true` is not supported yet"),
            (
                "type=image,push=maybe",
                "invalid value `maybe` for the output attribute `push`: expected true or false",
            ),
            (
                "type=oci,compression=estargz",
                "output attribute `compression=estargz` is not supported yet",
            ),
            (
                "type=local,dest=a,platform-split=maybe",
                "invalid value `maybe` for the output attribute `platform-split`: expected true or false",
            ),
            (
                "type=local,dest=a,mode=delete",
                "output attribute `mode=delete` is not supported yet",
            ),
            ("type=oci,annotation.a=b", "output attribute `annotation.a` is not supported yet"),
        ];
        for (text, expected) in cases {
            assert_eq!(Output::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }
}
