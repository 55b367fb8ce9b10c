//! The patterns of `${name#p}`, `${name%p}` and `${name/p/r}`: `*`, `?` and escapes, nothing else.
//!
//! A pattern matches at the leftmost place it can. Neither `*` nor `?` matches a line feed, because the reference
//! turns patterns into regular expressions in which `.` does not. Matching keeps the set of reachable places and so
//! takes time proportional to pattern times value, whatever the pattern.

use super::word::{WordError, bounded};

/// How much of a value a pattern takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// As little as it can.
    Shortest,
    /// As much as it can.
    Longest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Star,
    One,
    Literal(char),
}

/// ```text
/// pattern ::= ("*" | "?" | "\" [*?\] | escape [/}] | "$" name | "${" name "}" | ([^'"$\/}*?] - escape))*
/// ```
fn pattern(text: impl IntoIterator<Item = char>) -> Result<Vec<Token>, WordError> {
    let mut text = text.into_iter().peekable();
    if text.peek() == Some(&'\u{feff}') {
        text.next();
    }
    let mut tokens = Vec::new();
    while let Some(c) = text.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::One,
            '\\' if matches!(text.peek(), Some('}' | '/')) => continue,
            '\\' => match text.next() {
                Some(c @ ('*' | '?' | '\\')) => Token::Literal(c),
                other => return Err(WordError::PatternEscape(other.into_iter().collect())),
            },
            c => Token::Literal(c),
        });
    }
    tokens.dedup_by(|a, b| *a == Token::Star && *b == Token::Star);
    Ok(tokens)
}

/// Removes what the pattern matches at the start of a value.
pub(super) fn trim_prefix(text: &str, value: &str, extent: Extent) -> Result<String, WordError> {
    let tokens = pattern(text.chars())?;
    let value: Vec<char> = value.chars().collect();
    let end = match_at(&tokens, &value, extent).unwrap_or(0);
    Ok(value[end..].iter().collect())
}

/// Removes what the pattern matches at the end of a value: the same on both texts turned round.
pub(super) fn trim_suffix(text: &str, value: &str, extent: Extent) -> Result<String, WordError> {
    let tokens = pattern(reverse(text))?;
    let value: Vec<char> = value.chars().rev().collect();
    let end = match_at(&tokens, &value, extent).unwrap_or(0);
    Ok(value[end..].iter().rev().collect())
}

/// Turns a pattern round without tearing escapes apart.
fn reverse(text: &str) -> Vec<char> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        pairs.push((c, escaped));
    }
    pairs.into_iter().rev().flat_map(|(c, escaped)| std::iter::once(c).chain(escaped)).collect()
}

/// Replaces the leftmost match, as long as it can be.
pub(super) fn replace_first(text: &str, value: &str, with: &str) -> Result<String, WordError> {
    let tokens = pattern(text.chars())?;
    let value: Vec<char> = value.chars().collect();
    Ok(match find(&tokens, &value, 0) {
        Some((start, end)) => {
            let before: String = value[..start].iter().collect();
            before + with + &value[end..].iter().collect::<String>()
        }
        None => value.into_iter().collect(),
    })
}

/// Replaces every match; `$name` and `${name}` in the replacement mean what they mean to Go's regular expressions.
pub(super) fn replace_all(text: &str, value: &str, with: &str) -> Result<String, WordError> {
    let tokens = pattern(text.chars())?;
    let value: Vec<char> = value.chars().collect();
    let mut result = String::new();
    let (mut done, mut search) = (0, 0);
    while search <= value.len() {
        let Some((start, end)) = find(&tokens, &value, search) else { break };
        result.extend(&value[done..start]);
        // An empty match that touches the one before does not count.
        if end > done || start == 0 {
            fill(with, &value[start..end], &mut result)?;
        }
        done = end;
        search = if end > search { end } else { search + 1 };
    }
    result.extend(&value[done..]);
    Ok(result)
}

fn find(tokens: &[Token], value: &[char], from: usize) -> Option<(usize, usize)> {
    (from..=value.len()).find_map(|start| {
        match_at(tokens, &value[start..], Extent::Longest).map(|length| (start, start + length))
    })
}

/// Returns how much of the value's start the pattern matches.
fn match_at(tokens: &[Token], value: &[char], extent: Extent) -> Option<usize> {
    // The places that the tokens so far can reach, as a window of flags that starts at `first`.
    let mut reached = vec![0_usize];
    for token in tokens {
        let step = |at: &usize| match (token, value.get(*at)) {
            (Token::One, Some(c)) => (*c != '\n').then_some(at + 1),
            (Token::Literal(l), Some(c)) => (l == c).then_some(at + 1),
            (Token::One | Token::Literal(_), None) | (Token::Star, _) => None,
        };
        reached = match token {
            Token::Star => spread(&reached, value),
            Token::One | Token::Literal(_) => reached.iter().filter_map(step).collect(),
        };
        if reached.is_empty() {
            return None;
        }
    }
    match extent {
        Extent::Shortest => reached.first().copied(),
        Extent::Longest => reached.last().copied(),
    }
}

/// Returns every place that `*` reaches from the given ones, in order.
fn spread(reached: &[usize], value: &[char]) -> Vec<usize> {
    let mut all = Vec::new();
    for start in reached {
        let mut at = *start;
        if all.last().is_some_and(|last| *last >= at) {
            continue;
        }
        all.push(at);
        while value.get(at).is_some_and(|c| *c != '\n') {
            at += 1;
            all.push(at);
        }
    }
    all
}

/// Fills `$0` with the match and every other group, of which there are none, with nothing.
fn fill(template: &str, matched: &[char], result: &mut String) -> Result<(), WordError> {
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
            continue;
        }
        let (open, body) = rest.strip_prefix('{').map_or((false, rest), |body| (true, body));
        let length = body.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(body.len());
        let (name, after) = body.split_at(length);
        let after = if open { after.strip_prefix('}') } else { Some(after) };
        match after {
            Some(after) if !name.is_empty() => {
                rest = after;
                if name == "0" {
                    result.extend(matched);
                    bounded(result)?;
                }
            }
            Some(_) | None => result.push('$'),
        }
    }
    result.push_str(rest);
    bounded(result)
}
