//! Expansion of words: quotes, escapes and `$name`, `${name…}`.
//!
//! One engine serves every instruction that expands, here-document bodies and the search for here-documents; the
//! switches of [`Expander`] say how much of the text stays as written. Answers agree with the reference in all
//! rows of `testdata/corpus/words.json`, its faults included: [`Expander::process_words`] loses what stands before a
//! `${name<modifier>…}` in the same word.

use std::collections::BTreeSet;

use super::glob;
use super::name::name;

/// A word that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote is opened and not closed.
    #[error("quote `{0}` is not closed")]
    UnclosedQuote(char),
    /// `${` is not closed.
    #[error("`${{` is not closed")]
    UnclosedBrace,
    /// `${name/pattern` lacks the second slash.
    #[error("`${{name/pattern/replacement}}` lacks its second `/`")]
    MissingSlash,
    /// Nothing that could be a name follows `${`.
    #[error("`${{` is not followed by a name")]
    BadSubstitution,
    /// What follows the name is not known.
    #[error("`{0}` is not a known modifier of `${{name…}}`")]
    UnknownModifier(String),
    /// `${name:?message}` of a variable that is not set, or empty.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message as written, or a standard one.
        message: String,
    },
    /// A pattern escapes a character that needs none.
    #[error("`\\{0}` is not an escape that patterns know")]
    PatternEscape(String),
    /// Substitutions inside substitutions pass the limit.
    #[error("substitutions are nested too deeply")]
    TooDeep,
    /// What comes out passes the limit.
    #[error("the text expands to more than {} MiB", LONGEST >> 20)]
    TooLong,
}

impl WordError {
    /// Returns what to try, if something can be said.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnclosedQuote(quote) => format!("add `{quote}`, or escape the one that is there"),
            Self::UnclosedBrace => "add `}`".into(),
            Self::MissingSlash => "write `${name/pattern/}` to remove what matches".into(),
            Self::BadSubstitution => "write `\\$` for a dollar sign".into(),
            Self::UnknownModifier(_) => {
                "known are `-` `+` `?` (also with `:`), `#` `%` and `/`".into()
            }
            Self::Required { name, .. } => {
                format!("set `{name}`, for example with `--build-arg {name}=…`")
            }
            Self::PatternEscape(_) => {
                "only `*`, `?`, `\\`, `/` and `}` are escaped in a pattern".into()
            }
            Self::TooDeep | Self::TooLong => return None,
        })
    }
}

/// Where the values of variables come from.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// Makes an environment of `name=value` strings; the last definition of a name wins.
pub fn environment<S: AsRef<str>>(pairs: &[S]) -> impl Fn(&str) -> Option<String> + '_ {
    move |name| {
        pairs.iter().rev().find_map(|pair| match pair.as_ref().split_once('=') {
            Some((key, value)) if key == name => Some(value.to_owned()),
            None if pair.as_ref() == name => Some(String::new()),
            Some(_) | None => None,
        })
    }
}

/// The variables that a word asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Those that were set.
    pub matched: BTreeSet<String>,
    /// Those that were not.
    pub unmatched: BTreeSet<String>,
}

/// The engine with its switches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expander {
    /// The escape character.
    ///
    /// ```text
    /// escape ::= "\" | "`"
    /// ```
    pub escape: char,
    /// Leaves a variable that is not set as written.
    pub skip_unset_env: bool,
    /// Keeps quotes in the result.
    pub raw_quotes: bool,
    /// Keeps escape characters in the result.
    pub raw_escapes: bool,
    /// Takes quotes as ordinary characters.
    pub skip_process_quotes: bool,
}

/// Deeper nesting is refused: the stack is finite.
const DEEPEST: u32 = 100;

/// Bytes that may come out. Substitutions inside substitutions multiply what they are given, and triggers of a base
/// image are expanded like everything else.
pub const LONGEST: usize = 16 << 20;

/// Refuses a text that has become too long.
pub(super) fn bounded(text: &str) -> Result<(), WordError> {
    if text.len() > LONGEST { Err(WordError::TooLong) } else { Ok(()) }
}

impl Expander {
    /// Makes an engine with all switches off.
    pub fn new(escape: char) -> Self {
        Self {
            escape,
            skip_unset_env: false,
            raw_quotes: false,
            raw_escapes: false,
            skip_process_quotes: false,
        }
    }

    /// Expands a word to one string.
    pub fn expand(&self, word: &str, env: Environment<'_>) -> Result<String, WordError> {
        self.process_word(word, env, &mut Names::default())
    }

    /// Expands a word to one string and adds the names it asked for, also when it fails.
    pub fn process_word(
        &self,
        word: &str,
        env: Environment<'_>,
        names: &mut Names,
    ) -> Result<String, WordError> {
        Ok(Scan::new(self, word, env, names).until(None, self.raw_escapes)?.0)
    }

    /// Expands a text and splits the result into words.
    pub fn process_words(
        &self,
        text: &str,
        env: Environment<'_>,
    ) -> Result<Vec<String>, WordError> {
        Ok(Scan::new(self, text, env, &mut Names::default()).until(None, self.raw_escapes)?.1)
    }
}

/// A word being read.
struct Scan<'a> {
    engine: &'a Expander,
    rest: &'a str,
    env: Environment<'a>,
    names: &'a mut Names,
    raw_escapes: bool,
    depth: u32,
    /// The word being collected; shared with nested substitutions, which is how the reference loses text.
    pending: String,
}

/// Words split off so far.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    inside: bool,
}

impl Words {
    fn add(&mut self, pending: &mut String, c: char) {
        if !c.is_whitespace() {
            self.add_raw(pending, c.encode_utf8(&mut [0; 4]));
        } else if self.inside && !pending.is_empty() {
            self.done.push(std::mem::take(pending));
            self.inside = false;
        }
    }

    fn add_raw(&mut self, pending: &mut String, text: &str) {
        pending.push_str(text);
        self.inside = true;
    }

    fn finish(mut self, pending: &mut String) -> Vec<String> {
        if !pending.is_empty() {
            self.done.push(std::mem::take(pending));
        }
        self.done
    }
}

impl<'a> Scan<'a> {
    fn new(
        engine: &'a Expander,
        word: &'a str,
        env: Environment<'a>,
        names: &'a mut Names,
    ) -> Self {
        let rest = word.strip_prefix('\u{feff}').unwrap_or(word);
        let raw_escapes = engine.raw_escapes;
        Self { engine, rest, env, names, raw_escapes, depth: 0, pending: String::new() }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Reads up to the stop character, or to the end.
    ///
    /// ```text
    /// until ::= (single_quoted | double_quoted | substitution | escaped | heredoc_marker
    ///           | ([^'"$<}] - escape))*
    /// ```
    fn until(
        &mut self,
        stop: Option<char>,
        raw_escapes: bool,
    ) -> Result<(String, Vec<String>), WordError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(WordError::TooDeep);
        }
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let result = self.word(stop);
        self.raw_escapes = outer;
        self.depth -= 1;
        result
    }

    /// `word ::= until ("}" until)* escape?`
    fn word(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), WordError> {
        let mut result = String::new();
        let mut words = Words::default();
        self.pending.clear();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                return Ok((result, words.finish(&mut self.pending)));
            }
            let quotes = !self.engine.skip_process_quotes;
            let part = match c {
                '$' => {
                    let value = self.substitution()?;
                    value.chars().for_each(|c| words.add(&mut self.pending, c));
                    result.push_str(&value);
                    bounded(&result)?;
                    continue;
                }
                '<' => self.heredoc_marker(),
                '\'' if quotes => self.single_quoted()?,
                '"' if quotes => self.double_quoted()?,
                c if c == self.engine.escape => self.escaped(),
                c => {
                    self.next();
                    words.add(&mut self.pending, c);
                    result.push(c);
                    continue;
                }
            };
            // A lone escape at the end is no part of a word, but nothing follows it either.
            if !part.is_empty() || c != self.engine.escape {
                words.add_raw(&mut self.pending, &part);
            }
            result.push_str(&part);
            bounded(&result)?;
        }
        match stop {
            Some('/') => Err(WordError::MissingSlash),
            Some(_) => Err(WordError::UnclosedBrace),
            None => Ok((result, words.finish(&mut self.pending))),
        }
    }

    /// `escaped ::= escape [#x0-#x10FFFF]`
    fn escaped(&mut self) -> String {
        let mut kept = String::new();
        kept.extend(self.next().filter(|_| self.raw_escapes));
        kept.extend(self.next());
        kept
    }

    /// `heredoc_marker ::= "<" ("<" [#x9#xD#x20]*)?`
    fn heredoc_marker(&mut self) -> String {
        let length = if self.rest.starts_with("<<") {
            2 + self.rest[2..].bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\r')).count()
        } else {
            1
        };
        let (marker, rest) = self.rest.split_at(length);
        self.rest = rest;
        marker.to_owned()
    }

    /// `single_quoted ::= "'" [^']* "'"`
    fn single_quoted(&mut self) -> Result<String, WordError> {
        let inside = &self.rest[1..];
        let end = inside.find('\'').ok_or(WordError::UnclosedQuote('\''))?;
        let whole = &self.rest[..end + 2];
        self.rest = &inside[end + 1..];
        Ok(if self.engine.raw_quotes { whole } else { &inside[..end] }.to_owned())
    }

    /// `double_quoted ::= '"' (substitution | escaped | ([^"$] - escape))* '"'`
    fn double_quoted(&mut self) -> Result<String, WordError> {
        let mut result = String::new();
        result.extend(self.next().filter(|_| self.engine.raw_quotes));
        loop {
            match self.peek() {
                None => return Err(WordError::UnclosedQuote('"')),
                Some('"') => {
                    result.extend(self.next().filter(|_| self.engine.raw_quotes));
                    return Ok(result);
                }
                Some('$') => {
                    result.push_str(&self.substitution()?);
                    bounded(&result)?;
                }
                Some(c) if c == self.engine.escape => {
                    self.next();
                    let escapes = matches!(self.peek(), Some('"' | '$'))
                        || self.peek() == Some(self.engine.escape);
                    if self.raw_escapes || !escapes {
                        result.push(c);
                    }
                    if self.raw_escapes && !escapes {
                        // The reference writes the escape twice here.
                        result.push(c);
                    }
                    if escapes {
                        result.extend(self.next());
                    }
                }
                Some(_) => result.extend(self.next()),
            }
        }
    }

    /// ```text
    /// substitution ::= "$" name | "${" name modifier? "}" | "${" (("+" until) | ("%" pattern) | replace) "}"
    ///                | "$"
    /// ```
    fn substitution(&mut self) -> Result<String, WordError> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.take_name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.value(name).unwrap_or_else(|| {
                if self.engine.skip_unset_env { format!("${name}") } else { String::new() }
            }));
        }
        self.next();
        match self.peek() {
            None => return Err(WordError::UnclosedBrace),
            Some('{' | '}' | ':') => return Err(WordError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.take_name();
        self.modifier(name)
    }

    /// `modifier ::= alternative | trim | replace`
    fn modifier(&mut self, name: &str) -> Result<String, WordError> {
        match self.next() {
            Some('}') => {
                let value = self.value(name);
                if value.is_none() && self.engine.skip_unset_env {
                    return Ok(format!("${{{name}}}"));
                }
                Ok(value.unwrap_or_default())
            }
            Some(':') => match self.next() {
                Some(c @ ('-' | '+' | '?')) => self.alternative(name, c, true),
                Some(c @ ('#' | '%')) => Err(WordError::UnknownModifier(format!(":{c}"))),
                Some(c) => {
                    // The variable counts as asked for, as it does for the reference.
                    self.until(Some('}'), false)?;
                    self.value(name);
                    Err(WordError::UnknownModifier(format!(":{c}")))
                }
                None => Err(WordError::UnclosedBrace),
            },
            Some(c @ ('-' | '+' | '?')) => self.alternative(name, c, false),
            Some(c @ ('#' | '%')) => self.trim(name, c),
            Some('/') => self.replace(name),
            Some(c) => Err(WordError::UnknownModifier(c.into())),
            None => Err(WordError::UnclosedBrace),
        }
    }

    /// `${name-word}`, `${name+word}` and `${name?word}`; with `:`, an empty variable counts as unset.
    ///
    /// `alternative ::= ":"? [-+?] until`
    fn alternative(&mut self, name: &str, kind: char, colon: bool) -> Result<String, WordError> {
        let (word, _) = self.until(Some('}'), false)?;
        let value = self.value(name);
        if value.is_none() && self.engine.skip_unset_env {
            let colon = if colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{kind}{word}}}"));
        }
        let unset = value.is_none();
        match (value.filter(|value| !(colon && value.is_empty())), kind) {
            (Some(_), '+') => Ok(word),
            (Some(value), _) => Ok(value),
            (None, '-') => Ok(word),
            (None, '?') => {
                let reason =
                    if unset { "is not allowed to be unset" } else { "is not allowed to be empty" };
                let message = if word.is_empty() { reason.to_owned() } else { word };
                Err(WordError::Required { name: name.to_owned(), message })
            }
            (None, _) => Ok(String::new()),
        }
    }

    /// `${name#pattern}` and `${name%pattern}`; doubled, the longest match goes.
    ///
    /// `trim ::= ("#" "#"? | "%" "%"?) pattern ("/" pattern)*`
    fn trim(&mut self, name: &str, kind: char) -> Result<String, WordError> {
        let (pattern, _) = self.until(Some('}'), true)?;
        let value = self.value(name);
        if value.is_none() && self.engine.skip_unset_env {
            return Ok(format!("${{{name}{kind}{pattern}}}"));
        }
        let value = value.unwrap_or_default();
        let (extent, pattern) = match pattern.strip_prefix(kind) {
            Some(rest) => (glob::Extent::Longest, rest),
            None => (glob::Extent::Shortest, pattern.as_str()),
        };
        if kind == '%' {
            glob::trim_suffix(pattern, &value, extent)
        } else {
            glob::trim_prefix(pattern, &value, extent)
        }
    }

    /// `${name/pattern/word}`; with two slashes, every match is replaced.
    ///
    /// `replace ::= ("//" pattern | "/" (pattern - "")) "/" until`
    fn replace(&mut self, name: &str) -> Result<String, WordError> {
        let every = self.peek() == Some('/');
        if every {
            self.next();
        }
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        let value = self.value(name);
        if value.is_none() && self.engine.skip_unset_env {
            // A second slash is not kept, as the reference has it.
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let value = value.unwrap_or_default();
        if every {
            glob::replace_all(&pattern, &value, &replacement)
        } else {
            glob::replace_first(&pattern, &value, &replacement)
        }
    }

    fn take_name(&mut self) -> &'a str {
        let text: &'a str = self.rest;
        match name(text) {
            Ok((rest, name)) => {
                self.rest = rest;
                name
            }
            Err(_) => "",
        }
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.env)(name);
        let set = if value.is_some() { &mut self.names.matched } else { &mut self.names.unmatched };
        set.insert(name.to_owned());
        value
    }
}
