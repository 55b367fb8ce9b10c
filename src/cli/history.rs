//! `kiln history`: how an image was made, newest first.

use clap::Args;
use kiln::oci::{History, Platform};

use super::format::{self, Listing, Value};
use super::table::{ago, ellipsis, human_size, instant, short_id};
use super::{Done, Session, answer};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// Sizes and times for people; with `=false` bytes and dates
    #[arg(short = 'H', long, value_name = "BOOL", num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Show ids and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// Show only ids
    #[arg(short, long)]
    quiet: bool,
    /// Of an index the image for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// How it is shown: `table`, `json`, a Go template, or `table` and a template
    ///
    /// The fields are ID, CreatedSince, CreatedAt, CreatedBy, Size and Comment. Size is that of the files in the layer,
    /// unpacked, as docker counts it. Only the last step has an id: that of the image.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const FIELDS: &[(&str, &str)] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

const FOR_PEOPLE: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const EXACT: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

/// How much of a command is shown.
const LONGEST: usize = 45;

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = session.library()?;
    let image = library.image_for(&flags.image, flags.platform.as_ref())?;
    let mut sizes = library.layer_sizes(&image)?.into_iter();
    let id = image.manifest.config.digest;
    let last = if flags.no_trunc { id.to_string() } else { short_id(&id) };
    let history = &image.config.history;
    let mut rows = Vec::with_capacity(history.len());
    for (index, step) in history.iter().enumerate() {
        let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        let id = if index + 1 == history.len() { &last } else { "<missing>" };
        rows.push(row(flags, id, step, size));
    }
    rows.reverse();
    let shown = match (flags.format.as_deref(), flags.quiet) {
        (None | Some("" | "table"), true) => format::each("{{.ID}}", &rows)?,
        (format, _) => {
            let table = if flags.human { FOR_PEOPLE } else { EXACT };
            Listing { fields: FIELDS, table, rows: &rows }.show(format)?
        }
    };
    Ok(answer(&shown)?)
}

fn row(flags: &Flags, id: &str, step: &History, size: u64) -> Value {
    let command = step.created_by.replace('\t', " ");
    let command = if flags.no_trunc { command } else { ellipsis(&command, LONGEST) };
    let unknown = || "N/A".to_owned();
    let at = step.created.map_or_else(unknown, instant);
    let since = if flags.human { step.created.map_or_else(unknown, ago) } else { at.clone() };
    Value::record([
        ("Comment", step.comment.as_str().into()),
        ("CreatedAt", at.into()),
        ("CreatedBy", command.into()),
        ("CreatedSince", since.into()),
        ("ID", id.into()),
        ("Size", if flags.human { human_size(size) } else { size.to_string() }.into()),
    ])
}
