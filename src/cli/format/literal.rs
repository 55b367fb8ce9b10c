//! Texts, characters and numbers as Go writes them in its source.

use super::value::Value;

/// Reads a text in double quotes, or a character in single ones, that `source` begins with. Returns what it says and
/// its length in bytes.
pub(super) fn quoted(source: &str) -> Result<(Vec<u8>, usize), &'static str> {
    const OPEN: &str = "the quote is not closed";
    let mut chars = source.char_indices();
    let quote = chars.next().map_or('"', |(_, c)| c);
    let mut text = Vec::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\n' => return Err(OPEN),
            '\\' => {
                let (bytes, length) = escape(&source[at + 1..], quote).ok_or("unknown escape")?;
                text.extend(bytes);
                chars = source.char_indices();
                chars.nth(source[..=at + length].chars().count() - 1);
            }
            c if c == quote => return Ok((text, at + 1)),
            c => text.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err(OPEN)
}

/// Reads what follows a backslash: its bytes and its length.
fn escape(source: &str, quote: char) -> Option<(Vec<u8>, usize)> {
    let first = source.chars().next()?;
    let digits = |from: usize, count: usize, radix| {
        let digits = source.get(from..from + count)?;
        let all = digits.chars().all(|c| c.is_digit(radix));
        Some((u32::from_str_radix(digits, radix).ok().filter(|_| all)?, from + count))
    };
    let unicode = |found: Option<(u32, usize)>| {
        let (code, length) = found?;
        Some((char::from_u32(code)?.to_string().into_bytes(), length))
    };
    let byte = |found: Option<(u32, usize)>| {
        let (code, length) = found?;
        Some((vec![u8::try_from(code).ok()?], length))
    };
    let plain = |byte: u8| Some((vec![byte], 1));
    match first {
        'a' => plain(7),
        'b' => plain(8),
        'f' => plain(12),
        'n' => plain(b'\n'),
        'r' => plain(b'\r'),
        't' => plain(b'\t'),
        'v' => plain(11),
        '\\' => plain(b'\\'),
        c if c == quote => Some((c.to_string().into_bytes(), 1)),
        'x' => byte(digits(1, 2, 16)),
        'u' => unicode(digits(1, 4, 16)),
        'U' => unicode(digits(1, 8, 16)),
        '0'..='7' => byte(digits(0, 3, 8)),
        _ => None,
    }
}

/// Reads a number.
pub(super) fn number(text: &str) -> Option<Value> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let lower = body.to_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') && !lower.contains(['.', 'e']) => {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    let plain = digits.replace('_', "");
    if let Ok(magnitude) = i128::from_str_radix(&plain, radix) {
        return i64::try_from(sign * magnitude).ok().map(Value::Int);
    }
    let is_decimal = plain.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'+' | b'-'));
    let float = plain.parse::<f64>().ok().filter(|float| float.is_finite() && is_decimal)?;
    Some(Value::Float(if sign < 0 { -float } else { float }))
}
