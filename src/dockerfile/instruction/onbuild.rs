//! ONBUILD: an instruction kept as text for the images built on this one.

use super::super::ast::Instruction;
use super::super::error::{ArgumentError, ParseError};
use super::super::flags::Options;
use super::super::split;
use super::{Request, arguments};

/// `onbuild ::= 'ONBUILD' blank+ trigger`
pub(super) fn onbuild(request: &Request<'_>) -> Result<Instruction, ParseError> {
    request.need_argument("ONBUILD")?;
    Options::parse(request, &[])?;
    let trigger = split::instruction(request.rest, request.escape);
    let keyword = trigger.keyword.to_uppercase();
    if ["ONBUILD", "MAINTAINER", "FROM"].contains(&keyword.as_str()) {
        let range = trigger.keyword_range.clone();
        return Err(request.argument_error(range, ArgumentError::Trigger(keyword)));
    }
    check_trigger(request, &trigger)?;
    let mut text = without_keyword(&request.line.text).to_owned();
    for heredoc in request.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    Ok(Instruction::Onbuild(text))
}

/// Reports what the reference reports when it reads the trigger's words; the rest waits until the trigger runs.
fn check_trigger(request: &Request<'_>, trigger: &split::Parts<'_>) -> Result<(), ParseError> {
    let inner = Request {
        line: request.line,
        escape: request.escape,
        keyword: trigger.keyword,
        keyword_range: request.rest_start + trigger.keyword_range.start
            ..request.rest_start + trigger.keyword_range.end,
        flags: &[],
        rest: trigger.rest,
        rest_start: request.rest_start + trigger.rest_start,
        heredocs: request.heredocs,
    };
    match arguments(&inner) {
        Err(error) if is_lexical(&error) => Err(error),
        Err(_) | Ok(_) => Ok(()),
    }
}

fn is_lexical(error: &ParseError) -> bool {
    use super::super::error::ParseErrorKind::Argument;
    matches!(
        *error.kind,
        Argument(
            ArgumentError::NotStrings(_) | ArgumentError::NoValue(_) | ArgumentError::NotPair(_)
        )
    )
}

/// Removes the keyword as the reference does, flags and all that follow it kept.
fn without_keyword(text: &str) -> &str {
    let blank = |c: char| matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ');
    let text = text.trim_start_matches(blank);
    match text.get(.."ONBUILD".len()) {
        Some(word) if word.eq_ignore_ascii_case("ONBUILD") => {
            text["ONBUILD".len()..].trim_start_matches(blank)
        }
        Some(_) | None => text,
    }
}
