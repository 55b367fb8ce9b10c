//! The constraints that stand as `[ wfc: … ]` after productions: what a grammar cannot say.
//!
//! Those in [`STATEFUL`] are about more than the text of one production; `generate.rs` keeps them. All others are
//! decided here, by the text alone. `grammar/README.md` says in words what each one asks for.

use std::net::IpAddr;

use kiln::wildcard;
use serde_json::Value;

use super::ebnf::{FILES, Grammar};
use super::recognise::matches;

/// Constraints that depend on what stands elsewhere in the file.
pub(crate) const STATEFUL: [&str; 3] = ["once", "markers", "delimiter"];

/// What a production derived, and where.
pub(crate) struct Part<'t> {
    pub(crate) production: &'t str,
    pub(crate) text: &'t str,
    /// What follows.
    pub(crate) after: &'t str,
    /// The escape character in force.
    pub(crate) escape: char,
}

/// Says whether a part obeys a constraint; the stateful ones count as obeyed.
pub(crate) fn holds(grammar: &Grammar, constraint: &str, part: &Part<'_>) -> bool {
    let text = part.text;
    if let Some(most) = constraint.strip_prefix("at most ") {
        let number = text.trim_start_matches(['+', '-']);
        return number.is_empty()
            || number.parse::<u128>().is_ok_and(|n| n <= most.parse().unwrap());
    }
    match constraint {
        "in force" => text.starts_with(part.escape),
        "no other array" | "no empty member" | "destination" => {
            let arguments = match part.production {
                "volume" => text.trim_start_matches(|c| !blank(c)).trim_start_matches(blank),
                _ => text,
            };
            json(constraint, arguments)
        }
        "1ms or more" => {
            let nanoseconds = nanoseconds(text);
            nanoseconds == 0.0 || nanoseconds >= 1e6
        }
        "64 bits" => nanoseconds(text).abs() < 9.2e18,
        "a number but zero" => {
            let number = text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
            !number || text.parse::<i64>().is_ok_and(|number| number != 0)
        }
        "one name" => fields(text).filter(|(key, _)| key != "required").count() <= 1,
        "for its type" => mount(text),
        "an IP address" => ip(text),
        "ascending" if part.production == "class" => class(text),
        "ascending" => range(text).is_none_or(|(low, high)| low <= high),
        "ranges pair up" => port(text),
        "lone dollar" => {
            let begins_more = |c: char| c.is_alphanumeric() || "_{@*#?$!-".contains(c);
            text != "$" || !part.after.starts_with(begins_more)
        }
        "more than the root" => !negates_the_root(text),
        "domain" => domain(grammar, text),
        "path" => path_length(text) <= 255,
        "no identifier" => {
            text.len() != 64 || !text.bytes().all(|b| b"0123456789abcdef".contains(&b))
        }
        "128 characters" => text.len() <= 128,
        "64 digits" => text.len() == "sha256:".len() + 64,
        _ => {
            assert!(STATEFUL.contains(&constraint), "`{constraint}` is not a constraint");
            true
        }
    }
}

fn blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

fn json(constraint: &str, text: &str) -> bool {
    // Half of a surrogate pair is a character of the language, but not of this reader.
    let mut text = text.to_owned();
    for (d, digit) in ["d", "D"].iter().flat_map(|d| "89abcdefABCDEF".chars().map(move |c| (d, c)))
    {
        text = text.replace(&format!("\\u{d}{digit}"), "\\u0a");
    }
    let array: Option<Vec<Value>> = serde_json::from_str(&text).ok();
    let strings: Option<Vec<&str>> =
        array.as_ref().and_then(|array| array.iter().map(Value::as_str).collect());
    match constraint {
        "no other array" => array.is_none() || strings.is_some(),
        "no empty member" => {
            strings.is_none_or(|members| members.iter().all(|it| !it.trim().is_empty()))
        }
        _ => strings.is_none_or(|members| {
            members.len() >= 2 && members.last().is_some_and(|last| !last.contains("<<"))
        }),
    }
}

/// The magnitude of a duration, roughly, with its sign.
fn nanoseconds(text: &str) -> f64 {
    let unsigned = text.trim_start_matches(['+', '-']);
    let mut total = 0.0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let number = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let scale = match &after[..unit] {
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 6e10,
            "h" => 3.6e12,
            _ => 1.0,
        };
        total += digits.parse::<f64>().unwrap() * scale;
        rest = &after[unit..];
    }
    if text.starts_with('-') { -total } else { total }
}

/// Keys in lower case and values of a list with commas.
fn fields(text: &str) -> impl Iterator<Item = (String, &str)> {
    text.split(',').map(|field| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        (key.to_lowercase(), value)
    })
}

/// Which options each type of mount takes, and that the type stands before `size` and `required`.
fn mount(text: &str) -> bool {
    let mut kind = "bind".to_owned();
    for (key, value) in fields(text) {
        match key.as_str() {
            "type" => kind = value.to_lowercase(),
            "size" if kind != "tmpfs" => return false,
            "required" if kind != "secret" && kind != "ssh" => return false,
            _ => {}
        }
    }
    let given = |names: &[&str]| fields(text).any(|(key, _)| names.contains(&key.as_str()));
    // Of an option that is given again the last one counts.
    let named = |names: &[&str]| {
        let last = fields(text).filter(|(key, _)| names.contains(&key.as_str())).last();
        last.is_some_and(|(_, value)| !value.is_empty())
    };
    let (id, source) = (named(&["id"]), named(&["source", "src"]));
    let target = named(&["target", "dst", "destination"]);
    let owned = matches!(kind.as_str(), "cache" | "secret" | "ssh");
    (owned || !given(&["mode", "uid", "gid"]))
        && (kind == "cache" || !given(&["sharing"]))
        && (kind != "secret" || !named(&["from"]) && (id || source || target) && !(id && source))
}

fn ip(text: &str) -> bool {
    let inner = match text.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']'),
        None => Some(text),
    };
    inner.is_some_and(|inner| inner.parse::<IpAddr>().is_ok())
}

/// Two numbers with a dash between them, if there are two.
fn range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| text.trim_start_matches('+').parse::<u32>();
    let (low, high) = text.split_once('-')?;
    Some((number(low).ok()?, number(high).ok()?))
}

/// A range of host ports is as long as the range of ports, or there is one port.
fn port(text: &str) -> bool {
    let mut parts = text.rsplit(':').map(|part| part.split('/').next().unwrap());
    let length = |part: Option<&str>| part.and_then(range).map_or(0, |(low, high)| high - low);
    let container = length(parts.next());
    let host = parts.next().filter(|host| !host.is_empty());
    container == 0 || host.is_none() || container == length(host)
}

/// The ranges of a class do not go down.
fn class(text: &str) -> bool {
    let inside = &text[1..text.len() - 1];
    let mut chars = inside.strip_prefix('^').unwrap_or(inside).chars().peekable();
    let member = |first: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        if first == '\\' { rest.next().unwrap() } else { first }
    };
    while let Some(first) = chars.next() {
        let low = member(first, &mut chars);
        if chars.next_if_eq(&'-').is_some() {
            let first = chars.next().unwrap();
            if member(first, &mut chars) < low {
                return false;
            }
        }
    }
    true
}

/// `!/` and what is the same.
fn negates_the_root(line: &str) -> bool {
    let pattern = line.trim().strip_prefix('!');
    pattern.is_some_and(|pattern| wildcard::clean(pattern.trim()) == "/")
}

/// What looks like a domain is a host, and what does not begins the path.
fn domain(grammar: &Grammar, text: &str) -> bool {
    let is = |production: &str, text: &str| matches(grammar, production, text, '\\');
    match split_domain(text) {
        Some((first, rest)) => is("host_and_port", first) && is("remote", rest),
        None => is("remote", text),
    }
}

fn split_domain(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(first, _)| {
        *first == "localhost" || first.contains(['.', ':']) || first.contains(char::is_uppercase)
    })
}

/// The length of the completed path.
fn path_length(text: &str) -> usize {
    let (domain, rest) = split_domain(text).unwrap_or(("docker.io", text));
    let path = rest.split([':', '@']).next().unwrap();
    let hub = matches!(domain, "docker.io" | "index.docker.io");
    path.len() + if hub && !path.contains('/') { "library/".len() } else { 0 }
}

/// All constraints of all grammars are decided somewhere and told of in the README.
#[test]
fn every_constraint_is_known_and_told_of() {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/grammar/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once("\n## Constraints\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let mut told: Vec<&str> = rows.map(|(name, _)| name).collect();
    let mut used = Vec::new();
    for grammar in FILES.map(Grammar::load) {
        for production in &grammar.productions {
            for constraint in &production.constraints {
                let name =
                    if constraint.starts_with("at most ") { "at most N" } else { constraint };
                used.push(name.to_owned());
            }
        }
    }
    used.sort();
    used.dedup();
    told.sort_unstable();
    assert_eq!(used, told, "constraints in grammar/*.ebnf against the table in grammar/README.md");
}
