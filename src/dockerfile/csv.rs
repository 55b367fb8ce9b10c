//! One record of comma-separated fields, as RUN --mount and RUN --device write their options, and docker's `--output`
//! and `--secret` theirs.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while};
use nom::character::complete::char;
use nom::combinator::{all_consuming, map, peek, value, verify};
use nom::multi::{fold_many0, separated_list1};
use nom::sequence::{delimited, terminated};
use nom::{IResult, Parser};

/// Splits a record; `None` if a quote stands where none may, or if there is nothing at all.
///
/// `csv_record ::= (csv_field ("," csv_field)*) - ""`
pub fn csv_record(text: &str) -> Option<Vec<String>> {
    let text = text.strip_suffix('\n').map_or(text, |t| t.strip_suffix('\r').unwrap_or(t));
    if text.is_empty() {
        return None;
    }
    all_consuming(separated_list1(char(','), csv_field)).parse(text).ok().map(|(_, fields)| fields)
}

/// `csv_field ::= '"' ([^"] | '""')* '"' | [^",]*`
fn csv_field(input: &str) -> IResult<&str, String> {
    let text = map(verify(take_while(|c| c != '"'), |t: &str| !t.is_empty()), str::to_owned);
    let quote = value("\"".to_owned(), tag("\"\""));
    let inside = fold_many0(alt((text, quote)), String::new, |whole, part| whole + &part);
    let end = peek(alt((tag(","), nom::combinator::eof)));
    let quoted = terminated(delimited(char('"'), inside, char('"')), end);
    let bare = map(take_while(|c| c != ',' && c != '"'), str::to_owned);
    if input.starts_with('"') { { quoted }.parse(input) } else { { bare }.parse(input) }
}

#[cfg(test)]
mod tests {
    use super::csv_record;

    #[test]
    fn records() {
        let fields = |list: &[&str]| Some(list.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>());
        assert_eq!(csv_record("a=b,c"), fields(&["a=b", "c"]));
        assert_eq!(csv_record("\"a,b\",\"c\"\"d\""), fields(&["a,b", "c\"d"]));
        assert_eq!(csv_record("a,"), fields(&["a", ""]));
        assert_eq!(csv_record(""), None);
        assert_eq!(csv_record("a\"b"), None);
        assert_eq!(csv_record("\"a\"b"), None);
        assert_eq!(csv_record("\"a"), None);
    }
}
