//! Parser directives: `# name=value` lines at the very top of the file.
//!
//! The first line that is not a known directive closes the section for good. Three readers share the rule: the one
//! inside the parser (honours an indented line and one after a byte order mark, as the reference does), [`all`]
//! (raw lines only) and those of [`syntax`] and [`check`] (skip a byte order mark and a `#!` line). A fourth,
//! [`in_comments`], finds a directive among the comments above an instruction.

use nom::bytes::complete::{tag, take_while};
use nom::character::complete::satisfy;
use nom::combinator::recognize;
use nom::sequence::preceded;
use nom::{IResult, Parser};

use super::ast::{Directive, Span, Syntax};

/// A directive that cannot be obeyed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveError {
    /// The same name twice.
    #[error("the parser directive `{0}` is given twice")]
    Duplicate(String),
    /// `# escape=` with something else than a backslash or a backtick.
    #[error("`{0}` cannot be the escape character")]
    Escape(String),
}

impl DirectiveError {
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Duplicate(_) => "remove one of the two lines".into(),
            Self::Escape(_) => "the escape character is `\\` or a backtick".into(),
        })
    }
}

const KNOWN: [&str; 3] = ["syntax", "escape", "check"];

/// Reads directives until the first line that is none.
#[derive(Debug, Default)]
pub(super) struct DirectiveReader {
    seen: Vec<String>,
    closed: bool,
}

impl DirectiveReader {
    /// Returns name and value if this line is a directive.
    pub(super) fn read(&mut self, line: &str) -> Result<Option<(String, String)>, DirectiveError> {
        if self.closed {
            return Ok(None);
        }
        match directive(line) {
            Some((name, value)) if KNOWN.contains(&name.as_str()) => {
                if self.seen.contains(&name) {
                    return Err(DirectiveError::Duplicate(name));
                }
                self.seen.push(name.clone());
                Ok(Some((name, value)))
            }
            Some(_) | None => {
                self.closed = true;
                Ok(None)
            }
        }
    }
}

/// ```text
/// directive ::= blank* "#" blank* ('syntax' | 'check') [#x9#xC#xD#x20]* "=" directive_value #xA
///             | blank* "#" blank* 'escape' [#x9#xC#xD#x20]* "="
///               [#x9#xC#xD#x20]* escape [#x9#xC#xD#x20]* #xA
/// ```
fn directive(line: &str) -> Option<(String, String)> {
    setting(line.strip_prefix('#')?)
}

fn setting(comment: &str) -> Option<(String, String)> {
    let comment = comment.trim_start();
    let (rest, name) = directive_name(comment).ok()?;
    let (rest, _) =
        preceded(take_while(blank), tag::<_, _, nom::error::Error<&str>>("=")).parse(rest).ok()?;
    Some((name.to_ascii_lowercase(), directive_value(rest)?.to_owned()))
}

/// A letter, then letters and digits.
fn directive_name(input: &str) -> IResult<&str, &str> {
    let first = satisfy(|c| c.is_ascii_alphabetic());
    recognize((first, take_while(|c: char| c.is_ascii_alphanumeric()))).parse(input)
}

/// `directive_value ::= [^#xA]* ([^#xA] - whitespace) [^#xA]*`
///
/// A value of blanks alone is the last of them: at least one character is needed.
fn directive_value(rest: &str) -> Option<&str> {
    let value = rest.trim_matches(blank);
    if value.is_empty() { rest.get(rest.len().checked_sub(1)?..) } else { Some(value) }
}

fn blank(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ')
}

/// Returns the value of the first comment that would be this directive if it stood at the top of the file.
///
/// `comments` are those of an instruction, without their `#`; `name` is in lower case.
pub fn in_comments(comments: &[String], name: &str) -> Option<String> {
    let mut settings = comments.iter().filter_map(|comment| setting(comment));
    settings.find(|(found, _)| found == name).map(|(_, value)| value)
}

/// Returns the directives that stand on raw lines.
pub(super) fn all(text: &[u8]) -> Vec<Directive> {
    scan(text, 0, 1)
}

/// Returns the frontend that the file asks for.
pub(super) fn syntax(text: &[u8]) -> Option<Syntax> {
    let found = first(text, "syntax")?;
    let reference = found.value.split(' ').next().unwrap_or_default().to_owned();
    Some(Syntax { reference, command_line: found.value, span: found.span })
}

/// Returns the options of lint.
pub(super) fn check(text: &[u8]) -> Option<Directive> {
    first(text, "check")
}

/// Returns a directive, looking behind a byte order mark and a `#!` line.
fn first(text: &[u8], name: &str) -> Option<Directive> {
    let mut start = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut line = 1;
    if text[start..].starts_with(b"#!") {
        start +=
            text[start..].iter().position(|b| *b == b'\n').map_or(text.len() - start, |at| at + 1);
        line = 2;
    }
    scan(text, start, line).into_iter().find(|directive| directive.name == name)
}

fn scan(text: &[u8], mut start: usize, mut line: u32) -> Vec<Directive> {
    let mut reader = DirectiveReader::default();
    let mut found = Vec::new();
    for raw in text[start..].split_inclusive(|b| *b == b'\n') {
        let content = raw.strip_suffix(b"\n").unwrap_or(raw);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let Ok(Some((name, value))) = reader.read(&String::from_utf8_lossy(content)) else { break };
        let end = start + content.len();
        let span = Span { first_line: line, last_line: line, start, end };
        found.push(Directive { name, value, span });
        start += raw.len();
        line += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{all, check, directive, in_comments, syntax};

    #[test]
    fn names_are_folded_and_values_are_trimmed() {
        assert_eq!(directive("# Escape = `  "), Some(("escape".into(), "`".into())));
        assert_eq!(directive("#escape=   "), Some(("escape".into(), " ".into())));
        assert_eq!(directive("# escape"), None);
        assert_eq!(directive("escape=`"), None);
    }

    #[test]
    fn the_first_other_line_closes_the_section() {
        assert_eq!(all(b"# syntax=a\n# hello\n# escape=`\n").len(), 1);
        assert_eq!(all(b"# unknown=a\n# escape=`\n").len(), 0);
    }

    #[test]
    fn syntax_is_found_below_a_shebang() {
        let found = syntax(b"#!/bin/kiln\n# syntax=foo/bar x y\n").unwrap();
        assert_eq!((found.reference.as_str(), found.span.first_line), ("foo/bar", 2));
        assert_eq!(found.command_line, "foo/bar x y");
    }

    #[test]
    fn check_is_found_behind_a_byte_order_mark() {
        let found = check(b"\xEF\xBB\xBF# escape=`\n# check=skip=A\nFROM a\n").unwrap();
        assert_eq!((found.value.as_str(), found.span.first_line), ("skip=A", 2));
        assert_eq!((found.span.start, found.span.end), (14, 28));
        assert_eq!(check(b" # check=skip=A\n"), None);
    }

    #[test]
    fn a_comment_may_be_a_directive() {
        let comments = ["why: x=y".to_owned(), "Check = skip=A ".to_owned(), "check=skip=B".into()];
        assert_eq!(in_comments(&comments, "check").as_deref(), Some("skip=A"));
        assert_eq!(in_comments(&comments, "escape"), None);
    }
}
