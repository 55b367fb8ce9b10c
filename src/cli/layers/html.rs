//! The layers as a page for a browser: one file that needs nothing else, neither a network nor scripts.
//!
//! Everything that comes from the image goes through [`escape`]. Should that ever fail, the page's own policy lets a
//! browser run no script and fetch nothing.

use kiln::images::{Amount, Layering, Offender};

use super::folder::Folder;
use super::{copiers, counted, created_by, drawing, offender_path, only, percent, reasons, stored};
use crate::cli::text;

const STYLE: &str = include_str!("style.css");

/// How many entries of a directory are listed, and how deep.
const LISTED: usize = 15;
const DEEPEST: usize = 8;

/// Makes text harmless in HTML, in elements as in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Draws the page.
pub(super) fn draw(name: &str, layering: &Layering, offenders: &[Offender], top: usize) -> String {
    let files = layering.layers.iter().map(|layer| Folder::of(&layer.content.files));
    let folders: Vec<Folder<'_>> = files.collect();
    let name = escape(&text::single_line(name));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Layers of {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Layers of <code>{name}</code></h1>\n<p class=\"id\">{}</p>\n",
        layering.image.manifest.config.digest
    );
    page += &facts(layering);
    page += &layers(layering);
    page += "<h2>Where the bytes are</h2>\n<p class=\"key\"><span class=\"swatch\"></span> striped: \
             wasted, because a later layer replaces or removes it. Point at a part to see what it is.</p>\n";
    page += &format!("<div class=\"wide\">\n{}</div>\n", drawing::draw(layering, &folders));
    page += &offending(offenders, top);
    page += &listing(layering, &folders);
    page + "</body>\n</html>\n"
}

fn facts(layering: &Layering) -> String {
    let (bytes, wasted) = (layering.bytes(), layering.wasted());
    let facts = [
        ("layers", layering.layers.len().to_string()),
        ("stored", text::bytes(stored(layering))),
        ("files of all layers", text::bytes(bytes)),
        ("files of the image", text::bytes(bytes - wasted.bytes)),
        ("wasted", format!("{} in {}", text::bytes(wasted.bytes), counted(wasted.count, "file"))),
        ("efficiency", percent(layering.efficiency())),
    ];
    let fact = |(name, value): (&str, String)| format!("<div><dt>{name}<dd>{value}</div>");
    let mut text = format!("<dl>{}</dl>\n", facts.map(fact).concat());
    for copier in copiers(layering) {
        text += &format!(
            "<p class=\"note\">Layer {} copies {} ({}) of lower layers: {}.</p>\n",
            copier.layer + 1,
            counted(copier.copied.count, "file"),
            text::bytes(copier.copied.bytes),
            only(&copier.aspects)
        );
    }
    text
}

fn layers(layering: &Layering) -> String {
    let largest = layering.layers.iter().map(|layer| layer.content.bytes()).max().unwrap_or(0);
    let amount = |it: Amount| match it.count {
        0 => "<td class=\"n none\">–".to_owned(),
        count => format!("<td class=\"n\">{}<br><small>{count}</small>", text::bytes(it.bytes)),
    };
    let mut table = String::from(
        "<div class=\"wide\"><table class=\"layers\">\n<thead><tr><th>Layer<th class=\"bar\">Files\
         <th class=\"n\">Stored<th class=\"n\">Added<th class=\"n\">Replaced<th class=\"n\">Removed\
         <th class=\"n\">Wasted<th>Created by</thead>\n<tbody>\n",
    );
    for (index, layer) in layering.layers.iter().enumerate() {
        let (content, wasted) = (&layer.content, layer.content.wasted());
        table += &format!(
            "<tr><td class=\"n\">{}<td class=\"bar\">{}<td class=\"n\">{}{}{}{}{}<td><code>{}</code>\n",
            index + 1,
            bar(index, (content.bytes(), wasted.bytes), largest),
            text::bytes(layer.descriptor.size),
            amount(content.added),
            amount(content.replaced),
            amount(content.removed),
            amount(wasted),
            escape(&created_by(layering, index))
        );
    }
    table + "</tbody></table></div>\n"
}

/// A bar in proportion to the largest, with its wasted part.
fn bar(layer: usize, (bytes, wasted): (u64, u64), largest: u64) -> String {
    let share = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 };
    format!(
        "<span class=\"room\"><span class=\"part c{}\" style=\"width:{:.2}%\"><span class=\"lost\" style=\"width:{:.2}%\"></span></span></span> <span class=\"v\">{}</span>",
        layer % 8,
        share(bytes, largest),
        share(wasted, bytes),
        text::bytes(bytes)
    )
}

fn offending(offenders: &[Offender], top: usize) -> String {
    if offenders.is_empty() {
        return "<h2>What is wasted</h2>\n<p>Nothing.</p>\n".to_owned();
    }
    let mut table = String::from(
        "<h2>What is wasted</h2>\n<div class=\"wide\"><table>\n<thead><tr><th class=\"n\">Wasted\
         <th class=\"n\">Files<th>Path<th>Layers</thead>\n<tbody>\n",
    );
    for offender in offenders.iter().take(top) {
        table += &format!(
            "<tr><td class=\"n\">{}<td class=\"n\">{}<td><code>{}</code><td>{}\n",
            text::bytes(offender.wasted.bytes),
            offender.wasted.count,
            escape(&offender_path(offender)),
            escape(&reasons(offender))
        );
    }
    table += "</tbody></table></div>\n";
    if offenders.len() > top {
        let more = counted((offenders.len() - top) as u64, "more path");
        table += &format!("<p>and {more}</p>\n");
    }
    table
}

/// The directories of each layer, to be unfolded.
fn listing(layering: &Layering, folders: &[Folder<'_>]) -> String {
    let mut list = String::from("<h2>Directories</h2>\n");
    for (index, folder) in folders.iter().enumerate() {
        let title = format!("layer {} · {}", index + 1, created_by(layering, index));
        list += &folded(index, folder, &escape(&title), (folder.bytes, 0));
    }
    list
}

fn folded(layer: usize, folder: &Folder<'_>, name: &str, (of, depth): (u64, usize)) -> String {
    let bar = bar(layer, (folder.bytes, folder.wasted), of);
    if folder.children.is_empty() || depth > DEEPEST {
        let reason = folder.lost.map(drawing::reason).unwrap_or_default();
        let reason = if reason.is_empty() { reason } else { format!(" <small>{reason}</small>") };
        return format!("<div class=\"leaf\">{bar} <code>{name}</code>{reason}</div>\n");
    }
    let mut list = format!("<details><summary>{bar} <code>{name}</code></summary>\n");
    for child in folder.children.iter().take(LISTED) {
        let name = child.path.name().map(text::escaped).unwrap_or_default();
        let slash = if child.children.is_empty() { "" } else { "/" };
        let name = format!("{}{slash}", escape(&name));
        list += &folded(layer, child, &name, (folder.bytes, depth + 1));
    }
    if folder.children.len() > LISTED {
        let rest = &folder.children[LISTED..];
        let bytes: u64 = rest.iter().map(|child| child.bytes).sum();
        let more = counted(rest.len() as u64, "smaller one");
        list += &format!("<div class=\"leaf\">and {more}, {}</div>\n", text::bytes(bytes));
    }
    list + "</details>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(
            escape("<script>'a' & \"b\"</script>"),
            "&lt;script&gt;&#39;a&#39; &amp; &quot;b&quot;&lt;/script&gt;"
        );
    }
}
