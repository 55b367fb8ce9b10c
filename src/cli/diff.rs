//! `kiln diff`: what another image changes, path by path and setting by setting.

use clap::{Args, ValueEnum};
use kiln::images::{Comparison, ConfigChange, Facts, FileChange, What};
use kiln::layer::{Aspect, Kind, TreePath};
use serde_json::{Value, json};

use super::layers::aspect;
use super::text::{self, single_line};
use super::{Done, Failure, Session, answer, enter_sandbox, library_at};

/// How wide the paths' column may make itself.
const WIDEST_PATH: usize = 60;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The first image
    a: String,
    /// The second image
    b: String,
    /// How the differences are shown
    #[arg(long, default_value = "table")]
    format: Format,
    /// List everything beneath a directory that is new or gone
    #[arg(long)]
    all: bool,
    /// Compare modification times too
    #[arg(long)]
    mtime: bool,
    /// Compare only files
    #[arg(long, conflicts_with = "config")]
    files: bool,
    /// Compare only configs
    #[arg(long)]
    config: bool,
    /// Show only how many differences there are
    #[arg(long)]
    summary: bool,
    /// Exit with 1 if there are differences
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line per difference.
    Table,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let state = session.state_root()?;
    enter_sandbox()?;
    let mut found = library_at(&state)?.compare(&flags.a, &flags.b, flags.all, flags.mtime)?;
    if flags.files {
        found.config.clear();
    }
    if flags.config {
        found.files.clear();
    }
    let shown = match (flags.format, flags.summary) {
        (Format::Table, false) => table(&found),
        (Format::Table, true) => summary(&found, flags),
        (Format::Json, is_summary) => text::json(&as_json(&found, is_summary)),
    };
    answer(&shown)?;
    match flags.exit_code && !found.is_empty() {
        true => Err(Failure::Code(1)),
        false => Ok(()),
    }
}

fn table(found: &Comparison) -> String {
    let mut shown = String::new();
    if !found.config.is_empty() {
        shown += "config:\n";
        found.config.iter().for_each(|change| shown += &setting(change));
    }
    if !found.config.is_empty() && !found.files.is_empty() {
        shown += "files:\n";
    }
    let paths: Vec<String> = found.files.iter().map(marked_path).collect();
    let widths = paths.iter().map(|path| text::width(path));
    let width = widths.filter(|width| *width <= WIDEST_PATH).max().unwrap_or(0);
    for (change, path) in found.files.iter().zip(paths) {
        let padding = " ".repeat(width.saturating_sub(text::width(&path)));
        shown += format!("{path}{padding}   {}", details(change)).trim_end();
        shown.push('\n');
    }
    shown
}

fn setting(change: &ConfigChange) -> String {
    let name = match &change.key {
        Some(key) => format!("{}.{key}", change.field),
        None => change.field.clone(),
    };
    let name = single_line(&name);
    // An entry that is either there or not has an empty object for a value.
    let shown = |value: &Value| match value {
        Value::Object(empty) if empty.is_empty() => String::new(),
        value => format!(" {}", single_line(&value.to_string())),
    };
    match (&change.old, &change.new) {
        (Some(old), Some(new)) => format!("C {name}{} ->{}\n", shown(old), shown(new)),
        (Some(old), None) => format!("D {name}{}\n", shown(old)),
        (None, new) => format!("A {name}{}\n", new.as_ref().map(shown).unwrap_or_default()),
    }
}

fn letter(change: &FileChange) -> char {
    match change.what {
        What::Added => 'A',
        What::Removed => 'D',
        What::Changed { .. } => 'C',
    }
}

fn marked_path(change: &FileChange) -> String {
    let facts = change.new.as_ref().or(change.old.as_ref());
    let is_directory = facts.is_some_and(|facts| facts.kind == Kind::Directory);
    let slash = if is_directory && change.path != TreePath::root() { "/" } else { "" };
    format!("{} {}{slash}", letter(change), text::path(&change.path))
}

fn details(change: &FileChange) -> String {
    let size = |facts: &Option<Facts>| facts.as_ref().map_or(0, |facts| facts.bytes);
    let (before, after) = (size(&change.old), size(&change.new));
    let mut words = Vec::new();
    if before != after {
        words.push(difference(after.cast_signed() - before.cast_signed()));
    }
    for below in change.old.iter().chain(&change.new).map(|facts| facts.below) {
        match below {
            0 => {}
            1 => words.push("1 path beneath".to_owned()),
            below => words.push(format!("{below} paths beneath")),
        }
    }
    if let (What::Changed { aspects, links }, Some(old), Some(new)) =
        (&change.what, &change.old, &change.new)
    {
        words.extend(aspects.iter().map(|it| described(*it, old, new)));
        words.extend(links.then(|| "links".to_owned()));
    }
    words.join(", ")
}

fn described(it: Aspect, old: &Facts, new: &Facts) -> String {
    let name = aspect(it);
    match it {
        Aspect::Mode => format!("{name} {:04o} -> {:04o}", old.meta.mode, new.meta.mode),
        Aspect::Owner => {
            let of = |facts: &Facts| format!("{}:{}", facts.meta.uid, facts.meta.gid);
            format!("{name} {} -> {}", of(old), of(new))
        }
        Aspect::Type => format!("{name} {} -> {}", kind(&old.kind), kind(&new.kind)),
        Aspect::Target => {
            let of = |facts: &Facts| match &facts.kind {
                Kind::Symlink { target } => text::escaped(target),
                _ => String::new(),
            };
            format!("{name} {} -> {}", of(old), of(new))
        }
        Aspect::Content | Aspect::Device | Aspect::Xattrs | Aspect::Mtime => name.to_owned(),
    }
}

/// A number of bytes with its sign.
fn difference(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", text::bytes(bytes.unsigned_abs()))
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File { .. } | Kind::Hardlink { .. } => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::CharDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Fifo => "pipe",
    }
}

fn count(found: &Comparison, mark: char) -> usize {
    found.files.iter().filter(|change| letter(change) == mark).count()
}

fn summary(found: &Comparison, flags: &Flags) -> String {
    let mut shown = String::new();
    if !flags.files {
        shown += &format!("config: {} changed\n", found.config.len());
    }
    if !flags.config {
        let [added, removed, changed] = ['A', 'D', 'C'].map(|mark| count(found, mark));
        let growth = difference(found.growth);
        shown += &format!("files: {added} added, {removed} removed, {changed} changed, {growth}\n");
    }
    shown
}

fn as_json(found: &Comparison, is_summary: bool) -> Value {
    let mut value = json!({
        "Summary": {
            "Config": found.config.len(),
            "Added": count(found, 'A'),
            "Removed": count(found, 'D'),
            "Changed": count(found, 'C'),
            "Bytes": found.growth,
        },
    });
    if !is_summary {
        let setting = |change: &ConfigChange| json!({ "Field": change.field, "Key": change.key, "Old": change.old, "New": change.new });
        value["Config"] = found.config.iter().map(setting).collect();
        value["Files"] = found.files.iter().map(file_json).collect();
    }
    value
}

fn file_json(change: &FileChange) -> Value {
    let mut value = json!({ "Change": letter(change).to_string() });
    text::put_path(&mut value, &change.path);
    if let What::Changed { aspects, links } = &change.what {
        let names = aspects.iter().map(|it| aspect(*it)).chain(links.then_some("links"));
        value["Aspects"] = names.collect();
    }
    let facts = |facts: &Facts| {
        let Facts { kind: what, meta, below, bytes } = facts;
        let mtime = meta.mtime.seconds;
        let mut value = json!({
            "Type": kind(what),
            "Mode": format!("{:04o}", meta.mode),
            "Uid": meta.uid,
            "Gid": meta.gid,
            "Mtime": mtime,
            "Size": bytes,
        });
        if *below > 0 {
            value["Beneath"] = (*below).into();
        }
        if let Kind::Symlink { target } = what {
            value["Target"] = String::from_utf8_lossy(target).into();
        }
        value
    };
    value["Old"] = change.old.as_ref().map(facts).into();
    value["New"] = change.new.as_ref().map(facts).into();
    value
}
