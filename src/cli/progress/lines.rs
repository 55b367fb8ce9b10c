//! Puts the pieces that a command writes together to lines.
//!
//! A piece ends anywhere. `\r` starts the line again, so of a bar that redraws itself only the last state remains;
//! `\r\n` is a line end. A line without end is cut at a fixed length, so memory stays bounded.

use std::collections::VecDeque;

/// A longer line is shown in several pieces.
const LONGEST: usize = 64 * 1024;

/// The line that one stream is in the middle of.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
    restarted: bool,
}

impl Lines {
    /// Adds a piece and hands on every line that it completes, without its end.
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for &byte in bytes {
            match byte {
                b'\n' => {
                    line(&self.partial);
                    self.partial.clear();
                    self.restarted = false;
                }
                b'\r' => self.restarted = true,
                _ => self.push_byte(byte, &mut line),
            }
        }
    }

    fn push_byte(&mut self, byte: u8, line: &mut impl FnMut(&[u8])) {
        if self.restarted {
            self.partial.clear();
            self.restarted = false;
        }
        if self.partial.len() >= LONGEST && (byte & 0xc0) != 0x80 {
            line(&self.partial);
            self.partial.clear();
        }
        self.partial.push(byte);
    }

    /// Hands on what has no line end yet.
    pub(super) fn flush(&mut self, line: impl FnOnce(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }

    /// Returns what has no line end yet.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }
}

/// The lines that a running step has written; the oldest go when there are too many.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: VecDeque<String>,
    bytes: usize,
    dropped: usize,
}

const LARGEST_LOG: usize = 8 << 20;

impl Log {
    /// Adds a line.
    pub(super) fn push(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.bytes > LARGEST_LOG {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    /// Returns the last `count` lines.
    pub(super) fn tail(&self, count: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count)).map(String::as_str)
    }

    /// Returns all lines, and how many before them are lost.
    pub(super) fn all(&self) -> (usize, impl Iterator<Item = &str>) {
        (self.dropped, self.lines.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&str]) -> Vec<String> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece.as_bytes(), |line| all.push(String::from_utf8_lossy(line).into()));
        }
        lines.flush(|line| all.push(String::from_utf8_lossy(line).into()));
        all
    }

    #[test]
    fn pieces_become_lines() {
        let cases: [(&[&str], &[&str]); 7] = [
            (&["a\nb\n"], &["a", "b"]),
            (&["a", "b", "\nc"], &["ab", "c"]),
            (&["\n\n"], &["", ""]),
            (&["a\r\nb\r", "\n"], &["a", "b"]),
            (&["10%\r50%\r100%\n"], &["100%"]),
            (&["10%\r", "20%\r"], &["20%"]),
            (&[], &[]),
        ];
        for (pieces, expected) in cases {
            assert_eq!(joined(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn endless_lines_are_cut_between_characters() {
        let long = format!("a{}", "é".repeat(LONGEST));
        let lines = joined(&[&long]);
        assert_eq!(lines.concat(), long);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn logs_are_bounded() {
        let mut log = Log::default();
        for _ in 0..20 {
            log.push("x".repeat(1 << 20));
        }
        let (dropped, lines) = log.all();
        assert_eq!((dropped, lines.count()), (12, 8));
        assert_eq!(log.tail(3).count(), 3);
    }
}
