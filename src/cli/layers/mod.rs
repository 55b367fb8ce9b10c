//! `kiln layers`: what each layer of an image adds, and what it holds for nothing.

mod drawing;
mod folder;
mod html;
mod table;
mod treemap;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::{Amount, Layering, Loss, Offender};
use kiln::layer::Aspect;
use serde_json::{Value, json};

use super::text::{self, single_line};
use super::{Done, Session, answer, enter_sandbox, library_at};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// How the layers are shown
    #[arg(long, default_value = "table")]
    format: Format,
    /// Show commands in full
    #[arg(long)]
    no_trunc: bool,
    /// How many of the paths that waste most are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Draw the layers into a file for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line per layer.
    Table,
    /// One JSON object.
    Json,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let state = session.state_root()?;
    enter_sandbox()?;
    let layering = library_at(&state)?.layering(&flags.image)?;
    let offenders = layering.offenders();
    let shown = match flags.format {
        Format::Table => {
            let width = (!flags.no_trunc).then_some(session.terminal.width);
            table::draw(&layering, &offenders, flags.top, width)
        }
        Format::Json => text::json(&as_json(&layering, &offenders, flags.top)),
    };
    if let Some(path) = &flags.html {
        let page = html::draw(&flags.image, &layering, &offenders, flags.top);
        std::fs::write(path, page).map_err(|error| {
            let message = format!("cannot write `{}`: {error}", path.display());
            Diagnostic::new(Blame::Machine, message)
        })?;
    }
    Ok(answer(&shown)?)
}

/// What made a layer, as one line.
fn created_by(layering: &Layering, layer: usize) -> String {
    let history = layering.layers[layer].history.as_ref();
    let words = history.map(|entry| match entry.created_by.as_str() {
        "" => entry.comment.as_str(),
        words => words,
    });
    single_line(words.unwrap_or_default())
}

/// What an aspect is called.
pub(super) fn aspect(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Type => "type",
        Aspect::Content => "content",
        Aspect::Target => "target",
        Aspect::Device => "device",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Xattrs => "xattrs",
        Aspect::Mtime => "mtime",
    }
}

/// What the useless bytes of a path are due to.
fn reasons(offender: &Offender) -> String {
    let reason = |(of, by, how): &(usize, usize, Loss)| {
        let (of, by) = (of + 1, by + 1);
        match how {
            Loss::Removed => format!("{of} removed by {by}"),
            Loss::Replaced => format!("{of} replaced by {by}"),
            Loss::Rewritten(aspects) => format!("{of} copied by {by} ({})", only(aspects)),
        }
    };
    offender.layers.iter().map(reason).collect::<Vec<_>>().join(", ")
}

/// What differs although the bytes do not.
fn only(aspects: &[Aspect]) -> String {
    match aspects {
        [] => "same bytes and metadata".to_owned(),
        aspects => {
            let names: Vec<_> = aspects.iter().map(|it| aspect(*it)).collect();
            format!("same bytes, other {}", names.join(" and "))
        }
    }
}

fn offender_path(offender: &Offender) -> String {
    let slash = if offender.directory { "/" } else { "" };
    format!("{}{slash}", text::path(&offender.path))
}

/// Layers that only copy files of others because something besides their bytes differs.
struct Copier {
    layer: usize,
    copied: Amount,
    aspects: Vec<Aspect>,
}

fn copiers(layering: &Layering) -> Vec<Copier> {
    let mut found: Vec<Copier> = Vec::new();
    let files = layering.layers.iter().flat_map(|layer| &layer.content.files);
    for file in files.filter(|file| file.bytes > 0) {
        let Some(lost) = &file.lost else { continue };
        let Loss::Rewritten(aspects) = &lost.how else { continue };
        let at = found.iter().position(|copier| copier.layer == lost.by).unwrap_or_else(|| {
            let (copied, aspects) = (Amount::default(), Vec::new());
            found.push(Copier { layer: lost.by, copied, aspects });
            found.len() - 1
        });
        let copier = &mut found[at];
        copier.copied.count += 1;
        copier.copied.bytes += file.bytes;
        copier.aspects.extend(aspects);
        copier.aspects.sort_unstable();
        copier.aspects.dedup();
    }
    found.sort_by_key(|copier| copier.layer);
    found
}

/// A number of things, with the right ending.
fn counted(count: u64, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn percent(share: f64) -> String {
    // Rounded down: what wastes something is not said to be perfect.
    format!("{:.1}%", (share * 1000.0).floor() / 10.0)
}

fn as_json(layering: &Layering, offenders: &[Offender], top: usize) -> Value {
    let amount = |it: Amount| json!({ "Count": it.count, "Bytes": it.bytes });
    let layer = |(index, layer): (usize, &kiln::images::Layer)| {
        let content = &layer.content;
        json!({
            "Layer": index + 1,
            "Digest": layer.descriptor.digest.to_string(),
            "DiffID": layer.diff_id.to_string(),
            "MediaType": layer.descriptor.media_type.to_string(),
            "Size": layer.descriptor.size,
            "Files": content.bytes(),
            "Added": amount(content.added),
            "Replaced": amount(content.replaced),
            "Removed": amount(content.removed),
            "Wasted": amount(content.wasted()),
            "Rewritten": amount(content.rewritten()),
            "CreatedBy": layer.history.as_ref().map(|entry| &entry.created_by),
            "Comment": layer.history.as_ref().map(|entry| &entry.comment),
        })
    };
    let offender = |it: &Offender| {
        let mut value = json!({});
        text::put_path(&mut value, &it.path);
        value["Directory"] = it.directory.into();
        value["Wasted"] = amount(it.wasted);
        let involved = |(of, by, how): &(usize, usize, Loss)| {
            let (how, aspects) = match how {
                Loss::Removed => ("removed", None),
                Loss::Replaced => ("replaced", None),
                Loss::Rewritten(aspects) => ("rewritten", Some(aspects)),
            };
            let aspects = aspects.map(|it| it.iter().map(|it| aspect(*it)).collect::<Vec<_>>());
            json!({ "Layer": of + 1, "By": by + 1, "How": how, "Aspects": aspects })
        };
        value["Layers"] = it.layers.iter().map(involved).collect();
        value
    };
    json!({
        "Image": layering.image.manifest.config.digest.to_string(),
        "Size": stored(layering),
        "Files": layering.bytes(),
        "Wasted": amount(layering.wasted()),
        "Rewritten": amount(layering.rewritten()),
        "Efficiency": layering.efficiency(),
        "Layers": layering.layers.iter().enumerate().map(layer).collect::<Vec<_>>(),
        "Offenders": offenders.iter().take(top).map(offender).collect::<Vec<_>>(),
    })
}

/// The bytes of all layers as they are stored.
fn stored(layering: &Layering) -> u64 {
    layering.layers.iter().map(|layer| layer.descriptor.size).fold(0, u64::saturating_add)
}
