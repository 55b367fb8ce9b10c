//! Names of variables, as words use them after `$` and `${`.
//!
//! Letters are those that Unicode calls alphabetic; the reference counts no combining vowel signs among them. It does
//! not look at what ENV and ARG define: they take any name.

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::satisfy;
use nom::combinator::recognize;
use nom::{IResult, Parser};

/// `name ::= digit+ | [@*#?$!-] | (letter | "_") (letter | digit | "_")*`
pub(super) fn name(input: &str) -> IResult<&str, &str> {
    let special = recognize(satisfy(|c| "@*#?-$!".contains(c)));
    let ordinary = recognize((
        satisfy(|c| c == '_' || letter(c)),
        take_while(|c| c == '_' || letter(c) || digit(c)),
    ));
    alt((take_while1(digit), special, ordinary)).parse(input)
}

/// `letter ::= [A-Za-z#xC0-#xD6#xD8-#xF6#xF8-#x24F#x391-#x3A1#x3A3-#x3C9#x410-#x44F#x4E00-#x9FFF]`
fn letter(c: char) -> bool {
    c.is_alphabetic() && !c.is_numeric()
}

/// ```text
/// digit ::= [0-9#x660-#x669#x6F0-#x6F9#x7C0-#x7C9#x966-#x96F#x9E6-#x9EF#xA66-#xA6F]
///         | [#xAE6-#xAEF#xB66-#xB6F#xE50-#xE59#xED0-#xED9#xF20-#xF29#xFF10-#xFF19]
/// ```
fn digit(c: char) -> bool {
    c.is_ascii_digit() || is_decimal(c)
}

/// Whether a character beyond ASCII is one of the decimal digits that people write: those come in runs of ten.
fn is_decimal(c: char) -> bool {
    const ZEROS: [u32; 12] = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0E50, 0x0ED0, 0x0F20,
        0xFF10,
    ];
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&u32::from(c)))
}
