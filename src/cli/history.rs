//! `kiln history`: how an image was made, newest first.

use clap::Args;

use super::table::{ago, columns};
use super::text::{self, single_line};
use super::{Done, Session, answer};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image
    image: String,
    /// Show commands in full
    #[arg(long)]
    no_trunc: bool,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    const LONGEST: usize = 60;
    let image = session.library()?.image(&flags.image)?;
    let mut layers = image.manifest.layers.iter();
    let mut rows = Vec::new();
    for entry in &image.config.history {
        let size = if entry.empty_layer { 0 } else { layers.next().map_or(0, |layer| layer.size) };
        let command = single_line(&entry.created_by);
        let shown = if flags.no_trunc { command } else { text::clip(&command, LONGEST) };
        let created = entry.created.map_or_else(|| "N/A".to_owned(), ago);
        rows.push([created, shown, text::bytes(size), single_line(&entry.comment)]);
    }
    rows.push(["CREATED", "CREATED BY", "SIZE", "COMMENT"].map(str::to_owned));
    rows.reverse();
    Ok(answer(&columns(&rows))?)
}
