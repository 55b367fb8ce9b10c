//! `kiln history`: how an image was made, newest first.

use std::path::Path;

use clap::Args;
use kiln::runner;

use super::images::{ago, columns};
use super::progress::harmless;
use super::{Done, print, sizes};

#[derive(Debug, Args)]
pub(super) struct HistoryFlags {
    /// The image
    image: String,
    /// Show commands in full
    #[arg(long)]
    no_trunc: bool,
}

pub(super) fn run(root: &Path, flags: &HistoryFlags) -> Done {
    const LONGEST: usize = 60;
    let image = runner::local_image(root, &flags.image)?;
    let mut layers = image.manifest.layers.iter();
    let mut rows = Vec::new();
    for entry in &image.config.history {
        let size = if entry.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.size) };
        let command = harmless(&entry.created_by.replace('\n', " "));
        let shown = match command.chars().count() > LONGEST && !flags.no_trunc {
            true => format!("{}…", command.chars().take(LONGEST - 1).collect::<String>()),
            false => command,
        };
        let created = entry.created.map_or_else(|| "N/A".to_owned(), ago);
        rows.push([created, shown, sizes::show(size), harmless(&entry.comment)]);
    }
    rows.push(["CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned));
    rows.reverse();
    print(&columns(&rows))
}
