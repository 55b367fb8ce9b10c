//! Makes foreign text safe and measurable for a terminal.
//!
//! Step names, messages and what commands write come from Dockerfiles, images and programs that nobody vetted. What
//! passes through here cannot move the cursor, retitle the window, answer for the user or reverse the reading order.
//! Knows nothing of where the text is put.

use kiln::layer::TreePath;
use unicode_width::UnicodeWidthChar;

/// Whether the colours that a command chose for its own output are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    /// As written.
    Keep,
    /// Taken out.
    Strip,
}

const RESET: &str = "\x1b[0m";
const TAB: usize = 8;

/// Returns `text` as one line without any control character.
pub(crate) fn single_line(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { ' ' } else { visible(c) }).collect()
}

/// Returns a path of an image as one line from which the path can be read back: what is no visible character is
/// written as `\n`, `\t`, `\r` or `\xNN`, a backslash as two.
pub(crate) fn path(path: &TreePath) -> String {
    format!("/{}", escaped(path.as_bytes()))
}

/// Returns bytes as [`path`] writes them.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '\n' | '\t' | '\r' => text.extend(c.escape_default()),
                c if visible(c) != c || (c.is_whitespace() && c != ' ') => {
                    let mut bytes = [0; 4];
                    escape_bytes(c.encode_utf8(&mut bytes).as_bytes(), &mut text);
                }
                c => text.push(c),
            }
        }
        escape_bytes(chunk.invalid(), &mut text);
    }
    text
}

fn escape_bytes(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Puts a path into a JSON object: as text, and if it is none, its bytes in hexadecimal digits as well.
pub(crate) fn put_path(object: &mut serde_json::Value, path: &TreePath) {
    object["Path"] = path.to_string().into();
    if std::str::from_utf8(path.as_bytes()).is_err() {
        let digits = path.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        object["PathBytes"] = digits.collect::<String>().into();
    }
}

/// Returns JSON as indented text in which no character can act on a terminal.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let mut text = String::new();
    for c in format!("{value:#}\n").chars() {
        // What JSON leaves as it is stands inside its strings.
        if c != '\n' && visible(c) != c {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

/// Returns `text` with its line ends but without any other control character.
pub(crate) fn lines(text: &str) -> String {
    text.lines().map(single_line).collect::<Vec<_>>().join("\n")
}

/// Returns a character that cannot act on a terminal.
pub(crate) fn visible(c: char) -> char {
    if c.is_control() || is_direction_mark(c) { '\u{fffd}' } else { c }
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns one line of a command's output: colours as asked, tabs as spaces, nothing else that acts.
pub(crate) fn output_line(bytes: &[u8], colours: Colours) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    let (mut rest, mut column, mut coloured) = (text.as_ref(), 0, false);
    while let Some(c) = rest.chars().next() {
        if c == '\x1b' {
            let (sequence, after) = rest.split_at(sequence_length(rest));
            if colours == Colours::Keep && is_colour(sequence) {
                line.push_str(sequence);
                coloured = !matches!(sequence, RESET | "\x1b[m");
            }
            rest = after;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c == '\t' {
            let spaces = TAB - column % TAB;
            line.extend(std::iter::repeat_n(' ', spaces));
            column += spaces;
        } else if !c.is_control() {
            line.push(visible(c));
            column += char_width(c);
        }
    }
    if coloured {
        line.push_str(RESET);
    }
    line
}

/// Length in bytes of the escape sequence that `text` starts with.
fn sequence_length(text: &str) -> usize {
    let body = &text[1..];
    let end = match body.as_bytes().first() {
        Some(b'[') => body[1..].find(|c| ('\x40'..='\x7e').contains(&c)).map(|at| at + 2),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string_end(body),
        _ => body
            .find(|c| !('\x20'..='\x2f').contains(&c))
            .map(|at| at + body[at..].chars().next().map_or(0, char::len_utf8)),
    };
    1 + end.unwrap_or(body.len())
}

fn string_end(body: &str) -> Option<usize> {
    let bell = body.find('\x07').map(|at| at + 1);
    let terminator = body.find("\x1b\\").map(|at| at + 2);
    bell.into_iter().chain(terminator).min()
}

fn is_colour(sequence: &str) -> bool {
    let body = sequence.strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix('m'));
    body.is_some_and(|codes| codes.bytes().all(|b| b.is_ascii_digit() || b == b';' || b == b':'))
}

/// Returns the columns that a character takes.
pub(crate) fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Returns the columns that a line takes, colours not counted.
pub(crate) fn width(line: &str) -> usize {
    let (mut rest, mut columns) = (line, 0);
    while let Some(c) = rest.chars().next() {
        if c == '\x1b' {
            rest = &rest[sequence_length(rest)..];
        } else {
            columns += char_width(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    columns
}

/// Returns `line` cut to at most `columns`, with `…` where something is missing.
pub(crate) fn clip(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.to_owned();
    }
    let (mut rest, mut used, mut clipped, mut coloured) = (line, 0, String::new(), false);
    while let Some(c) = rest.chars().next() {
        let length = if c == '\x1b' { sequence_length(rest) } else { c.len_utf8() };
        if c != '\x1b' {
            used += char_width(c);
            if used + 1 > columns {
                break;
            }
        }
        coloured |= c == '\x1b';
        clipped.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    clipped.push('…');
    if coloured {
        clipped.push_str(RESET);
    }
    clipped
}

/// Returns a number of bytes for people, in powers of 1000 as docker shows them.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count}B");
    }
    let (mut divisor, mut unit) = (1000_u64, 0);
    while unit + 1 < units.len() && count / divisor >= 1000 {
        divisor *= 1000;
        unit += 1;
    }
    let tenths = count / (divisor / 10);
    format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_act() {
        let cases = [
            ("RUN make", "RUN make"),
            ("RUN a\n\tb", "RUN a  b"),
            ("RUN \x1b[2Jx", "RUN \u{fffd}[2Jx"),
            ("a\u{9b}b\u{202e}c\x07", "a\u{fffd}b\u{fffd}c\u{fffd}"),
            ("größe 漢字", "größe 漢字"),
        ];
        for (text, expected) in cases {
            assert_eq!(single_line(text), expected);
        }
    }

    #[test]
    fn paths_can_be_read_back() {
        let cases: [(&[u8], &str); 6] = [
            (b"etc/a b", "/etc/a b"),
            (b"a\nb\tc\\", "/a\\nb\\tc\\\\"),
            (b"\x1b[2J\x07\x7f", "/\\x1b[2J\\x07\\x7f"),
            (b"caf\xe9/\xff", "/caf\\xe9/\\xff"),
            (
                "größe/\u{9b}\u{202e}\u{2028}".as_bytes(),
                "/größe/\\xc2\\x9b\\xe2\\x80\\xae\\xe2\\x80\\xa8",
            ),
            (b"", "/"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(path(&TreePath::clean(bytes).unwrap()), expected);
        }
        let value = serde_json::json!({"a": "\u{9b}\u{1b}\u{202e}\n\u{7f}ü"});
        let shown = "{\n  \"a\": \"\\u009b\\u001b\\u202e\\n\\u007fü\"\n}\n";
        assert_eq!(json(&value), shown);
        assert_eq!(serde_json::from_str::<serde_json::Value>(shown).unwrap(), value);
    }

    #[test]
    fn output_keeps_colour_only() {
        let cases = [
            ("plain", "plain"),
            ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
            ("\x1b[38;5;1mopen", "\x1b[38;5;1mopen\x1b[0m"),
            ("\x1b[2Jgone\x1b[1A", "gone"),
            ("\x1b]0;title\x07x\x1b]8;;http://a\x1b\\y", "xy"),
            ("\x1b(Bx\x1b7y\x1bc", "xy"),
            ("a\tb", "a       b"),
            ("a\x08b\x07", "ab"),
            ("end\x1b[", "end"),
            ("end\x1b", "end"),
            ("\x1b[31é", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(output_line(text.as_bytes(), Colours::Keep), expected, "{text:?}");
        }
        assert_eq!(output_line(b"\x1b[1mx\x1b[m \xff", Colours::Strip), "x \u{fffd}");
    }

    #[test]
    fn clipping_counts_columns() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abcde…");
        assert_eq!(clip("漢字漢字", 6), "漢字…");
        assert_eq!(clip("\x1b[1mabcdefg\x1b[0m", 4), "\x1b[1mabc…\x1b[0m");
        assert_eq!(width("\x1b[1m漢a\x1b[0m"), 3);
    }

    #[test]
    fn sizes() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0kB"),
            (1234, "1.2kB"),
            (999_999, "999.9kB"),
            (45_600_000, "45.6MB"),
            (u64::MAX, "18.4EB"),
        ];
        for (count, expected) in cases {
            assert_eq!(bytes(count), expected);
        }
    }
}
