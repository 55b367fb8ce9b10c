//! Words of ENV, LABEL and ARG, and of instructions whose arguments blanks alone separate.
//!
//! Quotes and escapes stay in the words: expansion removes them later. Only an escape character that is the very
//! last one of the text is dropped.

use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::take_while;
use nom::character::complete::{anychar, char, satisfy};
use nom::combinator::{opt, recognize, verify};
use nom::multi::{many0_count, many1_count};
use nom::{IResult, Parser};

use super::split::{blank, whitespace};

/// A word and where it stands in the text.
///
/// `word ::= ([^#xA] - whitespace)+ - ("--" [^#xA]*)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) range: Range<usize>,
}

/// Splits at whitespace outside of quotes.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Ok((after, word)) = raw_word(escape, rest) {
        let start = text.len() - rest.len();
        // The last character of all is a lone escape if nothing was left for it to escape.
        let lone = after.is_empty() && ends_in_lone_escape(word, escape);
        let word = if lone { &word[..word.len() - escape.len_utf8()] } else { word };
        if !word.is_empty() {
            words.push(Word { text: word, range: start..start + word.len() });
        }
        rest = after.trim_start();
    }
    words
}

/// ```text
/// raw_word ::= (raw_single_quoted | raw_double_quoted | raw_escape
///              | ([^'"] - (whitespace | escape)))+
/// ```
fn raw_word(escape: char, input: &str) -> IResult<&str, &str> {
    let plain = satisfy(|c| !whitespace(c) && !matches!(c, '\'' | '"') && c != escape);
    let part = alt((
        recognize(plain),
        raw_single_quoted,
        |i| raw_double_quoted(escape, i),
        |i| raw_escape(escape, i),
    ));
    recognize(many1_count(part)).parse(input)
}

/// `raw_single_quoted ::= "'" [^'#xA]* "'"`
fn raw_single_quoted(input: &str) -> IResult<&str, &str> {
    recognize((char('\''), take_while(|c| c != '\''), opt(char('\'')))).parse(input)
}

/// `raw_double_quoted ::= '"' (raw_escape | ([^"#xA] - escape))* '"'`
fn raw_double_quoted(escape: char, input: &str) -> IResult<&str, &str> {
    let plain = recognize(satisfy(|c| c != '"' && c != escape));
    let part = alt((plain, |i| raw_escape(escape, i)));
    recognize((char('"'), many0_count(part), opt(char('"')))).parse(input)
}

/// `raw_escape ::= escape [^#xA]`
fn raw_escape(escape: char, input: &str) -> IResult<&str, &str> {
    recognize((verify(anychar, |c| *c == escape), opt(anychar))).parse(input)
}

fn ends_in_lone_escape(word: &str, escape: char) -> bool {
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match quote {
            _ if c == escape && quote != Some('\'') => {
                if chars.next().is_none() {
                    return true;
                }
            }
            Some(q) if c == q => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(_) | None => {}
        }
    }
    false
}

/// Splits at blanks, whatever stands between them.
pub(super) fn blank_words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = 0;
    for part in text.split(blank) {
        if !part.is_empty() {
            words.push(Word { text: part, range: start..start + part.len() });
        }
        // Each blank is one byte.
        start += part.len() + 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::quoted_words;

    fn words(text: &str) -> Vec<&str> {
        quoted_words(text, '\\').into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        assert_eq!(words(r#"a='b c' d="e \" f" g\ h"#), [r"a='b c'", r#"d="e \" f""#, r"g\ h"]);
        assert_eq!(words(r"'a\' b"), [r"'a\'", "b"]);
        assert_eq!(words(r#""open and"#), [r#""open and"#]);
    }

    #[test]
    fn a_lone_escape_at_the_end_is_dropped() {
        assert_eq!(words("a=b\\"), ["a=b"]);
        assert_eq!(words("\\"), [""; 0]);
        assert_eq!(words(r"'a\"), [r"'a\"]);
        assert_eq!(words(r"a\\"), [r"a\\"]);
    }
}
