//! The JSON form of arguments: an array of strings.
//!
//! A text that is no JSON is no error: it is the shell form. An array with a member that is no string is one. Half
//! of a surrogate pair becomes U+FFFD, as it does for the reference.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while_m_n, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, map, map_res, value};
use nom::multi::{fold_many0, separated_list0};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

/// What an argument text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with other members.
    NotStrings,
    /// Anything else.
    Text,
}

/// Says which form an argument text has.
pub(super) fn form(text: &str) -> Form {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Form::Text;
    }
    if let Ok((_, members)) = all_consuming(json_array).parse(text) {
        return Form::Strings(members);
    }
    match serde_json::from_str::<Vec<serde_json::Value>>(&without_surrogates(text)) {
        Ok(_) => Form::NotStrings,
        Err(_) => Form::Text,
    }
}

/// Puts U+FFFD for every surrogate, alone or in a pair: serde_json takes no single ones, and nobody looks at the text.
fn without_surrogates(text: &str) -> String {
    let (mut clean, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('\\') {
        clean.push_str(before);
        clean.push('\\');
        let unit =
            after.strip_prefix('u').and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok());
        let mut chars = after.chars();
        match chars.next() {
            Some(_) if unit.is_some_and(|unit| (0xd800..=0xdfff).contains(&unit)) => {
                clean.push_str("ufffd");
                rest = &after["uXXXX".len()..];
            }
            escaped => {
                clean.extend(escaped);
                rest = chars.as_str();
            }
        }
    }
    clean + rest
}

/// `json_array ::= "[" blanks (json_string blanks ("," blanks json_string blanks)*)? "]"`
fn json_array(input: &str) -> IResult<&str, Vec<String>> {
    let member = delimited(blanks, json_string, blanks);
    let members = alt((separated_list0(char(','), member), value(Vec::new(), tag(""))));
    delimited(char('['), preceded(blanks, members), (blanks, char(']'), blanks)).parse(input)
}

/// `json_string ::= '"' ([^"\#x0-#x1F] | json_escape)* '"'`
fn json_string(input: &str) -> IResult<&str, String> {
    let plain = take_while1(|c: char| c >= ' ' && c != '"' && c != '\\');
    let parts = fold_many0(
        alt((map(plain, str::to_owned), json_escape)),
        String::new,
        |mut whole, part: String| {
            whole.push_str(&part);
            whole
        },
    );
    delimited(char('"'), parts, char('"')).parse(input)
}

/// ```text
/// json_escape ::= "\" ('"' | "\" | "/" | "b" | "f" | "n" | "r" | "t"
///                     | "u" [0-9A-Fa-f] [0-9A-Fa-f] [0-9A-Fa-f] [0-9A-Fa-f])
/// ```
fn json_escape(input: &str) -> IResult<&str, String> {
    let simple = map(one_of("\"\\/bfnrt"), |c| {
        match c {
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        }
        .to_string()
    });
    let units = (unit, nom::combinator::opt(nom::combinator::complete(preceded(char('\\'), unit))));
    let (rest, text) =
        preceded(char('\\'), alt((simple, map(unit, |_| String::new())))).parse(input)?;
    if !text.is_empty() {
        return Ok((rest, text));
    }
    let (rest, (first, second)) = preceded(char('\\'), units).parse(input)?;
    let pair = second.and_then(|second| {
        char::decode_utf16([first, second]).next().and_then(Result::ok).filter(|c| *c > '\u{ffff}')
    });
    match pair {
        Some(c) => Ok((rest, c.into())),
        // The second unit stands for itself and is read again.
        None => {
            let single = char::from_u32(first.into()).unwrap_or('\u{fffd}');
            Ok((&input["\\uXXXX".len()..], single.into()))
        }
    }
}

fn unit(input: &str) -> IResult<&str, u16> {
    let digits = take_while_m_n(4, 4, |c: char| c.is_ascii_hexdigit());
    preceded(char('u'), map_res(digits, |hex| u16::from_str_radix(hex, 16))).parse(input)
}

/// `blanks ::= [#x9#xD#x20]*`
fn blanks(input: &str) -> IResult<&str, &str> {
    take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r')).parse(input)
}

#[cfg(test)]
mod tests {
    use super::{Form, form};

    #[test]
    fn forms() {
        let strings =
            |members: &[&str]| Form::Strings(members.iter().map(|m| (*m).into()).collect());
        let table = [
            ("[]", strings(&[])),
            (" [ \"a\" , \"b\" ] ", strings(&["a", "b"])),
            (r#"["\u00e9\n\/", "\ud83d\ude00", "\ud83dx"]"#, strings(&["é\n/", "😀", "\u{fffd}x"])),
            (r#"["a", 1]"#, Form::NotStrings),
            (r#"["\ud800", 1]"#, Form::NotStrings),
            (r#"["\\ud800", "\udé", 1]"#, Form::Text),
            (r#"["\ud8"#, Form::Text),
            ("[null]", Form::NotStrings),
            ("['a']", Form::Text),
            (r#"["a",]"#, Form::Text),
            (r#"["a"] x"#, Form::Text),
            ("echo", Form::Text),
        ];
        for (text, expected) in table {
            assert_eq!(form(text), expected, "{text}");
        }
    }
}
