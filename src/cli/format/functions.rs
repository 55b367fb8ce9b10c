//! The functions that a template may call: those of Go's `text/template` that make sense here, and docker's.

use super::ast::{Span, TemplateError};
use super::print;
use super::value::Value;

/// All of them; `and` and `or` are in `run.rs`, because they do not look at every argument.
const NAMES: [&str; 24] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
    "urlquery",
];

/// Returns whether there is such a function.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The error of a name that is none of them.
pub(super) fn unknown(name: &str, span: &Span) -> TemplateError {
    let names: Vec<_> = NAMES.iter().filter(|name| **name != "urlquery").copied().collect();
    TemplateError::new(span, format!("there is no function `{name}`")).hint(format!(
        "a field is written with a dot, as in `.{name}`; the functions are {}",
        names.join(", ")
    ))
}

/// Calls a function. In the heading of a table the functions that only change how a value looks leave it as it is.
pub(super) fn call(name: &str, args: &[Value], heading: bool) -> Result<Value, String> {
    match (name, args) {
        ("json" | "title" | "lower" | "upper", [only]) if heading => Ok(only.clone()),
        ("truncate", [only, _]) if heading => Ok(only.clone()),
        ("json", [only]) => Ok(only.json().into()),
        ("title", [only]) => Ok(title(&text(only)?).into()),
        ("lower", [only]) => Ok(text(only)?.to_lowercase().into()),
        ("upper", [only]) => Ok(text(only)?.to_uppercase().into()),
        ("split", [whole, by]) => Ok(split(&text(whole)?, &text(by)?)),
        ("join", [list, by]) => join(list, &text(by)?),
        ("pad", [only, before, after]) => pad(only, before, after),
        ("truncate", [only, length]) => truncate(only, length),
        ("urlquery", args) => Ok(url_query(&print::print(args)).into()),
        ("len", [only]) => length(only),
        ("index", [of, keys @ ..]) => keys.iter().try_fold(of.clone(), |of, key| index(&of, key)),
        ("slice", [of, bounds @ ..]) if bounds.len() <= 3 => slice(of, bounds),
        ("print", args) => Ok(print::print(args).into()),
        ("println", args) => Ok(print::println(args).into()),
        ("printf", [format, args @ ..]) => Ok(print::printf(&text(format)?, args).into()),
        ("not", [only]) => Ok(Value::Bool(!only.is_true())),
        ("eq", [first, others @ ..]) if !others.is_empty() => equal(first, others),
        ("ne", [a, b]) => Ok(Value::Bool(!are_equal(a, b)?)),
        ("lt", [a, b]) => Ok(Value::Bool(is_less(a, b)?)),
        ("le", [a, b]) => Ok(Value::Bool(is_less(a, b)? || are_equal(a, b)?)),
        ("gt", [a, b]) => Ok(Value::Bool(is_less(b, a)?)),
        ("ge", [a, b]) => Ok(Value::Bool(is_less(b, a)? || are_equal(a, b)?)),
        (name, args) => Err(format!("`{name}` takes {}, not {}", wants(name), args.len())),
    }
}

fn wants(name: &str) -> &'static str {
    match name {
        "json" | "title" | "lower" | "upper" | "len" | "not" => "one argument",
        "split" | "join" | "truncate" | "ne" | "lt" | "le" | "gt" | "ge" => "two arguments",
        "pad" => "three arguments",
        "slice" => "one argument to four",
        "eq" => "two arguments or more",
        _ => "one argument or more",
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) => Ok(text.to_string()),
        other => Err(format!("{} stands where a text is expected", other.kind())),
    }
}

fn count(value: &Value) -> Result<usize, String> {
    match value {
        Value::Int(number) => usize::try_from(*number)
            .map_err(|_| format!("`{number}` stands where a count is expected")),
        other => Err(format!("{} stands where a number is expected", other.kind())),
    }
}

/// Makes the first letter of every word a capital.
fn title(text: &str) -> String {
    let mut previous = ' ';
    let letter = |c: char| {
        let separated = match previous {
            p if p.is_ascii() => !(p.is_ascii_alphanumeric() || p == '_'),
            p => p.is_whitespace(),
        };
        previous = c;
        if separated { c.to_uppercase().to_string() } else { c.to_string() }
    };
    text.chars().map(letter).collect()
}

fn split(whole: &str, by: &str) -> Value {
    match by {
        "" => Value::list(whole.chars().map(String::from)),
        by => Value::list(whole.split(by)),
    }
}

fn join(list: &Value, by: &str) -> Result<Value, String> {
    match list {
        Value::List(items) => {
            let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
            Ok(texts.join(by).into())
        }
        other => Err(format!("{} stands where a list is expected", other.kind())),
    }
}

/// The longest run of spaces.
const MOST_SPACES: usize = 10_000;

fn pad(value: &Value, before: &Value, after: &Value) -> Result<Value, String> {
    let spaces = |value| Ok::<_, String>(" ".repeat(count(value)?.min(MOST_SPACES)));
    match text(value)? {
        empty if empty.is_empty() => Ok(empty.into()),
        text => Ok(format!("{}{text}{}", spaces(before)?, spaces(after)?).into()),
    }
}

fn truncate(value: &Value, length: &Value) -> Result<Value, String> {
    let (text, length) = (text(value)?, count(length)?);
    Ok(text[..text.floor_char_boundary(length)].into())
}

fn url_query(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("{} has no length", other.kind())),
    };
    Ok((length as u64).into())
}

fn index(of: &Value, key: &Value) -> Result<Value, String> {
    match of {
        Value::List(list) => {
            let at = count(key)?;
            let beyond = || format!("there is no element `{at}`: the list has {}", list.len());
            list.get(at).cloned().ok_or_else(beyond)
        }
        Value::Text(text) => {
            let at = count(key)?;
            let byte = text.as_bytes().get(at);
            byte.map(|byte| Value::Int((*byte).into()))
                .ok_or_else(|| format!("there is no byte `{at}`: the text has {}", text.len()))
        }
        Value::Map(map) => Ok(match map.get(&*text(key)?) {
            Some(value) => value.clone(),
            // A map of texts, as labels are, has an empty one under every other key.
            None if map.values().all(|value| matches!(value, Value::Text(_))) => "".into(),
            None => Value::Null,
        }),
        Value::Record(fields) => {
            let name = text(key)?;
            let found = fields.iter().find(|field| field.name == name);
            found
                .map(|field| field.value.clone())
                .ok_or_else(|| format!("there is no field `{name}`"))
        }
        other => Err(format!("{} has no elements", other.kind())),
    }
}

fn slice(of: &Value, bounds: &[Value]) -> Result<Value, String> {
    let length = match of {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        other => return Err(format!("{} has no parts", other.kind())),
    };
    let bounds = bounds.iter().map(count).collect::<Result<Vec<_>, _>>()?;
    let from = bounds.first().copied().unwrap_or(0);
    let to = bounds.get(1).copied().unwrap_or(length);
    if from > to || to > length || bounds.get(2).is_some_and(|most| *most < to || *most > length) {
        return Err(format!("there is no part `{from}` to `{to}`: the length is {length}"));
    }
    match of {
        Value::List(list) => Ok(Value::List(list[from..to].into())),
        Value::Text(_) if bounds.len() > 2 => Err("a text is cut at two places only".to_owned()),
        Value::Text(text) => {
            Ok(String::from_utf8_lossy(&text.as_bytes()[from..to]).as_ref().into())
        }
        _ => Ok(Value::Null),
    }
}

fn equal(first: &Value, others: &[Value]) -> Result<Value, String> {
    for other in others {
        if are_equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn are_equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Null, _)
        | (_, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Int(_), Value::Int(_))
        | (Value::Float(_), Value::Float(_))
        | (Value::Text(_), Value::Text(_)) => Ok(a == b),
        (a, b) => Err(incomparable(a, b)),
    }
}

fn is_less(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Ok(a < b),
        (Value::Float(a), Value::Float(b)) => Ok(a < b),
        (Value::Text(a), Value::Text(b)) => Ok(a < b),
        (a, b) => Err(incomparable(a, b)),
    }
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("{} cannot be compared with {}", a.kind(), b.kind())
}
