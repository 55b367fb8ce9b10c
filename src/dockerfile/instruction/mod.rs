//! One instruction: from its text to the syntax tree.
//!
//! A family of instructions with one grammar shares a file. Each reader gets a [`Request`] and answers with an
//! [`Instruction`] or the one error that it met first. FROM is apart, because it opens a stage.

pub(super) mod command;
pub(super) mod copy;
pub(super) mod from;
pub(super) mod healthcheck;
pub(super) mod list;
pub(super) mod onbuild;
pub(super) mod pairs;
pub(super) mod run;
pub(super) mod text;

use std::ops::Range;

use super::ast::{Command, Heredoc, Instruction, Stage};
use super::error::{ArgumentError, ParseError, ParseErrorKind};
use super::json::Form;
use super::source::Line;
use super::split::{self, Flag, Parts};
use super::words::Word;
use super::{json, suggest, words};

/// The keywords of the language.
pub const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// An instruction's text, split but not understood yet.
pub(super) struct Request<'a> {
    pub(super) line: &'a Line,
    pub(super) escape: char,
    pub(super) keyword: &'a str,
    pub(super) keyword_range: Range<usize>,
    pub(super) flags: &'a [Flag],
    pub(super) rest: &'a str,
    pub(super) rest_start: usize,
    pub(super) heredocs: &'a [Heredoc],
}

impl Request<'_> {
    /// Makes an error about a part of the arguments.
    pub(super) fn argument_error(
        &self,
        range: Range<usize>,
        kind: impl Into<ParseErrorKind>,
    ) -> ParseError {
        self.line.error(self.rest_start + range.start..self.rest_start + range.end, kind)
    }

    /// Makes an error about all arguments, or about the keyword if there are none.
    pub(super) fn error(&self, kind: impl Into<ParseErrorKind>) -> ParseError {
        if self.rest.is_empty() {
            self.line.error(self.keyword_range.clone(), kind)
        } else {
            self.argument_error(0..self.rest.len(), kind)
        }
    }

    /// Makes an error if nothing follows the keyword.
    pub(super) fn need_argument(&self, name: &'static str) -> Result<(), ParseError> {
        if self.rest.is_empty() { Err(self.error(ArgumentError::Missing(name))) } else { Ok(()) }
    }

    /// Says which form the arguments have; members that are no strings are an error.
    pub(super) fn form(&self, name: &'static str) -> Result<Form, ParseError> {
        match json::form(self.rest) {
            Form::NotStrings => Err(self.error(ArgumentError::NotStrings(name))),
            form => Ok(form),
        }
    }

    /// Splits the arguments at blanks.
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        words::blank_words(self.rest)
    }
}

/// What an instruction is to a file.
pub(super) enum Parsed {
    /// FROM
    Stage(Stage),
    /// Any other.
    Command(Command),
}

/// Whether here-documents are looked for in this instruction.
pub(super) fn takes_heredocs(parts: &Parts<'_>, escape: char) -> bool {
    match parts.keyword.to_ascii_uppercase().as_str() {
        "ADD" | "COPY" | "RUN" => json::form(parts.rest) == Form::Text,
        "ONBUILD" if !parts.rest.is_empty() => {
            let trigger = split::instruction(parts.rest, escape);
            !trigger.keyword.eq_ignore_ascii_case("ONBUILD") && takes_heredocs(&trigger, escape)
        }
        _ => false,
    }
}

/// Reads the arguments of the instruction that the keyword names.
pub(super) fn arguments(request: &Request<'_>) -> Result<Parsed, ParseError> {
    let instruction = match request.keyword.to_ascii_uppercase().as_str() {
        "FROM" => return from::from(request).map(Parsed::Stage),
        "ADD" => copy::add(request)?,
        "ARG" => pairs::arg(request)?,
        "CMD" => command::cmd(request)?,
        "COPY" => copy::copy(request)?,
        "ENTRYPOINT" => command::entrypoint(request)?,
        "ENV" => pairs::env(request)?,
        "EXPOSE" => list::expose(request)?,
        "HEALTHCHECK" => healthcheck::healthcheck(request)?,
        "LABEL" => pairs::label(request)?,
        "MAINTAINER" => text::maintainer(request)?,
        "ONBUILD" => onbuild::onbuild(request)?,
        "RUN" => run::run(request)?,
        "SHELL" => command::shell(request)?,
        "STOPSIGNAL" => text::stopsignal(request)?,
        "USER" => text::user(request)?,
        "VOLUME" => list::volume(request)?,
        "WORKDIR" => text::workdir(request)?,
        _ => {
            let keyword = request.keyword.to_owned();
            let suggestion = suggest::nearest(&keyword, KEYWORDS);
            let kind = ParseErrorKind::UnknownInstruction { keyword, suggestion };
            return Err(request.line.error(request.keyword_range.clone(), kind));
        }
    };
    Ok(Parsed::Command(command_of(request, instruction)))
}

fn command_of(request: &Request<'_>, instruction: Instruction) -> Command {
    Command {
        instruction,
        keyword: request.keyword.to_owned(),
        code: request.line.text.trim().to_owned(),
        flags: request.flags.iter().map(|flag| flag.text.clone()).collect(),
        comments: request.line.comments.clone(),
        heredocs: request.heredocs.to_vec(),
        span: request.line.whole(),
    }
}

/// Returns what the comments say about a name: the first that begins with it and a blank.
pub(super) fn doc_comment(comments: &[String], name: &str) -> String {
    if name.is_empty() {
        return String::new();
    }
    let told = |line: &String| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    comments.iter().find_map(told).unwrap_or_default()
}
