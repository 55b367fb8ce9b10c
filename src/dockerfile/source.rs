//! A logical line: what one instruction's text is, and where each byte of it stands in the file.
//!
//! Invariant: every span made here lies inside the original text, also when the text is not valid UTF-8 (broken
//! bytes become U+FFFD in `text` and map to the byte that they replace or to one near it on the same line).

use std::ops::Range;

use super::ast::Span;
use super::error::{ParseError, ParseErrorKind};

/// An instruction's text with continuations joined, and the way back to the file.
#[derive(Debug)]
pub(super) struct Line {
    /// The joined text, its leading whitespace removed.
    pub(super) text: String,
    /// The comment block above.
    pub(super) comments: Vec<String>,
    pieces: Vec<Piece>,
    last_line: u32,
    end: usize,
}

#[derive(Debug)]
struct Piece {
    at: usize,
    source: usize,
    length: usize,
    line: u32,
}

impl Line {
    /// Starts a line at an offset of the file.
    pub(super) fn new(comments: Vec<String>, source: usize, line: u32) -> Self {
        let first = Piece { at: 0, source, length: 0, line };
        Self { text: String::new(), comments, pieces: vec![first], last_line: line, end: source }
    }

    /// Appends bytes of one physical line that start at `source`.
    pub(super) fn push(&mut self, bytes: &[u8], source: usize, line: u32) {
        self.pieces.push(Piece { at: self.text.len(), source, length: bytes.len(), line });
        self.text.push_str(&String::from_utf8_lossy(bytes));
        self.reach(source + bytes.len(), line);
    }

    /// Takes note that the instruction goes on to this place.
    pub(super) fn reach(&mut self, end: usize, line: u32) {
        self.end = end;
        self.last_line = line;
    }

    /// Returns the place of the whole instruction.
    pub(super) fn whole(&self) -> Span {
        // Not where the text begins: an escape character alone on its line stands above that.
        let Piece { source: start, line: first_line, .. } = self.pieces[0];
        Span { first_line, last_line: self.last_line, start, end: self.end.max(start) }
    }

    /// Returns the place of a part of the text.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let (start, first_line) = self.locate(range.start);
        if range.end <= range.start {
            return Span { first_line, last_line: first_line, start, end: start };
        }
        let piece = self.piece(range.end - 1);
        let end = piece.source + (range.end - piece.at).min(piece.length);
        Span { first_line, last_line: piece.line, start, end: end.max(start) }
    }

    /// Makes an error about a part of the text.
    pub(super) fn error(&self, range: Range<usize>, kind: impl Into<ParseErrorKind>) -> ParseError {
        ParseError::new(kind, self.span(range), self.whole())
    }

    fn locate(&self, offset: usize) -> (usize, u32) {
        let piece = self.piece(offset);
        (piece.source + (offset - piece.at).min(piece.length), piece.line)
    }

    fn piece(&self, offset: usize) -> &Piece {
        let after = self.pieces.partition_point(|piece| piece.at <= offset);
        &self.pieces[after - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Span};

    #[test]
    fn an_instruction_begins_where_its_first_line_does() {
        // `\`, a line feed and `RUN x`.
        let mut line = Line::new(Vec::new(), 0, 1);
        line.push(b"", 0, 1);
        line.push(b"RUN x", 2, 2);
        assert_eq!(line.whole(), Span { first_line: 1, last_line: 2, start: 0, end: 7 });
        assert_eq!(line.span(0..3), Span { first_line: 2, last_line: 2, start: 2, end: 5 });
    }
}
