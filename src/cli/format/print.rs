//! `print`, `println` and `printf` as Go's `fmt` has them.

use std::iter::Peekable;
use std::slice::Iter;
use std::str::Chars;

use super::number;
use super::value::{Field, Value};

/// Values one after the other, with a space between two that are both no texts.
pub(super) fn print(args: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in args.iter().enumerate() {
        let is_text = |value: &Value| matches!(value, Value::Text(_));
        if index > 0 && !is_text(value) && !is_text(&args[index - 1]) {
            out.push(' ');
        }
        out.push_str(&value.to_string());
    }
    out
}

/// Values with a space between them and a line end after them.
pub(super) fn println(args: &[Value]) -> String {
    let shown: Vec<_> = args.iter().map(ToString::to_string).collect();
    format!("{}\n", shown.join(" "))
}

/// The largest width or precision; a larger one is an error in the text, as for Go, whose bound is higher.
const WIDEST: usize = 10_000;

/// How a verb wants its value.
#[derive(Debug, Clone, Copy, Default)]
struct Spec {
    left: bool,
    plus: bool,
    /// Whether fields of records are named.
    names: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// A format with its verbs filled in. What does not fit is told in the text, as `%!d(string=x)`.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let spec = spec(&mut chars, &mut args, &mut out);
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match args.next() {
                // A plus before `v` asks for names, not for signs.
                Some(value) if verb == 'v' && spec.plus => {
                    let spec = Spec { plus: false, names: true, ..spec };
                    out.push_str(&formatted(spec, verb, value));
                }
                Some(value) => out.push_str(&formatted(spec, verb, value)),
                None => out.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
    }
    let left: Vec<_> = args.map(typed).collect();
    if !left.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", left.join(", ")));
    }
    out
}

fn spec(chars: &mut Peekable<Chars<'_>>, args: &mut Iter<'_, Value>, out: &mut String) -> Spec {
    let mut spec = Spec::default();
    while let Some(c) = chars.next_if(|c| matches!(c, '-' | '+' | '#' | ' ' | '0')) {
        match c {
            '-' => spec.left = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            _ => spec.zero = true,
        }
    }
    let (width, negative) = size(chars, args, "WIDTH", out);
    spec.width = width;
    spec.left |= negative;
    spec.zero &= !spec.left;
    if chars.next_if_eq(&'.').is_some() {
        let (precision, negative) = size(chars, args, "PREC", out);
        spec.precision = if negative { None } else { Some(precision.unwrap_or(0)) };
    }
    spec
}

/// Reads a number, or takes one from the arguments for `*`.
fn size(
    chars: &mut Peekable<Chars<'_>>,
    args: &mut Iter<'_, Value>,
    what: &str,
    out: &mut String,
) -> (Option<usize>, bool) {
    if chars.next_if_eq(&'*').is_some() {
        let given = match args.next() {
            Some(Value::Int(number)) => usize::try_from(number.unsigned_abs())
                .ok()
                .filter(|size| *size <= WIDEST)
                .map(|size| (size, *number < 0)),
            _ => None,
        };
        if given.is_none() {
            out.push_str(&format!("%!(BAD{what})"));
        }
        return (given.map(|(size, _)| size), given.is_some_and(|(_, negative)| negative));
    }
    let mut size = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        size = Some(size.unwrap_or(0) * 10 + digit as usize).map(|size| size.min(WIDEST));
    }
    (size, false)
}

fn formatted(spec: Spec, verb: char, value: &Value) -> String {
    if verb == 'T' {
        return padded(spec, type_name(value).to_owned(), false);
    }
    match value {
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(|item| formatted(spec, verb, item)).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Map(map) => {
            let pair = |(name, item): (&String, _)| {
                format!(
                    "{}:{}",
                    formatted(spec, verb, &name.as_str().into()),
                    formatted(spec, verb, item)
                )
            };
            format!("map[{}]", map.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Value::Record(fields) => {
            let item = |field: &Field| match spec.names {
                true => format!("{}:{}", field.name, formatted(spec, verb, &field.value)),
                false => formatted(spec, verb, &field.value),
            };
            format!("{{{}}}", fields.iter().map(item).collect::<Vec<_>>().join(" "))
        }
        Value::Text(text) => of_text(spec, verb, text),
        Value::Int(whole) => of_int(spec, verb, *whole),
        Value::Float(float) => of_float(spec, verb, *float),
        Value::Bool(it) if matches!(verb, 't' | 'v') => padded(spec, it.to_string(), false),
        Value::Null if verb == 'v' => padded(spec, "<nil>".to_owned(), false),
        Value::Null | Value::Bool(_) => misfit(verb, value),
    }
}

fn of_text(spec: Spec, verb: char, text: &str) -> String {
    let cut = |text: &str| match spec.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_owned(),
    };
    match verb {
        's' | 'v' if spec.sharp && verb == 'v' => padded(spec, quoted(text), false),
        's' | 'v' => padded(spec, cut(text), false),
        'q' => padded(spec, quoted(&cut(text)), false),
        'x' | 'X' => {
            let bytes = text.bytes().take(spec.precision.unwrap_or(usize::MAX));
            let hex =
                |byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
            let separator = if spec.space { " " } else { "" };
            padded(spec, bytes.map(hex).collect::<Vec<_>>().join(separator), false)
        }
        verb => misfit(verb, &text.into()),
    }
}

fn of_int(spec: Spec, verb: char, whole: i64) -> String {
    let magnitude = whole.unsigned_abs();
    let (prefix, digits) = match verb {
        'd' | 'v' => ("", magnitude.to_string()),
        'x' => (if spec.sharp { "0x" } else { "" }, format!("{magnitude:x}")),
        'X' => (if spec.sharp { "0X" } else { "" }, format!("{magnitude:X}")),
        'o' => (if spec.sharp { "0" } else { "" }, format!("{magnitude:o}")),
        'b' => (if spec.sharp { "0b" } else { "" }, format!("{magnitude:b}")),
        'c' | 'q' => {
            let c = u32::try_from(whole).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let text = if verb == 'c' { c.to_string() } else { quoted_char(c) };
            return padded(spec, text, false);
        }
        verb => return misfit(verb, &Value::Int(whole)),
    };
    let least = spec.precision.unwrap_or(0);
    let digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    let text = format!("{}{prefix}{digits}", sign(spec, whole < 0));
    padded(spec, text, spec.precision.is_none())
}

fn of_float(spec: Spec, verb: char, float: f64) -> String {
    let text = match verb {
        'v' | 'g' => number::compact(float.abs(), spec.precision),
        'f' | 'F' => number::fixed(float.abs(), spec.precision),
        'e' => number::exponential(float.abs(), spec.precision),
        verb => return misfit(verb, &Value::Float(float)),
    };
    padded(spec, format!("{}{text}", sign(spec, float.is_sign_negative())), true)
}

fn sign(spec: Spec, negative: bool) -> &'static str {
    match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (.., true) => " ",
        _ => "",
    }
}

/// Fills up to the width; numbers with zeros after the sign, if asked for.
fn padded(spec: Spec, text: String, is_number: bool) -> String {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    match (spec.left, spec.zero) {
        _ if missing == 0 => text,
        (true, _) => format!("{text}{}", " ".repeat(missing)),
        (_, true) if is_number => {
            let digits = text.trim_start_matches(['+', '-', ' ']);
            let sign = &text[..text.len() - digits.len()];
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        (_, true) => format!("{}{text}", "0".repeat(missing)),
        _ => format!("{}{text}", " ".repeat(missing)),
    }
}

/// Quotes a text as Go's source does.
fn quoted(text: &str) -> String {
    let inner: String = text.chars().map(|c| escaped(c, '"')).collect();
    format!("\"{inner}\"")
}

fn quoted_char(c: char) -> String {
    format!("'{}'", escaped(c, '\''))
}

fn escaped(c: char, quote: char) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        c if c == quote => format!("\\{c}"),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        c if c < ' ' || c == '\u{7f}' => format!("\\x{:02x}", u32::from(c)),
        c if c.is_control() || is_hidden(c) => match u32::from(c) {
            code @ ..0x1_0000 => format!("\\u{code:04x}"),
            code => format!("\\U{code:08x}"),
        },
        c => c.to_string(),
    }
}

/// Returns whether Go takes a character for not printable: spaces but the plain one, marks of direction and the like.
fn is_hidden(c: char) -> bool {
    c != ' '
        && (c.is_whitespace()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
}

fn misfit(verb: char, value: &Value) -> String {
    format!("%!{verb}({})", typed(value))
}

fn typed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        value => format!("{}={value}", type_name(value)),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Text(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        Value::Record(_) => "struct",
    }
}
