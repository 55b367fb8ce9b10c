//! `kiln prune`: removing what nobody needs.

use std::io::{BufRead, IsTerminal};

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::gc::{self, Item, Kind, Prune, Pruned};

use super::du::{Format, failed, json, open};
use super::{Done, Failure, Session, answer, build, filter, say, text};

#[derive(Debug, Args)]
#[command(after_help = "\
Without --all, images that have no name are removed, and of the build cache (steps and their layers, downloads, \
compressed layers) whatever is no part of an image that has one. With --all everything goes that no named image is \
made of: the cache of those images too, the directories of `RUN --mount=type=cache`, and what was known of contexts. \
What a build or a container that is running uses always stays.")]
pub(super) struct Flags {
    /// Remove everything that no named image is made of
    #[arg(short, long)]
    all: bool,
    /// Remove only what was last used before: `until=24h`, `until=2006-01-02`; or is of a type: `type=step`
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Stop once no more than this is left: what was used longest ago goes first
    #[arg(long, value_name = "SIZE")]
    keep_storage: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// How it is shown
    #[arg(long, default_value = "table")]
    format: Format,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let keep = flags.keep_storage.as_deref().map(|text| build::size("--keep-storage", text));
    let prune =
        Prune { all: flags.all, filter: filter::filter(&flags.filter)?, keep: keep.transpose()? };
    if !flags.force {
        ask(flags.all)?;
    }
    let pruned = {
        let store = open(session)?;
        gc::prune(&store, &prune).map_err(failed)?
    };
    let shown = match flags.format {
        Format::Table => table(&pruned),
        Format::Json => {
            let items: Vec<_> = pruned.items.iter().map(json).collect();
            format!("{}\n", serde_json::json!({"Deleted": items, "SpaceReclaimed": pruned.size()}))
        }
    };
    Ok(answer(&shown)?)
}

/// Asks whoever sits at the terminal; nobody there means no.
fn ask(all: bool) -> Result<(), Failure> {
    let mut stdin = std::io::stdin().lock();
    if !stdin.is_terminal() {
        let message = "nothing is removed without being asked for, and there is no terminal to ask";
        let hint = Some("give `--force`".to_owned());
        return Err(Diagnostic::new(Blame::Input, message).hint(hint).into());
    }
    let what = match all {
        true => "everything that no named image is made of, with all build cache",
        false => "all images without a name, and all build cache that is no part of a named one",
    };
    say(&format!("WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] "));
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    match read.is_ok() && matches!(line.trim().to_lowercase().as_str(), "y" | "yes") {
        true => Ok(()),
        false => Err(Failure::Canceled),
    }
}

fn table(pruned: &Pruned) -> String {
    let (images, others): (Vec<&Item>, Vec<&Item>) =
        pruned.items.iter().partition(|item| item.kind == Kind::Image);
    let mut shown = String::new();
    if !images.is_empty() {
        shown += "Deleted Images:\n";
        images.iter().for_each(|item| shown += &format!("deleted: sha256:{}\n", item.id));
        shown.push('\n');
    }
    if !others.is_empty() {
        shown += "Deleted build cache objects:\n";
        others.iter().for_each(|item| shown += &format!("{}\n", item.id));
        shown.push('\n');
    }
    shown + &format!("Total reclaimed space: {}\n", text::bytes(pruned.size()))
}
