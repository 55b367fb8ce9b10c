//! Other spellings of what was derived: an instruction over several lines, a flag with quotes, a quoted field.

use super::rng::Rng;

/// A keyword in upper case, lower case or both.
pub(crate) fn case(text: &str, case: usize, rng: &mut Rng) -> String {
    match case {
        0 => text.to_owned(),
        1 => text.to_ascii_lowercase(),
        _ => {
            let either = |c: char| {
                if rng.one_in(2) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            };
            text.chars().map(either).collect()
        }
    }
}

/// Whether a line ends in an escape that joins the next line to it.
pub(crate) fn goes_on(line: &str, escape: char) -> bool {
    let line = line.trim_end_matches('\r').trim_end_matches([' ', '\t']);
    line.strip_suffix(escape).is_some_and(|before| !before.ends_with(escape))
}

/// Breaks an instruction's text into physical lines.
pub(crate) fn lines(text: &str, escape: char, rng: &mut Rng) -> String {
    let mut spelled = String::new();
    let mut rest = text;
    for (at, _) in text.char_indices() {
        let (before, after) = rest.split_at(at - (text.len() - rest.len()));
        // A break must not follow an escape, nor make a comment or a blank line of what comes after it.
        let breakable = !before.ends_with(escape) && !after.trim_start().starts_with('#');
        if breakable && !after.trim().is_empty() && rng.one_in(24) {
            spelled.push_str(before);
            spelled.push(escape);
            spelled.push_str(["", " ", " \t"][rng.below(3)]);
            spelled.push_str(["\n", "\n", "\r\n"][rng.below(3)]);
            while rng.one_in(4) {
                spelled.push_str(["\n", " \t\r\n", "# note\n", "\t#\\\n", "#`\n"][rng.below(5)]);
            }
            rest = after;
        }
    }
    spelled + rest
}

/// Puts parts of a flag into quotes or behind escapes.
pub(crate) fn flag(text: &str, escape: char, rng: &mut Rng) -> String {
    let mut spelled = "--".to_owned();
    let mut quote: Option<char> = None;
    for c in text["--".len()..].chars() {
        let closes = quote.is_some_and(|_| rng.one_in(3));
        if closes {
            spelled.extend(quote.take());
        }
        // Whatever is not plain ASCII can stand only in quotes: outside, bytes of it could be blanks.
        let plain = c.is_ascii_graphic() && !matches!(c, '\'' | '"');
        if quote.is_none() && (!plain && c != '\'' && c != '"' || rng.one_in(12)) {
            quote = Some(if rng.one_in(2) { '\'' } else { '"' });
            spelled.extend(quote);
        }
        let needs_escape = match quote {
            Some(quote) => c == quote || c == escape,
            None => !plain || c == escape,
        };
        if needs_escape || c.is_ascii() && rng.one_in(16) {
            spelled.push(escape);
        }
        spelled.push(c);
    }
    spelled.extend(quote);
    spelled
}

/// Puts whole fields into quotes.
pub(crate) fn csv(text: &str, rng: &mut Rng) -> String {
    let mut field = |field: &str| {
        if rng.one_in(4) { format!("\"{field}\"") } else { field.to_owned() }
    };
    text.split(',').map(&mut field).collect::<Vec<_>>().join(",")
}
