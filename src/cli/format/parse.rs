//! Reads a template: text, and between `{{` and `}}` what Go's `text/template` has, but for definitions of templates.
//!
//! `\t` and `\n` in the text and in raw quotes are a tab and a line end, as docker and podman take them from the command line. A
//! template nests at most [`DEEPEST`] levels, so that neither reading nor using it can exhaust the stack.

use super::ast::{Arm, Node, Pipeline, Result, TemplateError};
use super::functions;
use super::pipeline::Actions;

/// How deeply lists and parentheses may nest.
pub(super) const DEEPEST: usize = 100;

/// Reads a template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>> {
    let mut parser = Parser { actions: Actions::new(text), trims: false, ranges: 0, depth: 0 };
    match parser.list()? {
        (nodes, Stop::Eof) => Ok(nodes),
        (_, Stop::End { at }) => Err(TemplateError::new(&at, "`end` without anything to end")),
        (_, Stop::Else { at }) => Err(TemplateError::new(&at, "`else` without `if`")),
    }
}

struct Parser<'a> {
    actions: Actions<'a>,
    /// Whether the action before took away the space after it.
    trims: bool,
    /// How many `range` the place is in.
    ranges: usize,
    depth: usize,
}

/// What ended a list; after `else` its action is still open.
enum Stop {
    Eof,
    End { at: super::ast::Span },
    Else { at: super::ast::Span },
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

impl Parser<'_> {
    fn list(&mut self) -> Result<(Vec<Node>, Stop)> {
        let mut nodes = Vec::new();
        loop {
            let rest = self.actions.rest();
            let open = rest.find("{{");
            let mut text = unescaped(&rest[..open.unwrap_or(rest.len())]);
            if self.trims {
                text = text.trim_start_matches(SPACE).to_owned();
            }
            self.trims = false;
            let Some(open) = open else {
                self.actions.skip(rest.len());
                push_text(&mut nodes, text);
                return Ok((nodes, Stop::Eof));
            };
            let inside = &rest[open + 2..];
            let trims_before = inside.starts_with('-') && inside[1..].starts_with(SPACE);
            if trims_before {
                text = text.trim_end_matches(SPACE).to_owned();
            }
            push_text(&mut nodes, text);
            let begin = self.actions.at() + open;
            self.actions.skip(open + if trims_before { 3 } else { 2 });
            if self.comment(trims_before)? {
                continue;
            }
            if let Some(stop) = self.action(begin, &mut nodes)? {
                return Ok((nodes, stop));
            }
        }
    }

    /// Skips a comment, if the action is one.
    fn comment(&mut self, trims_before: bool) -> Result<bool> {
        // Go takes no space before it, but for the one that belongs to `{{-`.
        let rest = self.actions.rest();
        let body = rest.strip_prefix(SPACE).filter(|_| trims_before).unwrap_or(rest);
        if !body.starts_with("/*") {
            return Ok(false);
        }
        let begin = self.actions.at() + rest.len() - body.len();
        let open = || TemplateError::new(&(begin..begin + 2), "the comment is not closed");
        let end = body[2..].find("*/").ok_or_else(open)?;
        self.actions.skip(rest.len() - body.len() + end + 4);
        self.close()?;
        Ok(true)
    }

    fn action(&mut self, begin: usize, nodes: &mut Vec<Node>) -> Result<Option<Stop>> {
        self.actions.spaces();
        let at = self.actions.at();
        let word = self.actions.peek_word().to_owned();
        let span = at..at + word.len();
        if is_operand(&word) {
            let pipeline = self.actions.pipeline(1)?;
            self.close()?;
            nodes.push(Node::Print(pipeline));
            return Ok(None);
        }
        self.actions.skip(word.len());
        match word.as_str() {
            "end" => {
                self.close()?;
                return Ok(Some(Stop::End { at: span }));
            }
            "else" => return Ok(Some(Stop::Else { at: span })),
            "if" | "with" => nodes.push(self.choice(word == "with", begin)?),
            "range" => nodes.push(self.range(begin)?),
            "break" | "continue" if self.ranges == 0 => {
                return Err(TemplateError::new(&span, format!("`{word}` outside of `range`")));
            }
            "break" | "continue" => {
                self.close()?;
                nodes.push(if word == "break" { Node::Break } else { Node::Continue });
            }
            "define" | "template" | "block" => {
                let message = format!("`{word}`: a format has no other templates to name");
                return Err(TemplateError::new(&span, message));
            }
            _ => return Err(functions::unknown(&word, &span)),
        }
        Ok(None)
    }

    fn choice(&mut self, sets_dot: bool, begin: usize) -> Result<Node> {
        let scope = self.actions.scope();
        let (mut arms, mut sets_dot) = (Vec::new(), sets_dot);
        let otherwise = loop {
            let condition = self.head(1)?;
            let (body, stop) = self.nested(begin)?;
            arms.push(Arm { condition, body, sets_dot });
            match stop {
                Stop::Else { .. } => match self.actions.else_word() {
                    Some(word) => sets_dot = word == "with",
                    None => break self.last_list(begin)?,
                },
                Stop::End { .. } | Stop::Eof => break Vec::new(),
            }
        };
        self.actions.leave(scope);
        Ok(Node::Choice { arms, otherwise })
    }

    fn range(&mut self, begin: usize) -> Result<Node> {
        let scope = self.actions.scope();
        let over = self.head(2)?;
        self.ranges += 1;
        let (body, stop) = self.nested(begin)?;
        self.ranges -= 1;
        let otherwise = match stop {
            Stop::Else { .. } => self.last_list(begin)?,
            Stop::End { .. } | Stop::Eof => Vec::new(),
        };
        self.actions.leave(scope);
        Ok(Node::Range { over, body, otherwise })
    }

    /// Reads the pipeline of a control action.
    fn head(&mut self, variables: usize) -> Result<Pipeline> {
        let pipeline = self.actions.pipeline(variables)?;
        self.close()?;
        Ok(pipeline)
    }

    fn last_list(&mut self, begin: usize) -> Result<Vec<Node>> {
        self.close()?;
        match self.nested(begin)? {
            (_, Stop::Else { at }) => Err(TemplateError::new(&at, "`else` after `else`")),
            (nodes, Stop::End { .. } | Stop::Eof) => Ok(nodes),
        }
    }

    /// Reads a list up to its `end` or `else`.
    fn nested(&mut self, begin: usize) -> Result<(Vec<Node>, Stop)> {
        let span = begin..begin + 2;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(TemplateError::new(&span, "the template nests too deeply"));
        }
        let scope = self.actions.scope();
        let (nodes, stop) = self.list()?;
        self.actions.leave(scope);
        self.depth -= 1;
        match stop {
            Stop::Eof => Err(TemplateError::new(&span, "this is not ended: `{{end}}` is missing")),
            stop => Ok((nodes, stop)),
        }
    }

    fn close(&mut self) -> Result<()> {
        self.trims = self.actions.close()?;
        Ok(())
    }
}

/// Returns whether an action that begins with these letters and digits prints something.
fn is_operand(word: &str) -> bool {
    let is_number = word.starts_with(|c: char| c.is_ascii_digit());
    word.is_empty()
        || is_number
        || matches!(word, "true" | "false" | "nil")
        || functions::exists(word)
}

fn push_text(nodes: &mut Vec<Node>, text: String) {
    if !text.is_empty() {
        nodes.push(Node::Text(text));
    }
}

/// Makes tabs and line ends of `\t` and `\n`.
pub(super) fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}
