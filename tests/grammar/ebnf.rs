//! Reads the grammar files: W3C EBNF with keywords in single quotes (`grammar/README.md`).
//!
//! It knows the notation and nothing of what the productions mean.

use std::collections::BTreeMap;
use std::path::Path;

/// The grammar files without their extension.
pub(crate) const FILES: [&str; 4] = ["dockerfile", "word", "dockerignore", "reference"];

/// The right side of a production, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expr {
    /// A text; a keyword stands for itself in any letter case.
    Text {
        text: String,
        keyword: bool,
    },
    /// One character of these ranges, or one of no range.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// The production with this number.
    Symbol(usize),
    Sequence(Vec<Expr>),
    Choice(Vec<Expr>),
    /// `?`, `*` and `+`.
    Repeat {
        inner: Box<Expr>,
        least: usize,
        most: usize,
    },
    /// What the first derives and the second does not.
    Except(Box<Expr>, Box<Expr>),
}

impl Expr {
    pub(crate) fn has(negated: bool, ranges: &[(char, char)], c: char) -> bool {
        ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != negated
    }

    fn symbols(&self, found: &mut Vec<usize>) {
        match self {
            Self::Text { .. } | Self::Class { .. } => {}
            Self::Symbol(symbol) => found.push(*symbol),
            Self::Sequence(parts) | Self::Choice(parts) => {
                parts.iter().for_each(|part| part.symbols(found));
            }
            Self::Repeat { inner, .. } => inner.symbols(found),
            Self::Except(whole, part) => {
                whole.symbols(found);
                part.symbols(found);
            }
        }
    }
}

/// One production.
#[derive(Debug, Clone)]
pub(crate) struct Production {
    pub(crate) name: String,
    pub(crate) expr: Expr,
    /// Both sides as written, on one line and without constraints.
    pub(crate) text: String,
    /// The names in `[ wfc: … ]`.
    pub(crate) constraints: Vec<String>,
    /// The source file that the head above it names.
    pub(crate) module: String,
}

/// A grammar file.
#[derive(Debug, Clone)]
pub(crate) struct Grammar {
    pub(crate) file: String,
    /// Where derivations begin.
    pub(crate) roots: Vec<String>,
    pub(crate) productions: Vec<Production>,
    numbers: BTreeMap<String, usize>,
}

impl Grammar {
    /// Reads a file of `grammar/`, which must be without mistakes.
    pub(crate) fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("grammar/{name}.ebnf"));
        let text = std::fs::read_to_string(&path).unwrap();
        Self::read(&format!("{name}.ebnf"), &text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Reads a text; says what is wrong with it and on which line.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, String> {
        let mut grammar = Self {
            file: file.to_owned(),
            roots: Vec::new(),
            productions: Vec::new(),
            numbers: BTreeMap::new(),
        };
        let mut bodies = Vec::new();
        let mut module = String::new();
        for block in blocks(text) {
            match block.map_err(|line| format!("{file}:{line}: a comment is not closed"))? {
                Block::Comment(comment) => {
                    if comment.starts_with("src/") && !comment.contains(char::is_whitespace) {
                        module = comment.to_owned();
                    } else if let Some((_, roots)) = comment.rsplit_once("Roots:") {
                        grammar.roots.extend(roots.split_whitespace().map(str::to_owned));
                    }
                }
                Block::Production { name, body, line } => {
                    if grammar.numbers.insert(name.to_owned(), bodies.len()).is_some() {
                        return Err(format!("{file}:{line}: `{name}` is defined twice"));
                    }
                    bodies.push((name, body, line, module.clone()));
                }
            }
        }
        for (name, body, line, module) in bodies {
            let mut reader = Reader { rest: body, numbers: &grammar.numbers };
            let (expr, constraints) =
                reader.production().map_err(|error| format!("{file}:{line}: `{name}`: {error}"))?;
            let text = plain(&format!("{name} ::= {body}"));
            let name = name.to_owned();
            grammar.productions.push(Production { name, expr, text, constraints, module });
        }
        Ok(grammar)
    }

    pub(crate) fn number(&self, name: &str) -> usize {
        *self.numbers.get(name).unwrap_or_else(|| panic!("{} has no `{name}`", self.file))
    }

    /// The productions that no root leads to.
    pub(crate) fn unused(&self) -> Vec<&str> {
        let mut pending: Vec<usize> = self.roots.iter().map(|root| self.number(root)).collect();
        let mut seen = vec![false; self.productions.len()];
        while let Some(number) = pending.pop() {
            if !std::mem::replace(&mut seen[number], true) {
                self.productions[number].expr.symbols(&mut pending);
            }
        }
        let unseen = self.productions.iter().zip(seen).filter(|(_, seen)| !seen);
        unseen.map(|(production, _)| production.name.as_str()).collect()
    }
}

/// A production's text on one line, without constraints.
pub(crate) fn plain(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[ wfc:") {
        kept.push_str(before);
        rest = after.split_once(" ]").map_or("", |(_, rest)| rest);
    }
    kept.push_str(rest);
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

enum Block<'t> {
    Comment(&'t str),
    Production { name: &'t str, body: &'t str, line: usize },
}

/// Splits a file into comments and productions; the error is the line of a comment that stays open.
fn blocks(text: &str) -> Vec<Result<Block<'_>, usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    while let Some(skipped) = text[at..].find(|c: char| !c.is_whitespace()) {
        at += skipped;
        if let Some(comment) = text[at..].strip_prefix("/*") {
            let Some(end) = comment.find("*/") else {
                found.push(Err(line(at)));
                return found;
            };
            found.push(Ok(Block::Comment(comment[..end].trim())));
            at += 2 + end + 2;
            continue;
        }
        // A production goes on until an unindented line.
        let ends = text[at..].match_indices('\n').map(|(end, _)| at + end + 1);
        let mut ends = ends.filter(|end| !text[*end..].starts_with([' ', '\n']));
        let end = ends.next().unwrap_or(text.len());
        let (name, body) = text[at..end].split_once("::=").unwrap_or((&text[at..end], ""));
        found.push(Ok(Block::Production { name: name.trim(), body, line: line(at) }));
        at = end;
    }
    found
}

/// Reads the right side of a production.
struct Reader<'t, 'n> {
    rest: &'t str,
    numbers: &'n BTreeMap<String, usize>,
}

impl Reader<'_, '_> {
    fn production(&mut self) -> Result<(Expr, Vec<String>), String> {
        let expr = self.choice()?;
        let mut constraints = Vec::new();
        while let Some(rest) = self.rest.strip_prefix("[ wfc:") {
            let (name, rest) = rest.split_once(" ]").ok_or("a constraint is not closed")?;
            constraints.push(name.trim().to_owned());
            self.rest = rest.trim_start();
        }
        if self.rest.is_empty() {
            Ok((expr, constraints))
        } else {
            Err(format!("not understood: {}", self.rest))
        }
    }

    fn choice(&mut self) -> Result<Expr, String> {
        let mut alternatives = vec![self.sequence()?];
        while self.take("|") {
            alternatives.push(self.sequence()?);
        }
        Ok(one_or(alternatives, Expr::Choice))
    }

    fn sequence(&mut self) -> Result<Expr, String> {
        let mut parts = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || self.rest.starts_with(['|', ')']) || self.at_constraint() {
                break;
            }
            let part = self.repeated()?;
            parts.push(if self.take("-") {
                Expr::Except(Box::new(part), Box::new(self.repeated()?))
            } else {
                part
            });
        }
        if parts.is_empty() {
            Err("an empty alternative".into())
        } else {
            Ok(one_or(parts, Expr::Sequence))
        }
    }

    fn at_constraint(&self) -> bool {
        self.rest.starts_with("[ wfc:")
    }

    fn repeated(&mut self) -> Result<Expr, String> {
        let inner = Box::new(self.item()?);
        let next = self.rest.chars().next();
        let (least, most) = match next {
            Some('?') => (0, 1),
            Some('*') => (0, usize::MAX),
            Some('+') => (1, usize::MAX),
            Some(_) | None => return Ok(*inner),
        };
        self.rest = &self.rest[1..];
        Ok(Expr::Repeat { inner, least, most })
    }

    fn item(&mut self) -> Result<Expr, String> {
        self.rest = self.rest.trim_start();
        let first = self.rest.chars().next().ok_or("an end where something is needed")?;
        match first {
            '(' => {
                self.rest = &self.rest[1..];
                let inner = self.choice()?;
                if self.take(")") { Ok(inner) } else { Err("`(` is not closed".into()) }
            }
            '"' | '\'' => {
                let inside = &self.rest[1..];
                let (text, rest) = inside.split_once(first).ok_or("a text is not closed")?;
                self.rest = rest;
                Ok(Expr::Text { text: text.to_owned(), keyword: first == '\'' })
            }
            '#' => self.character().map(|c| Expr::Class { negated: false, ranges: vec![(c, c)] }),
            '[' => self.class(),
            'a'..='z' => {
                let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(end);
                self.rest = rest;
                let number = self.numbers.get(name);
                number.map(|n| Expr::Symbol(*n)).ok_or_else(|| format!("`{name}` is not defined"))
            }
            other => Err(format!("`{other}` begins nothing")),
        }
    }

    fn class(&mut self) -> Result<Expr, String> {
        self.rest = &self.rest[1..];
        let negated = self.rest.starts_with('^');
        self.rest = &self.rest[usize::from(negated)..];
        let mut ranges = Vec::new();
        while !self.rest.starts_with(']') {
            let low = self.character()?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let high = if is_range {
                self.rest = &self.rest[1..];
                self.character()?
            } else {
                low
            };
            if high < low {
                return Err(format!("the range from {low:?} to {high:?} is empty"));
            }
            ranges.push((low, high));
        }
        self.rest = &self.rest[1..];
        Ok(Expr::Class { negated, ranges })
    }

    /// One character: itself, or `#x` and its number.
    fn character(&mut self) -> Result<char, String> {
        if let Some(number) = self.rest.strip_prefix("#x") {
            let end = number.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(number.len());
            let (digits, rest) = number.split_at(end);
            self.rest = rest;
            let number = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            return number.ok_or_else(|| format!("`#x{digits}` is no character"));
        }
        let c = self.rest.chars().next().ok_or("a class is not closed")?;
        self.rest = &self.rest[c.len_utf8()..];
        Ok(c)
    }

    fn take(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

fn one_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    if parts.len() == 1 { parts.remove(0) } else { many(parts) }
}
