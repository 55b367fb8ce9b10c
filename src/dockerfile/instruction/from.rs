//! FROM: the base of a stage, and its name.

use nom::bytes::complete::take_while;
use nom::character::complete::satisfy;
use nom::combinator::{all_consuming, recognize};
use nom::{IResult, Parser};

use super::super::ast::Stage;
use super::super::error::{ArgumentError, ParseError};
use super::super::flags::{Known, Options, Takes};
use super::{Request, doc_comment};

/// `from_flags ::= "--platform=" flag_value`
const FROM_FLAGS: [Known; 1] = [("platform", Takes::Text)];

/// `from ::= 'FROM' (blank+ from_flags)* blank+ word (blank+ 'AS' blank+ stage_name)?`
pub(super) fn from(request: &Request<'_>) -> Result<Stage, ParseError> {
    let words = request.words();
    let (base, name) = match words.as_slice() {
        [base] => (base, String::new()),
        [base, word, name] if word.text.eq_ignore_ascii_case("as") => {
            let lower = name.text.to_lowercase();
            if all_consuming(stage_name).parse(&lower).is_err() {
                let kind = ArgumentError::StageName(name.text.to_owned());
                return Err(request.argument_error(name.range.clone(), kind));
            }
            (base, lower)
        }
        _ => return Err(request.error(ArgumentError::From)),
    };
    let options = Options::parse(request, &FROM_FLAGS)?;
    Ok(Stage {
        doc: doc_comment(&request.line.comments, &name),
        name,
        base: base.text.to_owned(),
        platform: options.text("platform"),
        keyword: request.keyword.to_owned(),
        code: request.line.text.trim().to_owned(),
        flags: request.flags.iter().map(|flag| flag.text.clone()).collect(),
        comments: request.line.comments.clone(),
        span: request.line.whole(),
        commands: Vec::new(),
    })
}

/// `stage_name ::= [A-Za-z] [A-Za-z0-9_.-]*`
fn stage_name(input: &str) -> IResult<&str, &str> {
    let first = satisfy(|c| c.is_ascii_lowercase());
    let other = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    recognize((first, take_while(other))).parse(input)
}
