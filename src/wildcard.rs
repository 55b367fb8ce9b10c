//! Go's `filepath.Match` and `filepath.Clean` on Linux, exactly: the rules by which COPY resolves wildcards and
//! ignore files are cleaned.
//!
//! `*` and `?` never match `/`; `[…]` holds characters and ranges, negated by `^`; `\` takes the next character as it
//! is. Whether a pattern is malformed is found out only as far as the match needs it, plus a check of the rest of
//! the pattern after a mismatch. It touches no file.

/// A malformed pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed pattern")]
pub struct BadPattern;

/// Says whether a name matches a pattern in full.
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let (mut pattern, mut name) = (pattern, name);
    'pattern: while !pattern.is_empty() {
        let (star, chunk, rest) = scan_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains('/'));
        }
        let found = match_chunk(chunk, name)?;
        if let Some(after) = found
            && (after.is_empty() || !pattern.is_empty())
        {
            name = after;
            continue;
        }
        if star {
            let skips = name.char_indices().take_while(|(_, c)| *c != '/');
            for start in skips.map(|(at, c)| at + c.len_utf8()) {
                let Some(after) = match_chunk(chunk, &name[start..])? else { continue };
                // The last chunk must use up the name.
                if pattern.is_empty() && !after.is_empty() {
                    continue;
                }
                name = after;
                continue 'pattern;
            }
        }
        check_rest(pattern)?;
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Finds mistakes in what the match did not reach.
fn check_rest(mut pattern: &str) -> Result<(), BadPattern> {
    while !pattern.is_empty() {
        let (_, chunk, rest) = scan_chunk(pattern);
        match_chunk(chunk, "")?;
        pattern = rest;
    }
    Ok(())
}

/// Splits off stars and the text up to the next star outside of brackets.
fn scan_chunk(pattern: &str) -> (bool, &str, &str) {
    let text = pattern.trim_start_matches('*');
    let star = text.len() != pattern.len();
    let mut in_range = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'[' => in_range = true,
            b']' => in_range = false,
            b'*' if !in_range => return (star, &text[..at], &text[at..]),
            _ => {}
        }
    }
    (star, text, "")
}

/// Matches a text without stars; returns what is left of the name.
fn match_chunk<'n>(chunk: &str, name: &'n str) -> Result<Option<&'n str>, BadPattern> {
    let (mut chunk, mut name) = (chunk, name);
    // After a mismatch the chunk is still read to its end, to find mistakes in it.
    let mut failed = false;
    while let Some(c) = chunk.chars().next() {
        failed |= name.is_empty();
        let next = if failed { None } else { name.chars().next() };
        match c {
            '[' => {
                let (matched, rest) = class(&chunk[1..], next)?;
                failed |= !matched;
                chunk = rest;
            }
            '?' => {
                failed |= next == Some('/');
                chunk = &chunk[1..];
            }
            _ => {
                let text = if c == '\\' { &chunk[1..] } else { chunk };
                let literal = text.chars().next().ok_or(BadPattern)?;
                failed |= next != Some(literal);
                chunk = &text[literal.len_utf8()..];
            }
        }
        name = &name[next.map_or(0, char::len_utf8)..];
    }
    Ok((!failed).then_some(name))
}

/// Matches a character against a class whose `[` was read; returns what follows `]`.
///
/// `class ::= "[" "^"? (class_member ("-" class_member)?)+ "]"`
fn class(class: &str, c: Option<char>) -> Result<(bool, &str), BadPattern> {
    let (negated, mut class) = class.strip_prefix('^').map_or((false, class), |rest| (true, rest));
    let mut matched = false;
    let mut ranges = 0;
    loop {
        if let Some(rest) = class.strip_prefix(']')
            && ranges > 0
        {
            return Ok((matched != negated, rest));
        }
        let (low, rest) = class_member(class)?;
        let (high, rest) = match rest.strip_prefix('-') {
            Some(rest) => class_member(rest)?,
            None => (low, rest),
        };
        matched |= c.is_some_and(|c| low <= c && c <= high);
        class = rest;
        ranges += 1;
    }
}

/// Reads one possibly escaped character of a class, which must not be the end of the pattern.
///
/// ```text
/// class_member ::= "\" [#x21-#x2E#x3A-#x40#x5B-#x60#x7B-#x7E]
///                | [^\#x5B#x5D^*?/#x9-#xD#x20#x85#xA0#x1680#x2000-#x200A#x2028#x2029#x202F#x205F#x3000-]
/// ```
fn class_member(class: &str) -> Result<(char, &str), BadPattern> {
    let text = match class.chars().next() {
        None | Some('-' | ']') => return Err(BadPattern),
        Some('\\') => &class[1..],
        Some(_) => class,
    };
    let c = text.chars().next().ok_or(BadPattern)?;
    let rest = &text[c.len_utf8()..];
    if rest.is_empty() { Err(BadPattern) } else { Ok((c, rest)) }
}

/// Returns whether a text has a wildcard that is not escaped.
pub fn has_wildcards(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Returns the shortest path that means the same by its text alone.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::{BadPattern, clean, matches};

    #[test]
    fn patterns() {
        let table = [
            ("*.go", "a.go", Ok(true)),
            ("*", "a/b", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("[^a]", "/", Ok(true)),
            ("a[", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("[]a]", "]", Err(BadPattern)),
            ("[a-", "a", Err(BadPattern)),
            ("\\*", "*", Ok(true)),
            ("\\", "a", Err(BadPattern)),
            ("a\u{e9}?", "aéü", Ok(true)),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn cleaning() {
        let table = [
            ("", "."),
            ("./a//b/", "a/b"),
            ("a/../..", ".."),
            ("/..", "/"),
            ("/a/./b/..", "/a"),
            ("../../a", "../../a"),
        ];
        for (path, expected) in table {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
