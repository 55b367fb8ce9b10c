//! The line reader: physical lines to logical ones.
//!
//! Handles the byte order mark, line ends, comments, directives, continuations, here-document bodies and the limit
//! on a line's length. It knows nothing of instructions; who asks for a here-document's body says which.
//!
//! A blank line inside a continued instruction only warns, and a comment there vanishes even if it ends in the
//! escape character. A line goes on only if the escape is its last character but blanks and is not itself preceded
//! by the escape character.

use super::ast::{Heredoc, Span, Warning};
use super::directive::{DirectiveError, DirectiveReader};
use super::error::{HeredocError, ParseError, ParseErrorKind};
use super::source::Line;

/// A longer physical line is an error, as it is for the reference.
const LONGEST_LINE: usize = 65535;

/// Reads a file line by line.
pub(super) struct Reader<'t> {
    text: &'t [u8],
    position: usize,
    line: u32,
    comments: Vec<String>,
    directives: DirectiveReader,
    /// The escape character that holds from here on.
    ///
    /// ```text
    /// escape ::= "\" | "`"
    /// ```
    pub(super) escape: char,
    /// What was tolerated so far.
    pub(super) warnings: Vec<Warning>,
}

/// A line of the file without its `\n`.
#[derive(Clone, Copy)]
struct Physical<'t> {
    bytes: &'t [u8],
    start: usize,
    next: usize,
    line: u32,
}

impl<'t> Physical<'t> {
    /// The content without trailing carriage returns.
    fn content(&self) -> &'t [u8] {
        let kept = self.bytes.iter().rposition(|b| *b != b'\r').map_or(0, |at| at + 1);
        &self.bytes[..kept]
    }

    fn span(&self) -> Span {
        let end = self.start + self.bytes.len();
        Span { first_line: self.line, last_line: self.line, start: self.start, end }
    }

    fn error(&self, kind: impl Into<ParseErrorKind>) -> ParseError {
        ParseError::new(kind, self.span(), self.span())
    }
}

impl<'t> Reader<'t> {
    /// Starts at the top of a file.
    pub(super) fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            position: 0,
            line: 0,
            comments: Vec::new(),
            directives: DirectiveReader::default(),
            escape: '\\',
            warnings: Vec::new(),
        }
    }

    /// The place just after what was read, for an error about the file as a whole.
    pub(super) fn here(&self) -> Span {
        let line = self.line.max(1);
        Span { first_line: line, last_line: line, start: self.position, end: self.position }
    }

    /// ```text
    /// logical_line ::= (([^#xA]* - ([^#xA]* escape)) continuation (comment | blank* #xA)*)*
    ///                  (([^#xA]* #xA) - (([^#xA]* - ([^#xA]* escape)) continuation))
    /// ```
    pub(super) fn logical_line(&mut self) -> Result<Option<Line>, ParseError> {
        while let Some(physical) = self.physical()? {
            let mut content = physical.content();
            let mut start = physical.start;
            if physical.line == 1
                && let Some(rest) = content.strip_prefix(b"\xEF\xBB\xBF")
            {
                content = rest;
                start += 3;
            }
            let trimmed = trim_start(content);
            start += content.len() - trimmed.len();
            self.note_comment(content, trimmed);
            self.obey_directive(trimmed).map_err(|error| physical.error(error))?;
            if trimmed.first() == Some(&b'#') {
                continue;
            }
            let (part, goes_on) = self.continuation(trimmed);
            if !goes_on && part.is_empty() {
                continue;
            }
            let mut line = Line::new(std::mem::take(&mut self.comments), start, physical.line);
            line.push(part, start, physical.line);
            if goes_on {
                self.join(&mut line)?;
            }
            return Ok(Some(line));
        }
        Ok(None)
    }

    /// Appends the lines that a continued one goes on to.
    fn join(&mut self, line: &mut Line) -> Result<(), ParseError> {
        let mut blank = None;
        while let Some(physical) = self.physical()? {
            let content = physical.content();
            line.reach(physical.start + content.len(), physical.line);
            match comment(content) {
                Content::Comment => continue,
                Content::Blank => {
                    blank.get_or_insert(physical);
                    continue;
                }
                Content::Text => {}
            }
            let (part, goes_on) = self.continuation(content);
            line.push(part, physical.start, physical.line);
            line.reach(physical.start + content.len(), physical.line);
            if !goes_on {
                break;
            }
        }
        if let Some(blank) = blank {
            // The reference reports the line where the instruction ends; the blank one is where the remedy is.
            let mut span = blank.span();
            span.last_line = line.whole().last_line;
            let message = "empty line inside a continued instruction".to_owned();
            self.warnings.push(Warning { message, span });
        }
        Ok(())
    }

    /// `continuation ::= escape [#x9#x20]* #xD* #xA`
    fn continuation<'l>(&self, content: &'l [u8]) -> (&'l [u8], bool) {
        let kept = content.iter().rposition(|b| !matches!(b, b' ' | b'\t')).map_or(0, |at| at + 1);
        match content[..kept].strip_suffix(&[self.escape as u8]) {
            Some(part) if part.last() != Some(&(self.escape as u8)) => (part, true),
            Some(_) | None => (content, false),
        }
    }

    /// Keeps a comment for the instruction that follows; an empty one starts the block anew.
    fn note_comment(&mut self, content: &[u8], trimmed: &[u8]) {
        if trimmed.first() != Some(&b'#') {
            return;
        }
        // Only the first byte goes, also of an indented comment: descriptions agree with the reference.
        let text = String::from_utf8_lossy(&content[1..]);
        match text.trim() {
            "" => self.comments.clear(),
            text => self.comments.push(text.to_owned()),
        }
    }

    fn obey_directive(&mut self, trimmed: &[u8]) -> Result<(), DirectiveError> {
        let Some((name, value)) = self.directives.read(&String::from_utf8_lossy(trimmed))? else {
            return Ok(());
        };
        self.comments.pop();
        if name == "escape" {
            self.escape = match value.as_str() {
                "\\" => '\\',
                "`" => '`',
                _ => return Err(DirectiveError::Escape(value)),
            };
        }
        Ok(())
    }

    /// `heredoc_body ::= ([^#xA]* #xA)* #x9* heredoc_name #xD* #xA`
    pub(super) fn heredoc_body(
        &mut self,
        line: &mut Line,
        mut heredoc: Heredoc,
    ) -> Result<Heredoc, ParseError> {
        while let Some(physical) = self.physical()? {
            let content = physical.content();
            line.reach(physical.start + content.len(), physical.line);
            let tabs = content.iter().take_while(|b| **b == b'\t').count();
            let end = if heredoc.chomp { &content[tabs..] } else { content };
            if end == heredoc.name.as_bytes() {
                return Ok(heredoc);
            }
            let body = &self.text[physical.start..physical.next];
            heredoc.content.push_str(&String::from_utf8_lossy(body));
        }
        let marker = line.text.find("<<").unwrap_or_default();
        let marker = marker
            ..line.text[marker..].find(char::is_whitespace).map_or(line.text.len(), |n| marker + n);
        Err(line.error(marker, HeredocError::Unterminated(heredoc.name)))
    }

    fn physical(&mut self) -> Result<Option<Physical<'t>>, ParseError> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.iter().position(|b| *b == b'\n');
        let bytes = &rest[..length.unwrap_or(rest.len())];
        let start = self.position;
        self.position += length.map_or(rest.len(), |n| n + 1);
        self.line += 1;
        let physical = Physical { bytes, start, next: self.position, line: self.line };
        if bytes.len() > LONGEST_LINE {
            return Err(physical.error(ParseErrorKind::LineTooLong));
        }
        Ok(Some(physical))
    }
}

enum Content {
    Comment,
    Blank,
    Text,
}

/// `comment ::= blank* "#" [^#xA]* #xA`
fn comment(content: &[u8]) -> Content {
    match trim_start(content).first() {
        Some(b'#') => Content::Comment,
        Some(_) => Content::Text,
        None => Content::Blank,
    }
}

/// Removes leading whitespace as Unicode has it.
fn trim_start(bytes: &[u8]) -> &[u8] {
    if bytes.first().is_none_or(|b| b.is_ascii_graphic()) {
        return bytes;
    }
    let text = String::from_utf8_lossy(bytes);
    // Broken bytes are no whitespace, so what is trimmed was valid and has the same length here and there.
    &bytes[text.len() - text.trim_start().len()..]
}
