//! Turns diagnostics into text for people and into an exit code.
//!
//! Everything that was not kiln's own word (names, causes, what a command wrote) is made safe for a terminal here.
//! Nothing is written: the caller does that.

use kiln::diagnostic::{Blame, Diagnostic};

use super::environment::Terminal;
use super::paint::{Paint, Role};
use super::{excerpt, text};

/// Whether the last lines of a failed command are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandOutput {
    /// They are part of the report.
    Show,
    /// The progress display has just shown the whole log.
    AlreadyShown,
}

/// Exit code of a build that was interrupted.
pub(crate) const CANCELED: u8 = 130;

/// Where bugs are reported.
const REPORT_BUG: &str = "this is a bug in kiln: please report it with the command line and the \
                          Dockerfile that led to it";

/// Returns the exit code for these problems: the first decides, except that a bug in kiln is never hidden.
pub(crate) fn exit_code(diagnostics: &[Diagnostic]) -> u8 {
    let blamed = |blame| diagnostics.iter().any(|diagnostic| diagnostic.blame == blame);
    if blamed(Blame::Kiln) || diagnostics.is_empty() {
        return code(Blame::Kiln);
    }
    code(diagnostics[0].blame)
}

fn code(blame: Blame) -> u8 {
    match blame {
        Blame::Step => 1,
        Blame::Input => 2,
        Blame::Machine => 3,
        Blame::Kiln => 70,
    }
}

/// Draws all of them, one after the other.
pub(crate) fn draw(
    diagnostics: &[Diagnostic],
    terminal: &Terminal,
    output: CommandOutput,
) -> String {
    let drawn: Vec<_> = diagnostics.iter().map(|one| draw_one(one, terminal, output)).collect();
    drawn.join("\n")
}

fn draw_one(diagnostic: &Diagnostic, terminal: &Terminal, output: CommandOutput) -> String {
    let paint = Paint::of(terminal);
    let label = paint.role(Role::Error, "error:");
    let mut drawn = format!("{label} {}\n", indented(&text::lines(&diagnostic.message), 2));
    if let Some(place) = &diagnostic.place {
        drawn += &excerpt::draw(place, terminal);
    }
    for cause in &diagnostic.causes {
        drawn += &format!("  caused by: {}\n", indented(&text::lines(cause), 4));
    }
    if output == CommandOutput::Show && !diagnostic.output.is_empty() {
        drawn += &last_lines(&diagnostic.output, terminal);
    }
    let bug = (diagnostic.blame == Blame::Kiln).then_some(REPORT_BUG);
    for hint in diagnostic.hint.as_deref().into_iter().chain(bug) {
        let label = paint.role(Role::Hint, "hint:");
        drawn += &format!("  {label} {}\n", indented(&text::lines(hint), 8));
    }
    drawn
}

fn last_lines(lines: &[String], terminal: &Terminal) -> String {
    let mut drawn = "  its last output:\n".to_owned();
    for line in lines {
        let line = text::output_line(line.as_bytes(), terminal.colours);
        drawn += format!("    {line}").trim_end();
        drawn.push('\n');
    }
    drawn
}

fn indented(text: &str, columns: usize) -> String {
    text.replace('\n', &format!("\n{}", " ".repeat(columns)))
}

/// Draws a warning as one line.
pub(crate) fn warning(message: &str, terminal: &Terminal) -> String {
    let label = Paint::of(terminal).role(Role::Warning, "warning:");
    format!("{label} {}\n", text::single_line(message))
}

#[cfg(test)]
mod tests;
