//! The layers as one picture: layers hold directories hold files, each as large as its bytes.
//!
//! SVG without scripts; what is too small to be seen is drawn as one with its neighbours.

use kiln::images::{Layering, Loss, Lost};

use super::folder::Folder;
use super::html::escape;
use super::treemap::{Rect, divide};
use super::{created_by, only};
use crate::cli::text;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 720.0;
/// The strip that holds a name, and how wide its letters are.
const STRIP: f64 = 15.0;
const LETTER: f64 = 6.3;
/// What has less area than this is not drawn by itself.
const SMALLEST: f64 = 14.0;

/// Draws an image's layers; `folders` are what is in them.
pub(super) fn draw(layering: &Layering, folders: &[Folder<'_>]) -> String {
    let mut order: Vec<usize> = (0..folders.len()).filter(|at| folders[*at].bytes > 0).collect();
    order.sort_by_key(|at| std::cmp::Reverse(folders[*at].bytes));
    let sizes: Vec<u64> = order.iter().map(|at| folders[*at].bytes).collect();
    let whole = Rect { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Bytes of layers, directories and files\">\n\
         <defs><pattern id=\"waste\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" \
         patternTransform=\"rotate(45)\"><rect width=\"2.5\" height=\"6\" class=\"stripe\"/></pattern></defs>\n"
    );
    for (at, room) in order.iter().zip(divide(&sizes, whole)) {
        let (folder, mut drawing) = (&folders[*at], Drawing { layer: *at, svg: String::new() });
        drawing.layer(folder, &created_by(layering, *at), room.inside(1.5, 1.5));
        svg += &format!("<g class=\"layer c{}\">\n{}</g>\n", at % 8, drawing.svg);
    }
    svg + "</svg>\n"
}

struct Drawing {
    layer: usize,
    svg: String,
}

impl Drawing {
    fn layer(&mut self, folder: &Folder<'_>, made_by: &str, room: Rect) {
        let name = format!("layer {}", self.layer + 1);
        let title = format!("{name}: {}\n{made_by}", amounts(folder));
        self.rect("frame", room, &title);
        let label = format!("{name} · {} · {made_by}", text::bytes(folder.bytes));
        self.inside(folder, &label, room, 1);
    }

    /// Draws what is in a directory, beneath its name if there is room for that.
    fn inside(&mut self, folder: &Folder<'_>, name: &str, room: Rect, depth: usize) {
        let has_strip = room.width > 50.0 && room.height > 2.5 * STRIP;
        if has_strip {
            self.label(name, room, "");
        }
        let room = room.inside(1.0, if has_strip { STRIP } else { 1.0 });
        let scale = room.width * room.height / folder.bytes as f64;
        let is_seen = |child: &&Folder<'_>| child.bytes as f64 * scale >= SMALLEST;
        let seen = folder.children.iter().take_while(is_seen).count();
        // One alone is as small as what would stand for it.
        let seen = if seen + 1 == folder.children.len() { seen + 1 } else { seen };
        let (seen, small) = folder.children.split_at(seen);
        let mut sizes: Vec<u64> = seen.iter().map(|child| child.bytes).collect();
        let rest = Folder {
            path: folder.path.clone(),
            bytes: small.iter().map(|child| child.bytes).sum(),
            wasted: small.iter().map(|child| child.wasted).sum(),
            files: small.iter().map(|child| child.files).sum(),
            ..Folder::default()
        };
        if rest.bytes > 0 {
            // In its place by size, or the last: what is small together may be large.
            sizes.push(rest.bytes);
        }
        let mut drawn: Vec<(&Folder<'_>, bool)> = seen.iter().map(|child| (child, false)).collect();
        drawn.extend((rest.bytes > 0).then_some((&rest, true)));
        drawn.sort_by_key(|(child, _)| std::cmp::Reverse(child.bytes));
        sizes.sort_unstable_by_key(|size| std::cmp::Reverse(*size));
        for ((child, is_rest), room) in drawn.into_iter().zip(divide(&sizes, room)) {
            self.child(child, is_rest, room, depth);
        }
    }

    fn child(&mut self, folder: &Folder<'_>, is_rest: bool, room: Rect, depth: usize) {
        let path = text::path(&folder.path);
        let is_directory = !folder.children.is_empty();
        let title = match (is_rest, folder.lost) {
            (true, _) => format!("smaller files in {path}: {}", amounts(folder)),
            (false, _) if is_directory => format!("{path}/: {}", amounts(folder)),
            (false, None) => format!("{path}: {}", text::bytes(folder.bytes)),
            (false, Some(lost)) => {
                format!("{path}: {}, wasted: {}", text::bytes(folder.bytes), reason(lost))
            }
        };
        let class = if is_directory { format!("d d{}", depth.min(4)) } else { "f".to_owned() };
        self.rect(&class, room, &title);
        let name = folder.path.name().map(text::escaped).unwrap_or_default();
        if is_directory && room.width > 6.0 && room.height > 6.0 {
            self.inside(folder, &format!("{name}/"), room, depth + 1);
            return;
        }
        if folder.wasted > 0 {
            let class = if folder.wasted == folder.bytes { "waste" } else { "waste some" };
            self.rect(class, room, "");
        }
        if !is_rest && room.width > 40.0 && room.height > STRIP {
            let class = if folder.wasted > 0 { " class=\"on\"" } else { "" };
            self.label(&name, room, class);
        }
    }

    fn rect(&mut self, class: &str, room: Rect, title: &str) {
        let Rect { x, y, width, height } = room;
        let title = match title {
            "" => String::new(),
            title => format!("<title>{}</title>", escape(title)),
        };
        self.svg += &format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">{title}</rect>\n"
        );
    }

    fn label(&mut self, name: &str, room: Rect, class: &str) {
        let columns = ((room.width - 8.0) / LETTER).max(1.0) as usize;
        self.svg += &format!(
            "<text{class} x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            room.x + 4.0,
            room.y + 11.5,
            escape(&text::clip(name, columns))
        );
    }
}

fn amounts(folder: &Folder<'_>) -> String {
    let mut words =
        format!("{} in {}", text::bytes(folder.bytes), super::counted(folder.files, "file"));
    if folder.wasted > 0 {
        words += &format!(", {} wasted", text::bytes(folder.wasted));
    }
    words
}

/// Why a file is wasted.
pub(super) fn reason(lost: &Lost) -> String {
    let by = lost.by + 1;
    match &lost.how {
        Loss::Removed => format!("removed by layer {by}"),
        Loss::Replaced => format!("replaced by layer {by}"),
        Loss::Rewritten(aspects) => format!("copied by layer {by} ({})", only(aspects)),
    }
}
