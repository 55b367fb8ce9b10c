//! `kiln images`: what the local store has under a name.

use std::path::Path;

use clap::Args;
use kiln::oci::Reference;
use kiln::runner;
use kiln::source::names;
use kiln::store::Store;

use super::{Done, Failure, print, sizes};

#[derive(Debug, Args)]
pub(super) struct ImagesFlags {
    /// Show only image ids
    #[arg(short, long)]
    quiet: bool,
    /// table or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
}

struct Row {
    repository: String,
    tag: String,
    id: String,
    created: Option<jiff::Timestamp>,
    size: u64,
}

pub(super) fn run(root: &Path, flags: &ImagesFlags) -> Done {
    let rows = rows(root)?;
    if flags.quiet {
        return print(&rows.iter().map(|row| format!("{}\n", row.id)).collect::<String>());
    }
    match flags.format.as_str() {
        "table" => print(&table(&rows)),
        "json" => print(&json(&rows)),
        other => Err(Failure::input(format!("unknown format `{other}`"), "use table or json")),
    }
}

fn rows(root: &Path) -> Result<Vec<Row>, Failure> {
    let tags = {
        let store = Store::open(root).map_err(|error| Failure::input(error.to_string(), ""))?;
        names::tags(&store).map_err(|error| Failure::input(error.to_string(), ""))?
    };
    let row = |(reference, _): &(Reference, kiln::digest::Digest)| {
        let image = runner::local_image(root, &reference.to_string()).ok()?;
        let size = image.manifest.layers.iter().map(|layer| layer.size).sum();
        Some(Row {
            repository: reference.familiar_name(),
            tag: reference.tag().unwrap_or("<none>").to_owned(),
            id: image.manifest.config.digest.to_string(),
            created: image.config.created,
            size,
        })
    };
    Ok(tags.iter().filter_map(row).collect())
}

fn table(rows: &[Row]) -> String {
    let mut cells = vec![["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned)];
    for row in rows {
        let id = row.id.trim_start_matches("sha256:").chars().take(12).collect();
        let created = row.created.map_or_else(|| "N/A".to_owned(), ago);
        cells.push([row.repository.clone(), row.tag.clone(), id, created, sizes::show(row.size)]);
    }
    columns(&cells)
}

/// Aligns columns with three spaces between them.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}   "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// How long ago a time was, roughly.
pub(super) fn ago(time: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now().as_second() - time.as_second();
    let (count, unit) = match seconds {
        ..60 => return "seconds ago".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
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
