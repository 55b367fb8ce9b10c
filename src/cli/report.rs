//! Errors for people: the place in their text, a caret, the causes, what to try; and the exit code.

use std::fmt::Write as _;

use kiln::diagnostic::{Blame, Diagnostic, Place};

use super::progress::harmless;
use super::warn;

/// Prints diagnostics; returns the exit code that they ask for.
pub(super) fn print(diagnostics: &[Diagnostic]) -> u8 {
    for diagnostic in diagnostics {
        warn(render(diagnostic).trim_end());
    }
    let codes = diagnostics.iter().map(|diagnostic| match diagnostic.blame {
        Blame::Step => 1,
        Blame::Input => 2,
        Blame::Machine => 3,
        Blame::Kiln => 70,
    });
    codes.max().unwrap_or(70)
}

/// Renders one diagnostic.
fn render(diagnostic: &Diagnostic) -> String {
    let mut text = format!("error: {}\n", printable(&diagnostic.message));
    if let Some(place) = &diagnostic.place {
        render_place(place, &mut text);
    }
    for cause in &diagnostic.causes {
        let _ = writeln!(text, "  caused by: {}", printable(cause));
    }
    if !diagnostic.output.is_empty() {
        text.push_str("  its last output:\n");
        for line in &diagnostic.output {
            let _ = writeln!(text, "    {}", harmless(line));
        }
    }
    if let Some(hint) = &diagnostic.hint {
        let _ = writeln!(text, "  hint: {}", printable(hint));
    }
    text
}

fn printable(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n  ")
}

/// How many lines of a long instruction are shown.
const MOST_LINES: usize = 8;

/// How much of a long line is shown.
const WIDTH: usize = 160;

fn render_place(place: &Place, out: &mut String) {
    let before = &place.text[..floor(&place.text, place.start)];
    let first = before.matches('\n').count();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[line_start..].chars().count() + 1;
    let end = floor(&place.text, place.end.max(place.start));
    let last =
        first + place.text[before.len()..end].trim_end_matches(['\n', '\r']).matches('\n').count();
    let lines: Vec<&str> = place.text.split('\n').collect();
    let width = (last + 1).to_string().len();
    let _ = writeln!(out, "{:width$}--> {}:{}:{column}", "", harmless(&place.file), first + 1);
    let _ = writeln!(out, "{:width$} |", "");
    for (index, line) in lines.iter().enumerate().take(last + 1).skip(first).take(MOST_LINES) {
        let line = line.trim_end_matches('\r').replace('\t', "    ");
        let shown: String = harmless(&line).chars().take(WIDTH).collect();
        let _ = writeln!(out, "{:>width$} | {shown}", index + 1);
    }
    if last - first >= MOST_LINES {
        let _ = writeln!(out, "{:width$} | ...", "");
    }
    if first == last {
        let line = lines.get(first).copied().unwrap_or_default();
        let carets = carets(line, before.len() - line_start, end - line_start);
        let _ = writeln!(out, "{:width$} | {carets}", "");
    }
}

/// A line of carets beneath bytes `start..end` of a line; tabs count as they are shown.
fn carets(line: &str, start: usize, end: usize) -> String {
    let cells = |text: &str| text.chars().map(|c| if c == '\t' { 4 } else { 1 }).sum::<usize>();
    let line = line.trim_end_matches('\r');
    let start = floor(line, start);
    let end = floor(line, end).max(start);
    let indent = cells(&line[..start]).min(WIDTH);
    let length = cells(&line[start..end]).clamp(1, WIDTH.saturating_sub(indent).max(1));
    format!("{}{}", " ".repeat(indent), "^".repeat(length))
}

/// The nearest character boundary at or before a byte.
fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, start: usize, end: usize) -> Diagnostic {
        let mut diagnostic = Diagnostic::new(Blame::Input, "unknown instruction `RNU`");
        let place = Place { file: "Dockerfile".into(), text: text.into(), start, end };
        diagnostic.place = Some(place);
        diagnostic
    }

    #[test]
    fn one_line_gets_a_caret() {
        let diagnostic = at("FROM a\n\tRNU make\n", 8, 11).hint(Some("did you mean `RUN`?".into()));
        let expected = "error: unknown instruction `RNU`\n --> Dockerfile:2:2\n  |\n2 |     RNU make\n  |     ^^^\n  hint: did you mean `RUN`?\n";
        assert_eq!(render(&diagnostic), expected);
    }

    #[test]
    fn several_lines_are_shown_without() {
        let text = "FROM a\nRUN x \\\n  y\n";
        let expected =
            "error: unknown instruction `RNU`\n --> Dockerfile:2:1\n  |\n2 | RUN x \\\n3 |   y\n";
        assert_eq!(render(&at(text, 7, text.len())), expected);
    }

    #[test]
    fn the_gravest_fault_gives_the_code() {
        assert_eq!(print(&[]), 70);
        let expected = render(&at("", 5, 9));
        assert!(expected.contains("--> Dockerfile:1:1"));
    }
}
