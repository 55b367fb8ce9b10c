//! The layers as text: a line each, totals, and the paths that waste most.

use kiln::images::{Amount, Layering, Offender};

use super::{copiers, counted, created_by, offender_path, only, percent, reasons, stored};
use crate::cli::table::columns;
use crate::cli::text;

/// The last column gets so much in any case.
const NARROWEST: usize = 16;

/// Draws everything; `width` is how long a line may be.
pub(super) fn draw(
    layering: &Layering,
    offenders: &[Offender],
    top: usize,
    width: Option<usize>,
) -> String {
    let mut text = clipped(&columns(&rows(layering)), width);
    text.push('\n');
    text += &totals(layering);
    let wasting: Vec<_> = offenders.iter().take(top).collect();
    if !wasting.is_empty() {
        let mut rows = vec![["WASTED", "FILES", "PATH", "LAYERS"].map(str::to_owned)];
        rows.extend(wasting.into_iter().map(|it| {
            let Amount { count, bytes } = it.wasted;
            [text::bytes(bytes), count.to_string(), offender_path(it), reasons(it)]
        }));
        text.push('\n');
        text += &clipped(&columns(&rows), width);
        if offenders.len() > top {
            text += &format!("and {}\n", counted((offenders.len() - top) as u64, "more path"));
        }
    }
    text
}

fn rows(layering: &Layering) -> Vec<[String; 8]> {
    let names = ["LAYER", "SIZE", "FILES", "ADDED", "REPLACED", "REMOVED", "WASTED", "CREATED BY"];
    let mut rows = vec![names.map(str::to_owned)];
    let amount = |it: Amount| match it.count {
        0 => "-".to_owned(),
        count => format!("{count} ({})", text::bytes(it.bytes)),
    };
    for (index, layer) in layering.layers.iter().enumerate() {
        let content = &layer.content;
        rows.push([
            (index + 1).to_string(),
            text::bytes(layer.descriptor.size),
            text::bytes(content.bytes()),
            amount(content.added),
            amount(content.replaced),
            amount(content.removed),
            amount(content.wasted()),
            created_by(layering, index),
        ]);
    }
    rows
}

/// Cuts the lines, but not before the last column has begun.
fn clipped(lines: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return lines.to_owned() };
    let first = lines.lines().next().unwrap_or_default();
    let last_column = first.rfind("   ").map_or(0, |at| at + 3);
    let width = width.max(last_column + NARROWEST);
    lines.lines().map(|line| text::clip(line, width) + "\n").collect()
}

fn totals(layering: &Layering) -> String {
    let wasted = layering.wasted();
    let all = layering.bytes();
    let mut text = format!(
        "{}: {} stored, {} of files\n",
        counted(layering.layers.len() as u64, "layer"),
        text::bytes(stored(layering)),
        text::bytes(all)
    );
    text += &format!(
        "efficiency {}: the image has {} of these {}; {} in {} wasted\n",
        percent(layering.efficiency()),
        text::bytes(all - wasted.bytes),
        text::bytes(all),
        text::bytes(wasted.bytes),
        counted(wasted.count, "file")
    );
    for copier in copiers(layering) {
        text += &format!(
            "layer {} copies {} ({}) of lower layers: {}\n",
            copier.layer + 1,
            counted(copier.copied.count, "file"),
            text::bytes(copier.copied.bytes),
            only(&copier.aspects)
        );
    }
    text
}
