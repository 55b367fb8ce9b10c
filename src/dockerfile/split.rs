//! An instruction's text into keyword, flags and the rest.
//!
//! Flags stand directly after the keyword, begin with `--` and end at the first word that does not, or at a bare
//! `--`. Inside them quotes are removed and the escape character protects the next one. They are read byte by byte
//! as Latin-1, so `--chown=é` becomes `--chown=Ã©`: the reference does, and what it hands on is what counts.

use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while};
use nom::combinator::{map, opt, recognize};
use nom::multi::fold_many0;
use nom::number::complete::u8 as byte;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};

/// A flag without its quotes, and where it stands in the instruction's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) text: String,
    pub(super) range: Range<usize>,
}

/// The parts of an instruction's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts<'t> {
    pub(super) keyword: &'t str,
    pub(super) keyword_range: Range<usize>,
    pub(super) flags: Vec<Flag>,
    /// The arguments, trimmed.
    pub(super) rest: &'t str,
    pub(super) rest_start: usize,
}

/// Blanks that separate words; a no-break space does not.
///
/// `blank ::= [#x9#xB-#xD#x20]`
pub(super) fn blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// `instruction ::= keyword (blank+ flag)* (blank+ "--")? (blank+ [^#xA]*)?`
pub(super) fn instruction(text: &str, escape: char) -> Parts<'_> {
    let start = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    let (after, keyword) = keyword(trimmed).unwrap_or(("", trimmed));
    let after_start = start + trimmed.len() - after.len();
    let (mut flags, consumed) = flags(after.as_bytes(), escape as u8);
    // Reading bytes may stop inside a character; what follows starts with the next whole one.
    let whole = |at: usize| (at..after.len()).find(|at| after.is_char_boundary(*at));
    for flag in &mut flags {
        let end = whole(flag.range.end).unwrap_or(after.len());
        flag.range = after_start + flag.range.start..after_start + end;
    }
    let tail = &after[whole(consumed).unwrap_or(after.len())..];
    let rest = tail.trim();
    let rest_start = after_start + after.len() - tail.trim_start().len();
    Parts { keyword, keyword_range: start..start + keyword.len(), flags, rest, rest_start }
}

/// `keyword ::= ([^#xA] - blank)+`
fn keyword(input: &str) -> IResult<&str, &str> {
    terminated(take_while(|c| !blank(c)), take_while(blank)).parse(input)
}

/// Returns the flags and how many bytes they take.
fn flags(bytes: &[u8], escape: u8) -> (Vec<Flag>, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += bytes[at..].iter().take_while(|b| whitespace(char::from(**b))).count();
        let Ok((rest, text)) = flag(escape, &bytes[at..]) else { return (found, at) };
        let range = at..bytes.len() - rest.len();
        at = range.end;
        if text == "--" {
            return (found, at);
        }
        found.push(Flag { text, range });
    }
}

/// `flag ::= "--" (quoted | flag_escape | ([#x21#x23-#x26#x28-#x7E] - escape))+`
fn flag(escape: u8, input: &[u8]) -> IResult<&[u8], String> {
    let plain = |b: &u8| !whitespace(char::from(*b)) && !matches!(b, b'\'' | b'"') && *b != escape;
    let part = alt((
        map(nom::combinator::verify(byte, plain), |b| String::from(b as char)),
        |i| quoted(escape, i),
        |i| flag_escape(escape, i),
    ));
    let join = |mut whole: String, part: String| {
        whole.push_str(&part);
        whole
    };
    preceded(tag("--".as_bytes()), fold_many0(part, || "--".to_owned(), join)).parse(input)
}

/// ```text
/// quoted ::= "'" (flag_escape | ([^'#xA] - escape))* "'"
///          | '"' (flag_escape | ([^"#xA] - escape))* '"'
/// ```
fn quoted(escape: u8, input: &[u8]) -> IResult<&[u8], String> {
    let (rest, quote) = alt((tag("'".as_bytes()), tag("\"".as_bytes()))).parse(input)?;
    let quote = quote[0];
    let inside = nom::combinator::verify(byte, |b| *b != quote && *b != escape);
    let part = alt((map(inside, |b| String::from(b as char)), |i| flag_escape(escape, i)));
    let join = |mut whole: String, part: String| {
        whole.push_str(&part);
        whole
    };
    terminated(fold_many0(part, String::new, join), opt(tag(&[quote][..]))).parse(rest)
}

/// `flag_escape ::= escape [#x0-#x9#xB-#x7F]`
fn flag_escape(escape: u8, input: &[u8]) -> IResult<&[u8], String> {
    let escaped = opt(recognize(take(1_usize)));
    preceded(tag(&[escape][..]), escaped)
        .map(|next: Option<&[u8]>| next.iter().flat_map(|b| b.iter()).map(|b| *b as char).collect())
        .parse(input)
}

/// White space as Unicode has it.
///
/// `whitespace ::= [#x9-#xD#x20#x85#xA0#x1680#x2000-#x200A#x2028#x2029#x202F#x205F#x3000]`
pub(super) fn whitespace(c: char) -> bool {
    c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::instruction;

    fn flags(text: &str) -> (Vec<String>, String) {
        let parts = instruction(text, '\\');
        (parts.flags.into_iter().map(|f| f.text).collect(), parts.rest.to_owned())
    }

    #[test]
    fn flags_end_at_the_first_other_word() {
        let (found, rest) = flags("COPY --from=a --chown=\"b c\"  x --link /y ");
        assert_eq!(found, ["--from=a", "--chown=b c"]);
        assert_eq!(rest, "x --link /y");
    }

    #[test]
    fn a_bare_double_dash_ends_them_too() {
        assert_eq!(flags("RUN --mount=x -- --y"), (vec!["--mount=x".into()], "--y".into()));
        assert_eq!(flags("RUN --"), (vec![], String::new()));
    }

    #[test]
    fn escapes_protect() {
        assert_eq!(flags("RUN --a=b\\ c 'x'"), (vec!["--a=b c".into()], "'x'".into()));
        assert_eq!(flags("ADD --chown=é a b").0, ["--chown=Ã©"]);
    }

    #[test]
    fn a_range_ends_after_a_whole_character() {
        let text = "COPY --chown=à a /";
        let parts = instruction(text, '\\');
        // The second byte of `à` is a blank of Latin-1, where the flag ends.
        assert_eq!(parts.flags[0].text, "--chown=Ã");
        assert_eq!(&text[parts.flags[0].range.clone()], "--chown=à");
        assert_eq!(parts.rest, "a /");
    }
}
