//! One compiled pattern.
//!
//! Nearly all patterns that people write are a text, a text with `**` at one end, or one with a single `*`: those are
//! compared as bytes. All others run as a [`Program`].

use super::IgnoreError;
use super::program::Program;

/// A pattern in the form in which it is matched.
///
/// ```text
/// pattern ::= ("*" | "?" | class | "\" [#x21-#x2E#x3A-#x40#x5B-#x60#x7B-#x7E]
///             | [^*?\#x5B#x9-#xD#x20#x85#xA0#x1680#x2000-#x200A#x2028#x2029#x202F#x205F#x3000])+
/// ```
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    /// `a/b`
    Exact,
    /// `a/**`, with the text before the stars.
    Prefix(String),
    /// `**/a`, with the text after the stars.
    Suffix(String),
    /// `a*b`, and `**/a*b` if it may stand at any depth.
    Star { any_depth: bool, before: String, after: String },
    /// Anything else.
    Program(Box<Program>),
    /// Something that the reference accepts when it reads it and rejects when it uses it.
    Malformed,
}

impl Pattern {
    /// Compiles a cleaned pattern without its `!`.
    pub(super) fn compile(text: &str) -> Self {
        Self { text: text.to_owned(), shape: shape(text) }
    }

    /// Returns it as it was compiled.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Says whether it matches a whole path.
    pub(super) fn matches(&self, path: &[u8]) -> Result<bool, IgnoreError> {
        Ok(match &self.shape {
            Shape::Exact => path == self.text.as_bytes(),
            Shape::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            Shape::Suffix(suffix) => {
                path.ends_with(suffix.as_bytes())
                    || suffix.strip_prefix('/').is_some_and(|rest| path == rest.as_bytes())
            }
            Shape::Star { any_depth, before, after } => star(*any_depth, before, after, path),
            Shape::Program(program) => program.matches(path),
            Shape::Malformed => return Err(IgnoreError::Malformed(self.text.clone())),
        })
    }

    /// Says whether it matches a path or one of its parents.
    pub(super) fn matches_or_parent(&self, path: &[u8]) -> Result<bool, IgnoreError> {
        if self.matches(path)? {
            return Ok(true);
        }
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        for (at, _) in slashes {
            if self.matches(&path[..at])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says whether it may match something below a directory; sure only when the answer is no.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        let below =
            |text: &[u8]| text.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
        match &self.shape {
            Shape::Exact => below(self.text.as_bytes()),
            Shape::Prefix(prefix) => {
                let prefix = prefix.as_bytes();
                let within = prefix.strip_suffix(b"/").unwrap_or(prefix);
                below(prefix) || directory.starts_with(prefix) || directory == within
            }
            Shape::Suffix(_) | Shape::Star { any_depth: true, .. } | Shape::Malformed => true,
            Shape::Star { any_depth: false, before, after } => {
                let depth = |text: &[u8]| text.iter().filter(|b| **b == b'/').count();
                let start = [directory, b"/"].concat();
                let common = start.len().min(before.len());
                start[..common] == before.as_bytes()[..common]
                    && depth(directory) < depth(before.as_bytes()) + depth(after.as_bytes())
            }
            Shape::Program(program) => program.may_go_on(&[directory, b"/"].concat()),
        }
    }
}

fn shape(text: &str) -> Shape {
    let special = |text: &str| text.contains(['*', '?', '[', ']', '\\']);
    match (text.strip_prefix("**"), text.strip_suffix("**")) {
        (None, None) if !special(text) => return Shape::Exact,
        (Some(suffix), _) if !special(suffix) => return Shape::Suffix(suffix.to_owned()),
        (_, Some(prefix)) if !special(prefix) => return Shape::Prefix(prefix.to_owned()),
        _ => {}
    }
    let (any_depth, name) = text.strip_prefix("**/").map_or((false, text), |name| (true, name));
    match name.split_once('*') {
        Some((before, after))
            if !(special(before)
                || special(after)
                || name.contains('^')
                || any_depth && name.contains('/')) =>
        {
            Shape::Star { any_depth, before: before.to_owned(), after: after.to_owned() }
        }
        _ => Program::compile(text)
            .map_or(Shape::Malformed, |program| Shape::Program(Box::new(program))),
    }
}

fn star(any_depth: bool, before: &str, after: &str, path: &[u8]) -> bool {
    let slash = if any_depth { path.iter().rposition(|b| *b == b'/') } else { None };
    let (directory, name) = path.split_at(slash.map_or(0, |at| at + 1));
    let middle =
        name.strip_prefix(before.as_bytes()).and_then(|rest| rest.strip_suffix(after.as_bytes()));
    // A line feed is the one character that `**` does not match.
    middle.is_some_and(|middle| !middle.contains(&b'/')) && !directory.contains(&b'\n')
}
