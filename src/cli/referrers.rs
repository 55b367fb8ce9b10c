//! `kiln referrers`: what a registry has about an image.

use clap::{Args, ValueEnum};
use kiln::images::Library;
use kiln::oci::Descriptor;

use super::network::RegistryFlags;
use super::progress::Mode;
use super::table::columns;
use super::watch::Watch;
use super::{Done, Session, answer, text};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name in a registry
    image: String,
    /// Show only artifacts of this type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// How they are shown
    #[arg(long, default_value = "table")]
    format: Format,
    #[command(flatten)]
    registry: RegistryFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line an artifact
    Table,
    /// One JSON object with `Subject` and `Referrers`
    Json,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let (root, settings) = (session.state_root()?, session.registry(&flags.registry)?);
    let (subject, found) = Watch::new(Mode::Quiet, session).follow(|_, cancel| {
        let library = Library::open(&root, &settings, cancel)?;
        Ok(library.referrers(&flags.image, flags.artifact_type.as_deref())?)
    })?;
    let shown = match flags.format {
        Format::Table => table(&found),
        Format::Json => {
            let value = serde_json::json!({ "Subject": subject.to_string(), "Referrers": found });
            format!("{value}\n")
        }
    };
    Ok(answer(&shown)?)
}

fn table(found: &[Descriptor]) -> String {
    let mut cells = vec![["DIGEST", "ARTIFACT TYPE", "SIZE"].map(str::to_owned)];
    for descriptor in found {
        let kind = descriptor.artifact_type.as_deref().unwrap_or(descriptor.media_type.as_ref());
        let (digest, kind) = (descriptor.digest.to_string(), text::single_line(kind));
        cells.push([digest, kind, text::bytes(descriptor.size)]);
    }
    columns(&cells)
}
