//! HEALTHCHECK: a command with its timing, or none.

use std::time::Duration;

use super::super::ast::{Healthcheck, Instruction};
use super::super::duration::{self, DurationError};
use super::super::error::{ArgumentError, ParseError};
use super::super::flags::{Known, Options, Takes};
use super::super::json::{self, Form};
use super::Request;

/// ```text
/// healthcheck_flags ::= ("--interval=" | "--timeout=" | "--start-period=" | "--start-interval=") interval
///                     | "--retries=" retries
/// ```
const HEALTHCHECK_FLAGS: [Known; 5] = [
    ("interval", Takes::Text),
    ("timeout", Takes::Text),
    ("start-period", Takes::Text),
    ("start-interval", Takes::Text),
    ("retries", Takes::Text),
];

/// ```text
/// healthcheck ::= 'HEALTHCHECK' (blank+ healthcheck_flags)* blank+
///                 ('NONE' | 'CMD' blank+ (command_line - ("[" blanks "]")))
/// ```
///
/// Flags in front of NONE are not looked at, as the reference does not.
pub(super) fn healthcheck(request: &Request<'_>) -> Result<Instruction, ParseError> {
    request.need_argument("HEALTHCHECK")?;
    let end = request.rest.find(char::is_whitespace).unwrap_or(request.rest.len());
    let (word, command) = request.rest.split_at(end);
    let form = json::form(command);
    if form == Form::NotStrings {
        return Err(request.error(ArgumentError::NotStrings("HEALTHCHECK")));
    }
    let kind = word.to_uppercase();
    if kind == "NONE" {
        if !command.is_empty() && form != Form::Strings(Vec::new()) {
            return Err(request.error(ArgumentError::HealthcheckNone));
        }
        return Ok(Instruction::Healthcheck(Healthcheck {
            test: vec![kind],
            ..Healthcheck::default()
        }));
    }
    let options = Options::parse(request, &HEALTHCHECK_FLAGS)?;
    if kind != "CMD" {
        let kind = ArgumentError::HealthcheckKind(word.to_owned());
        return Err(request.argument_error(0..end, kind));
    }
    let mut test = match form {
        Form::Strings(args) => args,
        Form::Text | Form::NotStrings => {
            let text = command.trim_start();
            if text.is_empty() { Vec::new() } else { vec![text.to_owned()] }
        }
    };
    if test.is_empty() {
        return Err(request.error(ArgumentError::Missing("HEALTHCHECK CMD")));
    }
    let shell = !matches!(json::form(command), Form::Strings(_));
    test.insert(0, if shell { "CMD-SHELL" } else { "CMD" }.to_owned());
    Ok(Instruction::Healthcheck(Healthcheck {
        test,
        interval: interval(request, &options, "interval")?,
        timeout: interval(request, &options, "timeout")?,
        start_period: interval(request, &options, "start-period")?,
        start_interval: interval(request, &options, "start-interval")?,
        retries: retries(request, &options)?,
    }))
}

/// `interval ::= (duration - ([^#xA]* [#xB5#x3BC] [^#xA]*))?`
fn interval(
    request: &Request<'_>,
    options: &Options,
    flag: &'static str,
) -> Result<Duration, ParseError> {
    let Some((value, range)) = options.given(flag).filter(|(value, _)| !value.is_empty()) else {
        return Ok(Duration::ZERO);
    };
    let least = Duration::from_millis(1).as_nanos() as i64;
    let read = duration::duration(value).and_then(|nanoseconds| match nanoseconds {
        0 => Ok(Duration::ZERO),
        short if short < least => Err(DurationError::TooShort),
        enough => Ok(Duration::from_nanos(enough.unsigned_abs())),
    });
    read.map_err(|error| {
        request.line.error(range, ArgumentError::Duration { flag, value: value.to_owned(), error })
    })
}

/// `retries ::= ("+"? [0-9]+ | "-" "0"+)?`
fn retries(request: &Request<'_>, options: &Options) -> Result<u32, ParseError> {
    let Some((value, range)) = options.given("retries").filter(|(value, _)| !value.is_empty())
    else {
        return Ok(0);
    };
    let number = value.parse::<i32>().ok().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| request.line.error(range, ArgumentError::Retries(value.to_owned())))
}
