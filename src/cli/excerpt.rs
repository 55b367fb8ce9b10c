//! Draws the place of a problem: file, line and column, the lines themselves, carets beneath.
//!
//! One line is marked with carets, several with a bracket at the left. Long lines are cut so that the carets stay in
//! sight; tabs, wide characters and control characters keep carets and text aligned. The text is the user's original,
//! CRLF and all; offsets that lie outside it or inside a character are moved to the nearest place that exists.

use kiln::diagnostic::Place;

use super::environment::Terminal;
use super::paint::{Paint, Role};
use super::text;

/// More lines than this are drawn as the first and the last few.
const MOST_LINES: usize = 8;
const HEAD: usize = 4;
const TAIL: usize = 2;
const TAB: usize = 4;

/// Draws `place`, every line with its line end.
pub(crate) fn draw(place: &Place, terminal: &Terminal) -> String {
    let paint = Paint::of(terminal);
    let marked = Marked::of(place);
    let gutter = Gutter { digits: marked.last_number().to_string().len(), paint };
    let room = terminal.width.saturating_sub(gutter.digits + 3).max(20);
    let file = text::single_line(&place.file);
    let arrow = paint.role(Role::Frame, "-->");
    let column = marked.column;
    let indent = " ".repeat(gutter.digits);
    let mut drawn = format!("{indent}{arrow} {file}:{}:{column}\n", marked.number);
    drawn += &gutter.line(None, "");
    drawn += &match marked.lines.as_slice() {
        [only] => single(only, &marked, room, gutter),
        several => bracket(several, &marked, room, gutter),
    };
    drawn
}

/// The lines that a place touches.
struct Marked<'a> {
    number: usize,
    column: usize,
    lines: Vec<&'a str>,
    /// Bytes of the first line before the mark, and of the last line up to its end.
    start: usize,
    end: usize,
}

impl<'a> Marked<'a> {
    fn of(place: &'a Place) -> Self {
        let source = place.text.as_str();
        let start = source.floor_char_boundary(place.start.min(source.len()));
        let end = source.floor_char_boundary(place.end.clamp(start, source.len()));
        let end = start + source[start..end].trim_end_matches(['\n', '\r']).len();
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[end..].find('\n').map_or(source.len(), |at| end + at);
        let last_start = source[..end].rfind('\n').map_or(0, |at| at + 1).max(line_start);
        Self {
            number: 1 + source[..line_start].matches('\n').count(),
            column: 1 + source[line_start..start].trim_start_matches(BOM).chars().count(),
            lines: source[line_start..line_end]
                .split('\n')
                .map(|line| line.strip_suffix('\r').unwrap_or(line))
                .collect(),
            start: start - line_start,
            end: end - last_start,
        }
    }

    fn last_number(&self) -> usize {
        self.number + self.lines.len() - 1
    }
}

const BOM: char = '\u{feff}';

#[derive(Clone, Copy)]
struct Gutter {
    digits: usize,
    paint: Paint,
}

impl Gutter {
    fn line(self, number: Option<usize>, body: &str) -> String {
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        let frame = self.paint.role(Role::Frame, &format!("{number:>0$} |", self.digits));
        let space = if body.is_empty() { "" } else { " " };
        format!("{frame}{space}{body}\n")
    }

    fn dots(self) -> String {
        format!("{}\n", self.paint.role(Role::Frame, &format!("{:.>1$}", "", self.digits + 2)))
    }
}

fn single(line: &str, marked: &Marked<'_>, room: usize, gutter: Gutter) -> String {
    let cells = cells(line);
    let column_at = |byte: usize| {
        cells
            .iter()
            .find(|cell| cell.byte >= byte)
            .map_or_else(|| total(&cells), |cell| cell.column)
    };
    let (from, to) = (column_at(marked.start), column_at(marked.end));
    let to = to.max(from + 1);
    let window = Window::around(from, to, total(&cells), room);
    let carets = to.min(window.end.max(from + 1)) - from;
    let mark = gutter.paint.role(Role::Error, &"^".repeat(carets));
    let under = format!("{}{mark}", " ".repeat(from - window.start));
    gutter.line(Some(marked.number), &window.cut(&cells)) + &gutter.line(None, &under)
}

fn bracket(lines: &[&str], marked: &Marked<'_>, room: usize, gutter: Gutter) -> String {
    let skipped = if lines.len() > MOST_LINES { HEAD..lines.len() - TAIL } else { 0..0 };
    let mut drawn = String::new();
    for (index, line) in lines.iter().enumerate() {
        if skipped.contains(&index) {
            if index == skipped.start {
                drawn += &gutter.dots();
            }
            continue;
        }
        let cells = cells(line);
        let shown =
            Window { start: 0, end: total(&cells).min(room - 2), more: total(&cells) > room - 2 };
        let edge = gutter.paint.role(Role::Error, if index == 0 { "/" } else { "|" });
        let body = format!("{edge} {}", shown.cut(&cells));
        drawn += &gutter.line(Some(marked.number + index), body.trim_end());
    }
    drawn + &gutter.line(None, &gutter.paint.role(Role::Error, "|_^"))
}

/// A character as it is shown.
struct Cell {
    byte: usize,
    column: usize,
    width: usize,
    shown: char,
}

fn cells(line: &str) -> Vec<Cell> {
    let (mut cells, mut column) = (Vec::new(), 0);
    for (byte, c) in line.char_indices().filter(|(_, c)| *c != BOM) {
        if c == '\t' {
            for _ in 0..TAB - column % TAB {
                cells.push(Cell { byte, column, width: 1, shown: ' ' });
                column += 1;
            }
            continue;
        }
        let shown = text::visible(c);
        let width = text::char_width(shown);
        cells.push(Cell { byte, column, width, shown });
        column += width;
    }
    cells
}

fn total(cells: &[Cell]) -> usize {
    cells.last().map_or(0, |cell| cell.column + cell.width)
}

/// The columns of a line that are shown.
struct Window {
    start: usize,
    end: usize,
    more: bool,
}

impl Window {
    fn around(from: usize, to: usize, total: usize, room: usize) -> Self {
        if total.max(to) <= room {
            return Self { start: 0, end: total, more: false };
        }
        let fits_from_start = to < room || from < room / 2;
        let start = if fits_from_start { 0 } else { from - room / 3 };
        Self { start, end: total.min(start + room), more: total > start + room }
    }

    fn cut(&self, cells: &[Cell]) -> String {
        let before = usize::from(self.start > 0);
        let after = usize::from(self.more);
        let (start, end) = (self.start + before, self.end - after);
        let mut shown = "…".repeat(before);
        let mut column = start;
        for cell in cells.iter().filter(|c| c.column >= start && c.column + c.width <= end) {
            // A wide character that the cut went through leaves a hole.
            shown.extend(std::iter::repeat_n(' ', cell.column.saturating_sub(column)));
            shown.push(cell.shown);
            column = cell.column + cell.width;
        }
        shown + &"…".repeat(after)
    }
}
