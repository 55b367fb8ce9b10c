//! Reads what stands between `{{` and `}}`: pipelines, commands, operands.

use super::ast::{Command, Operand, Pipeline, Result, Span, Start, TemplateError};
use super::parse::{self, DEEPEST};
use super::value::Value;
use super::{functions, literal};

/// A template being read, from where its actions are concerned.
pub(super) struct Actions<'a> {
    text: &'a str,
    at: usize,
    /// The variables that are known here.
    variables: Vec<String>,
    parentheses: usize,
}

impl<'a> Actions<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, variables: vec!["$".to_owned()], parentheses: 0 }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Remembers which variables are known, for [`Actions::leave`].
    pub(super) fn scope(&self) -> usize {
        self.variables.len()
    }

    pub(super) fn leave(&mut self, scope: usize) {
        self.variables.truncate(scope);
    }

    pub(super) fn spaces(&mut self) {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
    }

    /// Returns the letters, digits and underscores that come next.
    pub(super) fn peek_word(&self) -> &'a str {
        word(self.rest())
    }

    /// Takes the `if` or `with` of `else if` and `else with`.
    pub(super) fn else_word(&mut self) -> Option<&'a str> {
        self.spaces();
        let word = Some(self.peek_word()).filter(|word| matches!(*word, "if" | "with"))?;
        self.skip(word.len());
        Some(word)
    }

    /// Takes the end of an action; returns whether it takes away the space after it.
    pub(super) fn close(&mut self) -> Result<bool> {
        self.spaces();
        let trims = self.trims();
        if !trims && !self.rest().starts_with("}}") {
            return Err(self.unexpected("in an action"));
        }
        self.skip(if trims { 3 } else { 2 });
        Ok(trims)
    }

    /// Returns whether this is the end of an action that takes away the space after it.
    fn trims(&self) -> bool {
        self.rest().starts_with("-}}") && self.text[..self.at].ends_with([' ', '\t', '\r', '\n'])
    }

    fn ends(&self) -> bool {
        let rest = self.rest();
        rest.is_empty() || rest.starts_with("}}") || rest.starts_with(')') || self.trims()
    }

    fn unexpected(&self, place: &str) -> TemplateError {
        match self.rest().chars().next() {
            None => {
                let open = self.text.rfind("{{").unwrap_or(0);
                TemplateError::new(&(open..open + 2), "the action is not closed: `}}` is missing")
            }
            Some(c) => TemplateError::new(
                &(self.at..self.at + c.len_utf8()),
                format!("unexpected `{c}` {place}"),
            ),
        }
    }

    /// Reads a pipeline that may set up to so many variables.
    pub(super) fn pipeline(&mut self, most: usize) -> Result<Pipeline> {
        self.spaces();
        let begin = self.at;
        let (variables, declares) = self.targets(most)?;
        let mut commands = Vec::new();
        loop {
            self.spaces();
            if self.ends() {
                return Err(match (self.rest().is_empty(), commands.is_empty()) {
                    (true, _) => self.unexpected("in an action"),
                    (_, true) => self.missing("a value is missing"),
                    (_, false) => self.missing("a command is missing after `|`"),
                });
            }
            commands.push(self.command(!commands.is_empty())?);
            self.spaces();
            if !self.rest().starts_with('|') {
                break;
            }
            self.skip(1);
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        let end = begin + self.text[begin..self.at].trim_end().len();
        Ok(Pipeline { variables, declares, commands, span: begin..end })
    }

    fn missing(&self, what: &str) -> TemplateError {
        TemplateError::new(&(self.at..self.at + 1), what)
    }

    /// Reads `$a :=`, `$a =` or, for `range`, `$a, $b :=`.
    fn targets(&mut self, most: usize) -> Result<(Vec<String>, bool)> {
        let before = self.at;
        let mut names = Vec::new();
        while most > 0 && self.rest().starts_with('$') {
            let begin = self.at;
            self.skip(1);
            self.skip(self.peek_word().len());
            names.push((self.text[begin..self.at].to_owned(), begin..self.at));
            self.spaces();
            if !(self.rest().starts_with(',') && names.len() < most) {
                break;
            }
            self.skip(1);
            self.spaces();
        }
        let declares = self.rest().starts_with(":=");
        let assigns = self.rest().starts_with('=');
        if names.is_empty() || !(declares || assigns) {
            self.at = before;
            return Ok((Vec::new(), false));
        }
        self.skip(if declares { 2 } else { 1 });
        if assigns && let Some((name, span)) = names.iter().find(|(name, _)| !self.knows(name)) {
            return Err(undefined(name, span));
        }
        Ok((names.into_iter().map(|(name, _)| name).collect(), declares))
    }

    fn knows(&self, name: &str) -> bool {
        self.variables.iter().any(|known| known == name)
    }

    fn command(&mut self, is_piped: bool) -> Result<Command> {
        let begin = self.at;
        let mut words = Vec::new();
        let mut end = begin;
        while !self.ends() && !self.rest().starts_with('|') {
            if !words.is_empty() && end == self.at {
                return Err(self.unexpected("in an operand"));
            }
            words.push(self.operand()?);
            end = self.at;
            self.spaces();
        }
        let span = begin..end;
        let calls = words.len() > 1 || is_piped;
        match words.first() {
            None => Err(self.unexpected("in an action")),
            Some(Operand { start: Start::Nil, .. }) => {
                Err(TemplateError::new(&span, "`nil` alone has no value"))
            }
            Some(Operand { start: Start::Function(_), fields, .. }) if fields.is_empty() => {
                Ok(Command { words, span })
            }
            Some(first) if calls => {
                let what = &self.text[first.span.clone()];
                Err(TemplateError::new(
                    &first.span,
                    format!("`{what}` is no function that takes arguments"),
                ))
            }
            Some(_) => Ok(Command { words, span }),
        }
    }

    fn operand(&mut self) -> Result<Operand> {
        let begin = self.at;
        let start = self.start()?;
        let mut fields = Vec::new();
        while self.rest().starts_with('.') {
            let name = word(&self.rest()[1..]);
            // The dot itself, which stands before its first field.
            let is_dot = matches!(start, Start::Dot) && fields.is_empty();
            if name.is_empty() && is_dot {
                self.skip(1);
                break;
            }
            if name.is_empty() || matches!(start, Start::Nil) {
                return Err(self.unexpected("in an operand"));
            }
            fields.push((name.to_owned(), self.at..self.at + 1 + name.len()));
            self.skip(1 + name.len());
        }
        Ok(Operand { start, fields, span: begin..self.at })
    }

    fn start(&mut self) -> Result<Start> {
        let rest = self.rest();
        match rest.chars().next().unwrap_or(' ') {
            // Left to the fields.
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => Ok(Start::Dot),
            '$' => self.variable(),
            '"' => {
                let text = self.quoted()?;
                Ok(Start::Literal(String::from_utf8_lossy(&text).into_owned().into()))
            }
            '\'' => self.character(),
            '`' => {
                let close = rest[1..].find('`');
                let close = close.ok_or_else(|| self.open_quote("the quote is not closed"))?;
                self.skip(close + 2);
                Ok(Start::Literal(parse::unescaped(&rest[1..=close]).into()))
            }
            '(' => self.parenthesis(),
            c if c.is_ascii_digit() || matches!(c, '+' | '-' | '.') => self.number(),
            c if c.is_alphabetic() || c == '_' => self.name(),
            _ => Err(self.unexpected("in an action")),
        }
    }

    fn open_quote(&self, what: &str) -> TemplateError {
        TemplateError::new(&(self.at..self.at + 1), what)
    }

    fn quoted(&mut self) -> Result<Vec<u8>> {
        let read = literal::quoted(self.rest());
        let (text, length) = read.map_err(|what| self.open_quote(what))?;
        self.skip(length);
        Ok(text)
    }

    /// A character is its number.
    fn character(&mut self) -> Result<Start> {
        let begin = self.at;
        let text = String::from_utf8(self.quoted()?).unwrap_or_default();
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) => Ok(Start::Literal(Value::Int(u32::from(c).into()))),
            _ => Err(TemplateError::new(&(begin..self.at), "this is not one character")),
        }
    }

    fn variable(&mut self) -> Result<Start> {
        let name = format!("${}", word(&self.rest()[1..]));
        let span = self.at..self.at + name.len();
        if !self.knows(&name) {
            return Err(undefined(&name, &span));
        }
        self.skip(name.len());
        Ok(Start::Variable(name))
    }

    fn parenthesis(&mut self) -> Result<Start> {
        let span = self.at..self.at + 1;
        self.skip(1);
        self.parentheses += 1;
        if self.parentheses > DEEPEST {
            return Err(TemplateError::new(&span, "the template nests too deeply"));
        }
        let inner = self.pipeline(0)?;
        self.spaces();
        if !self.rest().starts_with(')') {
            return Err(TemplateError::new(&span, "the parenthesis is not closed"));
        }
        self.skip(1);
        self.parentheses -= 1;
        Ok(Start::Pipeline(Box::new(inner)))
    }

    fn number(&mut self) -> Result<Start> {
        let rest = self.rest();
        let mut length = 0;
        for (at, c) in rest.char_indices() {
            let signed = at == 0 || rest[..at].ends_with(['e', 'E']);
            let part = c.is_ascii_alphanumeric() || c == '_' || c == '.';
            if !(part || signed && matches!(c, '+' | '-')) {
                break;
            }
            length = at + c.len_utf8();
        }
        let (text, span) = (&rest[..length], self.at..self.at + length.max(1));
        let value = literal::number(text)
            .ok_or_else(|| TemplateError::new(&span, format!("`{text}` is no number")))?;
        self.skip(length);
        Ok(Start::Literal(value))
    }

    fn name(&mut self) -> Result<Start> {
        let name = self.peek_word();
        let span = self.at..self.at + name.len();
        self.skip(name.len());
        match name {
            "true" | "false" => Ok(Start::Literal(Value::Bool(name == "true"))),
            "nil" => Ok(Start::Nil),
            _ if functions::exists(name) => Ok(Start::Function(name.to_owned())),
            _ => Err(functions::unknown(name, &span)),
        }
    }
}

fn undefined(name: &str, span: &Span) -> TemplateError {
    TemplateError::new(span, format!("the variable `{name}` is not set here"))
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}
