//! `kiln images`: what the local store has, the newest first.

mod filter;

use std::collections::BTreeSet;

use clap::Args;
use kiln::diagnostic::Diagnostic;
use kiln::images::Listed;

use super::format::{self, Listing, Value};
use super::table::{ago, human_size, short_id, time};
use super::{Done, Session, answer};
use filter::Filters;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Show only this repository or name; `*`, `?` and `[…]` match as in file names
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Show also the images of an index by themselves
    #[arg(short, long)]
    all: bool,
    /// Show only image ids
    #[arg(short, long)]
    quiet: bool,
    /// Show ids in full
    #[arg(long)]
    no_trunc: bool,
    /// Show the digests of manifests and indexes
    #[arg(long)]
    digests: bool,
    /// Show only what fits: dangling=true|false, label=NAME[=VALUE], before=IMAGE, since=IMAGE, until=TIME,
    /// reference=PATTERN
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// How they are shown: `table`, `json`, `raw`, a Go template, or `table` and a template
    ///
    /// The fields are ID, Repository, Tag, Digest, CreatedSince, CreatedAt, Size, Bytes, Platforms and Labels. Size is
    /// that of the files in all layers, unpacked, as docker counts it; of an index, those of all its images that are
    /// here. Bytes is the same as a number.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

const FIELDS: &[(&str, &str)] = &[
    ("Bytes", "BYTES"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Labels", "LABELS"),
    ("Platforms", "PLATFORMS"),
    ("Repository", "REPOSITORY"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
];

const TABLE: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const RAW: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\nimage_id: {{.ID}}\n\
                   created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const RAW_WITH_DIGESTS: &str = "repository: {{.Repository}}\ntag: {{.Tag}}\ndigest: {{.Digest}}\nimage_id: {{.ID}}\n\
     created_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n";
const NONE: &str = "<none>";

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = session.library()?;
    let filters = Filters::read(&flags.filter, flags.name.as_deref(), &library)?;
    let mut rows = Vec::new();
    for listed in library.list(flags.all)?.iter().filter(|listed| filters.suit(listed)) {
        for (repository, tag) in names(listed, &filters) {
            rows.push(row(listed, repository, tag, flags.no_trunc));
        }
    }
    Ok(answer(&shown(flags, &rows)?)?)
}

fn shown(flags: &Flags, rows: &[Value]) -> Result<String, Diagnostic> {
    let raw = if flags.digests { RAW_WITH_DIGESTS } else { RAW };
    match (flags.format.as_deref(), flags.quiet) {
        (None | Some("" | "table"), true) => format::each("{{.ID}}", rows),
        (Some("raw"), true) => format::each("image_id: {{.ID}}", rows),
        (Some("raw"), false) => format::each(raw, rows),
        (format, _) => {
            let table = if flags.digests { WITH_DIGESTS } else { TABLE };
            Listing { fields: FIELDS, table, rows }.show(format)
        }
    }
}

/// Returns repository and tag of each row of an image. A name with a digest has a row only if its repository has no
/// other.
fn names(listed: &Listed, filters: &Filters) -> BTreeSet<(String, String)> {
    let fitting = || listed.names.iter().filter(|name| filters.suit_name(name));
    let mut rows: BTreeSet<_> =
        fitting().filter_map(|name| Some((name.familiar_name(), name.tag()?.to_owned()))).collect();
    for name in fitting().filter(|name| name.tag().is_none()) {
        let repository = name.familiar_name();
        if !rows.iter().any(|(other, _)| *other == repository) {
            rows.insert((repository, NONE.to_owned()));
        }
    }
    if listed.names.is_empty() && filters.suit_nameless() {
        rows.insert((NONE.to_owned(), NONE.to_owned()));
    }
    rows
}

fn row(listed: &Listed, repository: String, tag: String, in_full: bool) -> Value {
    let config = &listed.image.config;
    let id = listed.image.manifest.config.digest;
    let platforms: Vec<_> = listed.platforms.iter().map(ToString::to_string).collect();
    let labels: Vec<_> =
        config.config.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let unknown = || "N/A".to_owned();
    Value::record([
        ("Bytes", listed.size.into()),
        ("CreatedAt", config.created.map_or_else(unknown, time).into()),
        ("CreatedSince", config.created.map_or_else(unknown, ago).into()),
        ("Digest", listed.digest.to_string().into()),
        ("ID", if in_full { id.to_string() } else { short_id(&id) }.into()),
        ("Labels", labels.join(",").into()),
        ("Platforms", platforms.join(",").into()),
        ("Repository", repository.into()),
        ("Size", human_size(listed.size).into()),
        ("Tag", tag.into()),
    ])
}
