//! How a build is shown while it runs: picks a style, and passes events to it.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use kiln::event::{Event, Reporter};

use super::plain::Plain;
use super::rawjson::RawJson;
use super::tty::Tty;
use super::{Failure, warn};

/// A way to show progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Moving lines on a terminal.
    Tty,
    /// One line after the other.
    Plain,
    /// One JSON object a line, as `buildctl --progress=rawjson`.
    RawJson,
    /// Nothing.
    Quiet,
}

impl Style {
    /// Returns whether a summary at the end is wanted.
    pub(super) fn is_for_people(self) -> bool {
        matches!(self, Self::Tty | Self::Plain)
    }
}

/// Decides on a style: what was asked for, else what the terminal can do.
pub(super) fn style(asked: Option<&str>, quiet: bool) -> Result<Style, Failure> {
    let dumb =
        std::env::var("TERM").is_ok_and(|term| term == "dumb") || std::env::var_os("CI").is_some();
    let terminal = std::io::stderr().is_terminal() && !dumb;
    match (asked.unwrap_or("auto"), quiet) {
        ("auto" | "", true) | ("quiet" | "none", _) => Ok(Style::Quiet),
        (_, true) => Err(Failure::input(
            "`--quiet` and `--progress` contradict each other",
            "give one of the two",
        )),
        ("auto" | "", false) if terminal => Ok(Style::Tty),
        ("auto" | "" | "plain", false) => Ok(Style::Plain),
        ("tty", false) if std::io::stderr().is_terminal() => Ok(Style::Tty),
        ("tty", false) => {
            Err(Failure::input("`--progress tty` needs a terminal", "use `--progress plain`"))
        }
        ("rawjson", false) => Ok(Style::RawJson),
        (other, false) => Err(Failure::input(
            format!("unknown progress `{other}`"),
            "use auto, tty, plain, rawjson, quiet or none",
        )),
    }
}

enum View {
    Tty(Box<Tty>),
    Plain(Plain),
    RawJson(RawJson),
    Quiet,
}

/// Shows events as they come, from whichever thread.
pub(super) struct Display(Mutex<View>);

impl Display {
    pub(super) fn new(style: Style) -> Self {
        Self(Mutex::new(match style {
            Style::Tty => View::Tty(Box::new(Tty::new())),
            Style::Plain => View::Plain(Plain::default()),
            Style::RawJson => View::RawJson(RawJson::default()),
            Style::Quiet => View::Quiet,
        }))
    }

    /// Ends the display: what moves is removed, what was held back is shown.
    pub(super) fn finish(&self, _well: bool) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            View::Tty(tty) => tty.finish(),
            View::Plain(plain) => plain.finish().iter().for_each(|line| warn(line)),
            View::RawJson(_) | View::Quiet => {}
        }
    }
}

impl Reporter for Display {
    fn report(&self, event: Event) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            View::Tty(tty) => tty.event(event),
            View::Plain(plain) => plain.event(event).iter().for_each(|line| warn(line)),
            View::RawJson(json) => json.event(event).iter().for_each(|line| warn(line)),
            View::Quiet => {}
        }
    }
}

/// Removes what could move the cursor or change the terminal from a text that came from outside.
pub(super) fn harmless(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

/// Output of a step cut into lines: a carriage return starts its line again, as on a terminal.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Adds bytes; returns the lines that are complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let rest = self.0.split_off(end + 1);
            lines.push(line(&std::mem::replace(&mut self.0, rest)));
        }
        lines
    }

    /// Returns what is left without a line end.
    pub(super) fn rest(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.0);
        (!rest.is_empty()).then(|| line(&rest))
    }
}

fn line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\n', '\r']);
    text.rsplit('\r').next().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_into_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\r\nb 10%\rb 20%\nhalf"), ["a", "b 20%"]);
        assert_eq!(lines.push(b" done\n"), ["half done"]);
        assert_eq!(lines.rest(), None);
        lines.push(b"end");
        assert_eq!(lines.rest().as_deref(), Some("end"));
    }

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(harmless("a\x1b[2Jb\u{9b}c"), "a[2Jbc");
    }
}
