//! Durations as Go writes them: `1h30m`, `1.5s`, `-2ms`, `0`.
//!
//! Values are whole nanoseconds in 64 bits, with Go's rounding of fractions and its limits.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::{char, digit0};
use nom::combinator::{opt, value};
use nom::{IResult, Parser};

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It does not have the form of one.
    #[error("a number and a unit are needed")]
    Syntax,
    /// It does not fit into 64 bits of nanoseconds.
    #[error("it is too long")]
    Overflow,
    /// It is less than a millisecond, which a health check cannot be.
    #[error("it is shorter than 1ms")]
    TooShort,
}

impl DurationError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Syntax => "write it as `30s`, `1m30s` or `500ms`".into(),
            Self::Overflow => "use a shorter one".into(),
            Self::TooShort => "use `1ms` or more, or `0` to inherit".into(),
        })
    }
}

/// `duration ::= [+-]? ("0" | duration_part+)`
pub fn duration(text: &str) -> Result<i64, DurationError> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "0" {
        return Ok(0);
    }
    if unsigned.is_empty() {
        return Err(DurationError::Syntax);
    }
    let mut total: u64 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (after, (whole, fraction, unit)) =
            duration_part(rest).map_err(|_| DurationError::Syntax)?;
        if whole.is_empty() && fraction.is_none_or(str::is_empty) {
            return Err(DurationError::Syntax);
        }
        let part = nanoseconds(whole, fraction.unwrap_or_default(), unit)?;
        total = total.checked_add(part).filter(|t| *t <= LIMIT).ok_or(DurationError::Overflow)?;
        rest = after;
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| DurationError::Overflow)
}

/// The magnitude of the least 64-bit number.
const LIMIT: u64 = 1 << 63;

/// `duration_part ::= ([0-9]+ ("." [0-9]*)? | "." [0-9]+) unit`
fn duration_part(input: &str) -> IResult<&str, (&str, Option<&str>, u64)> {
    let fraction = opt((char('.'), digit0).map(|(_, digits)| digits));
    (digit0, fraction, unit).parse(input)
}

/// `unit ::= "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h"`
fn unit(input: &str) -> IResult<&str, u64> {
    let (rest, unit) = alt((
        value(1, tag("ns")),
        value(1_000, alt((tag("us"), tag("µs"), tag("μs")))),
        value(1_000_000, tag("ms")),
        value(1_000_000_000, tag("s")),
        value(60_000_000_000, tag("m")),
        value(3_600_000_000_000, tag("h")),
    ))
    .parse(input)?;
    // A unit reaches to the next digit or dot: `1sec` is no `1s`.
    if rest.starts_with(|c: char| c != '.' && !c.is_ascii_digit()) {
        let error = nom::error::Error::new(rest, nom::error::ErrorKind::Tag);
        return Err(nom::Err::Error(error));
    }
    Ok((rest, unit))
}

fn nanoseconds(whole: &str, fraction: &str, unit: u64) -> Result<u64, DurationError> {
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| DurationError::Overflow)?,
    };
    let whole = whole.checked_mul(unit).filter(|n| *n <= LIMIT).ok_or(DurationError::Overflow)?;
    let (mut numerator, mut scale) = (0_u64, 1_f64);
    for digit in fraction.bytes().map(|b| u64::from(b - b'0')) {
        // More digits than fit add nothing.
        match numerator.checked_mul(10).and_then(|n| n.checked_add(digit)).filter(|n| *n <= LIMIT) {
            Some(longer) => (numerator, scale) = (longer, scale * 10.0),
            None => break,
        }
    }
    let fraction = (numerator as f64 * (unit as f64 / scale)) as u64;
    whole.checked_add(fraction).filter(|n| *n <= LIMIT).ok_or(DurationError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::{DurationError, duration};

    #[test]
    fn forms() {
        let table = [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("5s", Ok(5_000_000_000)),
            ("1h2m3s", Ok(3_723_000_000_000)),
            (".5s", Ok(500_000_000)),
            ("1.s", Ok(1_000_000_000)),
            ("+1.5ms", Ok(1_500_000)),
            ("-2us", Ok(-2_000)),
            ("3µs", Ok(3_000)),
            ("3μs", Ok(3_000)),
            ("", Err(DurationError::Syntax)),
            ("-", Err(DurationError::Syntax)),
            ("3", Err(DurationError::Syntax)),
            (".s", Err(DurationError::Syntax)),
            ("1sec", Err(DurationError::Syntax)),
            ("1 s", Err(DurationError::Syntax)),
            ("9223372036854775807ns", Ok(i64::MAX)),
            ("9223372036854775808ns", Err(DurationError::Overflow)),
            ("-9223372036854775808ns", Ok(i64::MIN)),
            ("3000000h", Err(DurationError::Overflow)),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), expected, "{text}");
        }
    }
}
