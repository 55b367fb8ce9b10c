//! Ignore files: reading them, and matching paths against their patterns.
//!
//! Patterns are read top to bottom and the last one that matches decides; one that matches a directory matches all
//! below it; `!` takes a path back in, also beneath an ignored directory. The same matcher serves `COPY --exclude`
//! and `COPY --parents`.
//!
//! A walk hands the [`Parents`] of a directory down to its children, so no pattern is tried again that already matched
//! further up, and asks [`Matcher::can_prune`] whether an ignored directory need be entered at all. Invariant: a walk
//! that prunes finds what one that enters every directory would find. It reads no file and never sees whether a path
//! is a directory.

mod pattern;
mod program;

use crate::wildcard;
use pattern::Pattern;

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A line passes the limit.
    #[error("line {0} of the ignore file is longer than 65535 bytes")]
    LineTooLong(usize),
    /// `!` with nothing behind it.
    #[error("`!` is followed by no pattern")]
    Empty,
    /// A pattern with a mistake in it.
    #[error("`{0}` is not a pattern")]
    Malformed(String),
}

impl IgnoreError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::LineTooLong(_) => None,
            Self::Empty => Some("remove the line, or write `!pattern`".into()),
            Self::Malformed(_) => {
                Some("write `\\[` for a bracket, and close those that open a class".into())
            }
        }
    }
}

/// Returns the patterns of an ignore file, cleaned.
///
/// `patterns ::= #xFEFF? ("#" [^#xA]* #xA | (ignore_line - ([##xFEFF] [^#xA]*)) #xA)*`
pub fn patterns(text: &[u8]) -> Result<Vec<String>, IgnoreError> {
    const LONGEST_LINE: usize = 65535;
    let mut patterns = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        if line.len() > LONGEST_LINE {
            return Err(IgnoreError::LineTooLong(number + 1));
        }
        let line =
            if number == 0 { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) } else { line };
        // A blank before `#` makes a pattern of it.
        if line.first() != Some(&b'#') {
            patterns.extend(ignore_line(&String::from_utf8_lossy(line)));
        }
    }
    Ok(patterns)
}

/// ```text
/// ignore_line ::= [#x9#xB-#xD#x20]*
///                 ("!"? [#x9#xB-#xD#x20]* (pattern - ("!" [^#xA]*)) (#x20+ pattern)* [#x9#xB-#xD#x20]*)?
/// ```
fn ignore_line(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    let (sign, pattern) = line.strip_prefix('!').map_or(("", line), |rest| ("!", rest.trim()));
    if pattern.is_empty() {
        return Some(sign.to_owned());
    }
    let cleaned = wildcard::clean(pattern);
    let anchored = cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned);
    Some(format!("{sign}{anchored}"))
}

/// Compiled patterns.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    exception: bool,
    pattern: Pattern,
}

/// Which patterns matched a directory or something above it.
///
/// The default value knows nothing: it is right for the root, and for a path whose parents were not visited.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parents {
    known: bool,
    first: u64,
    more: Vec<u64>,
}

impl Parents {
    fn none(rules: usize) -> Self {
        Self { known: true, first: 0, more: vec![0; rules.saturating_sub(1) / 64] }
    }

    fn get(&self, rule: usize) -> bool {
        let word = if rule < 64 { Some(&self.first) } else { self.more.get(rule / 64 - 1) };
        word.is_some_and(|word| (word >> (rule % 64)) & 1 == 1)
    }

    fn set(&mut self, rule: usize) {
        let word = if rule < 64 { Some(&mut self.first) } else { self.more.get_mut(rule / 64 - 1) };
        if let Some(word) = word {
            *word |= 1 << (rule % 64);
        }
    }
}

/// What is known of a path once it was matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the patterns match it in the end.
    pub matched: bool,
    /// What to hand on to the paths below it.
    pub parents: Parents,
}

impl Matcher {
    /// Compiles patterns, with `!` in front of those that take paths back in.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for text in patterns {
            let text = text.as_ref().trim();
            if text.is_empty() {
                continue;
            }
            let cleaned = wildcard::clean(text);
            let (exception, text) =
                cleaned.strip_prefix('!').map_or((false, cleaned.as_str()), |rest| (true, rest));
            if text.is_empty() {
                return Err(IgnoreError::Empty);
            }
            wildcard::matches(text, ".").map_err(|_| IgnoreError::Malformed(text.to_owned()))?;
            rules.push(Rule { exception, pattern: Pattern::compile(text) });
        }
        Ok(Self { rules })
    }

    /// Returns the matcher of an ignore file.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        Self::new(patterns(text)?)
    }

    /// Says whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Says whether some pattern takes paths back in.
    pub fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }

    /// Says whether there is a pattern, `!` aside, whose cleaned text is as the caller wants it.
    pub fn has_pattern(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.rules.iter().any(|rule| wanted(rule.pattern.text()))
    }

    /// Says whether a path or one of its parents matches in the end.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> Result<bool, IgnoreError> {
        let path = path.as_ref();
        let mut matched = false;
        for rule in self.rules.iter().filter(|_| !path.is_empty()) {
            if rule.exception == matched && rule.pattern.matches_or_parent(path)? {
                matched = !rule.exception;
            }
        }
        Ok(matched)
    }

    /// Matches a path of a walk, given what was found for the directory that it stands in.
    pub fn check(&self, path: impl AsRef<[u8]>, parents: &Parents) -> Result<Verdict, IgnoreError> {
        let path = path.as_ref();
        let mut matched = false;
        let mut found = Parents::none(self.rules.len());
        for (index, rule) in self.rules.iter().enumerate() {
            let inherited = parents.get(index);
            if !inherited && rule.exception != matched {
                continue;
            }
            let hit = inherited
                || if parents.known {
                    rule.pattern.matches(path)?
                } else {
                    rule.pattern.matches_or_parent(path)?
                };
            if hit {
                found.set(index);
                matched = !rule.exception;
            }
        }
        Ok(Verdict { matched, parents: found })
    }

    /// Says whether nothing below a directory that matched can be taken back in, so that it need not be entered.
    pub fn can_prune(&self, directory: impl AsRef<[u8]>) -> bool {
        let directory = directory.as_ref();
        if directory.is_empty() {
            return !self.has_exceptions();
        }
        !self.rules.iter().any(|rule| rule.exception && rule.pattern.may_match_below(directory))
    }
}

#[cfg(test)]
mod tests {
    use super::{Matcher, Parents, patterns};

    #[test]
    fn lines_are_cleaned() {
        let text = b"\xEF\xBB\xBF# no\n #yes\r\n\n  ./a//b/ \n! /c\n/\n!\n";
        assert_eq!(patterns(text).unwrap(), ["#yes", "a/b", "!c", "/", "!"]);
    }

    #[test]
    fn the_last_match_decides() {
        let matcher = Matcher::new(["dir", "!dir/keep", "**/*.tmp"]).unwrap();
        let table = [
            ("dir", true),
            ("dir/a/b", true),
            ("dir/keep/a", false),
            ("dir/keep/a.tmp", true),
            ("b", false),
        ];
        for (path, expected) in table {
            assert_eq!(matcher.matches(path), Ok(expected), "{path}");
        }
    }

    #[test]
    fn pruning_looks_at_exceptions_only() {
        let matcher = Matcher::new(["node_modules", "target", "!target/*/keep", "!*.md"]).unwrap();
        assert!(matcher.can_prune("node_modules"));
        assert!(!matcher.can_prune("target"));
        assert!(!matcher.can_prune("target/debug"));
        assert!(matcher.can_prune("target/debug/deps"));
        assert!(!Matcher::new(["a", "!**/*.md"]).unwrap().can_prune("a"));
    }

    #[test]
    fn more_patterns_than_bits() {
        let patterns: Vec<String> = (0..200).map(|n| format!("d{n}")).collect();
        let matcher = Matcher::new(&patterns).unwrap();
        let verdict = matcher.check("d150", &Parents::default()).unwrap();
        assert!(verdict.matched);
        assert!(matcher.check("d150/x", &verdict.parents).unwrap().matched);
    }
}
