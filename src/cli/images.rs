//! `kiln images`: what the local store has under a name.

use clap::{Args, ValueEnum};
use kiln::diagnostic::Diagnostic;
use kiln::images::Listed;

use super::table::{ago, columns};
use super::{Done, Session, answer, text};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Show only image ids
    #[arg(short, long)]
    quiet: bool,
    /// How they are shown
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line per name.
    Table,
    /// One JSON object per line.
    Json,
}

struct Row {
    repository: String,
    tag: String,
    id: String,
    created: Option<jiff::Timestamp>,
    size: u64,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let rows = rows(session)?;
    let shown = match (flags.quiet, flags.format) {
        (true, _) => rows.iter().map(|row| format!("{}\n", row.id)).collect(),
        (false, Format::Table) => table(&rows),
        (false, Format::Json) => json(&rows),
    };
    Ok(answer(&shown)?)
}

fn rows(session: &Session) -> Result<Vec<Row>, Diagnostic> {
    let row = |Listed { name: reference, image, .. }| Row {
        repository: reference.familiar_name(),
        tag: reference.tag().unwrap_or("<none>").to_owned(),
        id: image.manifest.config.digest.to_string(),
        created: image.config.created,
        size: image.manifest.layers.iter().map(|layer| layer.size).sum(),
    };
    Ok(session.library()?.list()?.into_iter().map(row).collect())
}

fn table(rows: &[Row]) -> String {
    let mut cells = vec![["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned)];
    for row in rows {
        let id = row.id.trim_start_matches("sha256:").chars().take(12).collect();
        let created = row.created.map_or_else(|| "N/A".to_owned(), ago);
        cells.push([row.repository.clone(), row.tag.clone(), id, created, text::bytes(row.size)]);
    }
    columns(&cells)
}

fn json(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let value = serde_json::json!({
            "Repository": row.repository,
            "Tag": row.tag,
            "ID": row.id,
            "CreatedAt": row.created.map(|time| time.to_string()),
            "Size": row.size,
        });
        format!("{value}\n")
    };
    rows.iter().map(line).collect()
}
