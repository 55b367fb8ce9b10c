//! `kiln manifest inspect`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::Inspected;
use kiln::oci::{Content, Descriptor, Family, media_type};
use serde::Serialize;
use serde_json::Value;

use super::super::network::RegistryFlags;
use super::super::{Done, Session, answer};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A name or an id; what the local store does not have is asked for in the registry, with `docker://` in any case
    name: String,
    /// Show each image of the list with its manifest, as docker does
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Runs the command. What is shown without `--verbose` has the digest of the document.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = super::library(&flags.registry, session)?;
    let inspected = library.inspect_list(&flags.name)?;
    if !flags.verbose {
        return Ok(answer(&String::from_utf8_lossy(&inspected.bytes))?);
    }
    let entries = library.inspect_entries(&inspected)?;
    let entries = entries.iter().map(|(entry, bytes)| Entry::new(&inspected, entry, bytes));
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    let shown = match (inspected.is_index(), entries.as_slice()) {
        (false, [only]) => pretty(only)?,
        _ => pretty(&entries)?,
    };
    Ok(answer(&shown)?)
}

/// An image of a list, with docker's names.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "Ref")]
    name: String,
    descriptor: &'a Descriptor,
    /// The document itself, base64.
    raw: String,
    #[serde(rename = "SchemaV2Manifest", skip_serializing_if = "Option::is_none")]
    docker: Option<Value>,
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci: Option<Value>,
    /// A list in a list; docker has no name for it.
    #[serde(rename = "Index", skip_serializing_if = "Option::is_none")]
    index: Option<Value>,
}

impl<'a> Entry<'a> {
    fn new(
        inspected: &Inspected,
        descriptor: &'a Descriptor,
        bytes: &[u8],
    ) -> Result<Self, Diagnostic> {
        let document = serde_json::from_slice(bytes);
        let document = document.map_err(|error| {
            Diagnostic::new(Blame::Input, format!("malformed manifest: {error}"))
        })?;
        let name = inspected.name_of(descriptor);
        let raw = STANDARD.encode(bytes);
        let mut entry = Self { name, descriptor, raw, docker: None, oci: None, index: None };
        let docker = media_type(Content::Manifest, Family::Docker);
        let place = match descriptor.content() {
            Content::Index => &mut entry.index,
            _ if docker.as_ref() == Some(&descriptor.media_type) => &mut entry.docker,
            _ => &mut entry.oci,
        };
        *place = Some(document);
        Ok(entry)
    }
}

/// Writes JSON with tabs, as docker does.
fn pretty(value: &impl Serialize) -> Result<String, Diagnostic> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut writer)
        .map_err(|error| Diagnostic::new(Blame::Kiln, error.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}
