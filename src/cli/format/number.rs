//! Numbers with fractions as Go's `strconv.FormatFloat` writes them.

/// Digits and exponent of the shortest decimal that is the number, or of one with that many digits: `d.ddd × 10^exponent`.
fn scientific(number: f64, digits: Option<usize>) -> (String, i32) {
    let text = match digits {
        None => format!("{:e}", number.abs()),
        Some(digits) => format!("{:.*e}", digits.max(1) - 1, number.abs()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn special(number: f64) -> Option<String> {
    match (number.is_nan(), number.is_infinite(), number > 0.0) {
        (true, ..) => Some("NaN".to_owned()),
        (_, true, positive) => Some(if positive { "+Inf" } else { "-Inf" }.to_owned()),
        _ => None,
    }
}

/// `%v` and `%g`: the shortest, or so many digits without the zeros at the end. An exponent is written below 10^-4, and
/// from 10^6 or where the digits end.
pub(super) fn compact(number: f64, digits: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let from = digits.map_or(6, |digits| i32::try_from(digits.max(1)).unwrap_or(i32::MAX));
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (mut mantissa, exponent) = scientific(number, digits);
    let kept = mantissa.trim_end_matches('0').len().max(1);
    mantissa.truncate(kept);
    if !(-4..from).contains(&exponent) {
        let rest = &mantissa[1..];
        let dot = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{}{dot}{rest}{}", &mantissa[..1], power(exponent));
    }
    let text = match usize::try_from(exponent) {
        Ok(whole) if mantissa.len() <= whole + 1 => {
            format!("{mantissa:0<width$}", width = whole + 1)
        }
        Ok(whole) => format!("{}.{}", &mantissa[..=whole], &mantissa[whole + 1..]),
        Err(_) => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            format!("0.{}{mantissa}", "0".repeat(zeros))
        }
    };
    format!("{sign}{text}")
}

/// `%e`: one digit, the others after a dot, and an exponent of two digits or more.
pub(super) fn exponential(number: f64, decimals: Option<usize>) -> String {
    if let Some(text) = special(number) {
        return text;
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (mantissa, exponent) = scientific(number, Some(decimals.unwrap_or(6) + 1));
    let rest = &mantissa[1..];
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{sign}{}{dot}{rest}{}", &mantissa[..1], power(exponent))
}

/// `%f`: no exponent.
pub(super) fn fixed(number: f64, decimals: Option<usize>) -> String {
    special(number).unwrap_or_else(|| format!("{:.*}", decimals.unwrap_or(6), number))
}

fn power(exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("e{sign}{:02}", exponent.unsigned_abs())
}
