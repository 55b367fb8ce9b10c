//! A whole file: instructions in order, gathered into stages.
//!
//! Every mistake is collected, so that one run shows them all. Only what makes the rest of the text meaningless ends
//! the reading: a broken directive, a line that is too long, a here-document that is not closed.

use super::ast::{Command, Dockerfile, Heredoc, Instruction, Stage};
use super::error::{ArgumentError, ParseError, ParseErrorKind};
use super::instruction::{self, Parsed, Request};
use super::line::Reader;
use super::source::Line;
use super::{directive, heredoc, split};

/// ```text
/// dockerfile ::= #xFEFF? directive*
///                ((comment - directive) | blank* #xA | blank* arg blank* #xA)*
///                (blank* arg blank* #xA (comment | blank* #xA)* | stage) stage*
/// ```
pub(super) fn dockerfile(text: &[u8]) -> Result<Dockerfile, Vec<ParseError>> {
    let mut reader = Reader::new(text);
    let mut build = Build::default();
    loop {
        match next(&mut reader) {
            Ok(Some(parsed)) => build.add(parsed),
            Ok(None) => break,
            Err(error) => {
                build.errors.push(error);
                break;
            }
        }
    }
    if build.errors.is_empty() && build.count == 0 {
        let here = reader.here();
        build.errors.push(ParseError::new(ParseErrorKind::Empty, here, here));
    }
    if !build.errors.is_empty() {
        return Err(build.errors);
    }
    Ok(Dockerfile {
        escape: reader.escape,
        directives: directive::all(text),
        syntax: directive::syntax(text),
        check: directive::check(text),
        global_args: build.global_args,
        stages: build.stages,
        warnings: reader.warnings,
    })
}

/// Reads one ONBUILD trigger, as it was stored in an image.
///
/// ```text
/// trigger ::= add | arg | cmd | copy | entrypoint | env | expose | healthcheck | label
///           | run | shell | stopsignal | user | volume | workdir
/// ```
///
/// Images of other tools may have `MAINTAINER` and `ONBUILD` as triggers too, which no Dockerfile can write.
pub(super) fn trigger(text: &str) -> Result<Command, Vec<ParseError>> {
    let mut reader = Reader::new(text.as_bytes());
    let mut found = Vec::new();
    while let Some((line, parsed)) = next(&mut reader).map_err(|error| vec![error])? {
        match parsed.map_err(|error| vec![error])? {
            Parsed::Stage(_) => {
                let kind = ArgumentError::Trigger("FROM".to_owned());
                return Err(vec![line.error(0..line.text.len(), kind)]);
            }
            Parsed::Command(command) => found.push(command),
        }
    }
    let here = reader.here();
    match <[Command; 1]>::try_from(found) {
        Ok([command]) => Ok(command),
        Err(_) => Err(vec![ParseError::new(ArgumentError::TriggerCount, here, here)]),
    }
}

type Read = (Line, Result<Parsed, ParseError>);

/// Reads one instruction. The outer error ends the reading, the inner one does not.
fn next(reader: &mut Reader<'_>) -> Result<Option<Read>, ParseError> {
    let Some(mut line) = reader.logical_line()? else { return Ok(None) };
    let text = line.text.clone();
    let parts = split::instruction(&text, reader.escape);
    let mut bodies: Vec<Heredoc> = Vec::new();
    if text.contains("<<") && instruction::takes_heredocs(&parts, reader.escape) {
        match heredoc::heredocs(&text) {
            Ok(markers) => {
                for marker in markers {
                    bodies.push(reader.heredoc_body(&mut line, marker)?);
                }
            }
            Err(error) => {
                let error =
                    line.error(parts.rest_start..parts.rest_start + parts.rest.len(), error);
                return Ok(Some((line, Err(error))));
            }
        }
    }
    let request = Request {
        line: &line,
        escape: reader.escape,
        keyword: parts.keyword,
        keyword_range: parts.keyword_range,
        flags: &parts.flags,
        rest: parts.rest,
        rest_start: parts.rest_start,
        heredocs: &bodies,
    };
    let parsed = instruction::arguments(&request);
    Ok(Some((line, parsed)))
}

/// The file as far as it was read.
#[derive(Default)]
struct Build {
    global_args: Vec<Command>,
    stages: Vec<Stage>,
    errors: Vec<ParseError>,
    /// How many instructions were read.
    count: usize,
    /// Whether a FROM was seen, be it a broken one.
    opened: bool,
    /// Whether it was already said that a FROM is missing.
    told: bool,
}

impl Build {
    fn add(&mut self, (line, parsed): Read) {
        self.count += 1;
        match parsed {
            Ok(Parsed::Stage(stage)) => {
                self.opened = true;
                self.stages.push(stage);
            }
            Ok(Parsed::Command(command)) => self.add_command(&line, command),
            Err(error) => {
                // Commands after a broken FROM belong to it: they are not to be blamed.
                self.opened |=
                    line.text.trim_start().get(..4).is_some_and(|w| w.eq_ignore_ascii_case("FROM"));
                self.errors.push(error);
            }
        }
    }

    fn add_command(&mut self, line: &Line, command: Command) {
        if let Some(stage) = self.stages.last_mut() {
            stage.commands.push(command);
        } else if matches!(command.instruction, Instruction::Arg(_)) {
            self.global_args.push(command);
        } else if !self.opened && !self.told {
            self.told = true;
            let keyword = 0..command.keyword.len();
            self.errors.push(line.error(keyword, ParseErrorKind::NoStage(command.keyword)));
        }
    }
}
