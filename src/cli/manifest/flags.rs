//! The words of `kiln manifest`: those of docker, and where docker has none those of podman.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};

use super::super::compression;
use super::super::network::RegistryFlags;
use super::super::progress::Mode;

#[derive(Debug, Args)]
pub(crate) struct CreateFlags {
    /// The list's name
    pub(super) name: String,
    /// The images: names or ids, with `docker://` before a name to have the registry's in any case
    #[arg(value_name = "IMAGE")]
    pub(super) images: Vec<String>,
    /// Add to the list if there is one of that name
    #[arg(short, long)]
    pub(super) amend: bool,
    /// Annotate the list
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub(super) annotations: Vec<String>,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
}

#[derive(Debug, Args)]
pub(crate) struct AddFlags {
    /// The list's name
    pub(super) name: String,
    /// The images: names or ids, with `docker://` before a name to have the registry's in any case
    #[arg(required = true, value_name = "IMAGE")]
    pub(super) images: Vec<String>,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveFlags {
    /// The list's name
    pub(super) name: String,
    /// The images: digests, or names of images in the local store or a registry
    #[arg(required = true, value_name = "IMAGE|DIGEST")]
    pub(super) images: Vec<String>,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
}

#[derive(Debug, Args)]
pub(crate) struct AnnotateFlags {
    /// The list's name
    pub(super) name: String,
    /// The image: a digest, or the name of an image in the local store or a registry
    #[arg(value_name = "IMAGE|DIGEST", required_unless_present = "index")]
    pub(super) image: Option<String>,
    /// Annotate the list itself
    #[arg(long, conflicts_with_all = ["image", "os", "arch", "variant", "os_version", "os_features"])]
    pub(super) index: bool,
    /// The operating system that the image is for
    #[arg(long, value_parser = word)]
    pub(super) os: Option<String>,
    /// The CPU that it is for
    #[arg(long, value_parser = word)]
    pub(super) arch: Option<String>,
    /// The CPU's variant
    #[arg(long, value_parser = word)]
    pub(super) variant: Option<String>,
    /// The operating system's version
    #[arg(long, value_name = "VERSION", value_parser = word)]
    pub(super) os_version: Option<String>,
    /// What the operating system must have
    #[arg(long, value_name = "FEATURE", value_delimiter = ',', value_parser = word)]
    pub(super) os_features: Vec<String>,
    /// Annotate it
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub(super) annotations: Vec<String>,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
}

#[derive(Debug, Args)]
pub(crate) struct PushFlags {
    /// The list: its name or its digest
    pub(super) name: String,
    /// The name to push to [default: the list's own]
    #[arg(value_name = "DESTINATION")]
    pub(super) destination: Option<String>,
    /// Take the list out of the local store afterwards
    #[arg(short, long, alias = "rm")]
    pub(super) purge: bool,
    #[command(flatten)]
    pub(super) compression: compression::Flags,
    /// Write the digest of what was pushed to this file
    #[arg(long, value_name = "FILE")]
    pub(super) digestfile: Option<PathBuf>,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
    /// Show no progress
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// How progress is shown
    #[arg(long, value_name = "MODE")]
    pub(super) progress: Option<Mode>,
}

#[derive(Debug, Args)]
pub(crate) struct Lists {
    /// The lists
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// The list
    pub(super) name: String,
}

/// A part of a platform.
fn word(text: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match !text.is_empty() && text.bytes().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err("letters, digits, `.`, `_` and `-` make the name of a platform".to_owned()),
    }
}

/// Reads annotations: `KEY=VALUE`.
pub(super) fn annotations(texts: &[String]) -> Result<BTreeMap<String, String>, Diagnostic> {
    let read = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => {
            let hint = Some("write `--annotation KEY=VALUE`".to_owned());
            Err(Diagnostic::new(Blame::Input, format!("invalid annotation `{text}`")).hint(hint))
        }
    };
    texts.iter().map(read).collect()
}
