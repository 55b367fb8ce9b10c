//! `kiln du`: what the store takes on the disk.

use clap::{Args, ValueEnum};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::gc::{self, GcError, Item};
use kiln::store::Store;

use super::table::{ago, columns};
use super::{Done, Session, answer, enter_sandbox, filter, text};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Show whole ids, and what people call each thing
    #[arg(short, long)]
    verbose: bool,
    /// Show only what was last used before: `until=24h`, `until=2006-01-02`; or is of a type: `type=step`
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// How it is shown
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    /// JSON, with sizes in bytes.
    Json,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let filter = filter::filter(&flags.filter)?;
    let items = {
        let store = open(session)?;
        gc::usage(&store, &filter).map_err(failed)?
    };
    let shown = match flags.format {
        Format::Table => table(&items, flags.verbose),
        Format::Json => items.iter().map(|item| format!("{}\n", json(item))).collect(),
    };
    Ok(answer(&shown)?)
}

/// Opens the store as builds do: as root of a user namespace, whose ids the files of steps may have.
pub(super) fn open(session: &Session) -> Result<Store, Diagnostic> {
    let root = session.state_root()?;
    enter_sandbox()?;
    Store::open(&root).map_err(|error| failed(error.into()))
}

pub(super) fn failed(error: GcError) -> Diagnostic {
    Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(&error)
}

/// One thing, as both commands write it.
pub(super) fn json(item: &Item) -> serde_json::Value {
    serde_json::json!({
        "ID": item.id,
        "Kind": item.kind.name(),
        "Size": item.size,
        "LastUsedAt": used(item).map(|time| time.to_string()),
        "Reclaimable": item.reclaimable,
        "Description": item.description,
    })
}

fn used(item: &Item) -> Option<jiff::Timestamp> {
    jiff::Timestamp::try_from(item.used?).ok()
}

fn table(items: &[Item], verbose: bool) -> String {
    const LONGEST: usize = 60;
    let heads = ["ID", "KIND", "SIZE", "LAST USED", "RECLAIMABLE", "DESCRIPTION"];
    let mut rows = vec![heads.map(str::to_owned)];
    for item in items {
        rows.push([
            if verbose { item.id.clone() } else { item.id.chars().take(12).collect() },
            item.kind.name().to_owned(),
            text::bytes(item.size),
            used(item).map_or_else(|| "-".to_owned(), ago),
            item.reclaimable.to_string(),
            text::clip(&text::single_line(&item.description), LONGEST),
        ]);
    }
    let listed = match verbose {
        true => columns(&rows),
        false => {
            let short =
                rows.into_iter().map(|[id, kind, size, used, can, _]| [id, kind, size, used, can]);
            columns(&short.collect::<Vec<_>>())
        }
    };
    let reclaimable = items.iter().filter(|item| item.reclaimable).map(|item| item.size).sum();
    let total = items.iter().map(|item| item.size).sum();
    let sums = columns(&[
        ["Reclaimable:".to_owned(), text::bytes(reclaimable)],
        ["Total:".to_owned(), text::bytes(total)],
    ]);
    format!("{listed}\n{sums}")
}
