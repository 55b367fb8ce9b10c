//! A Dockerfile, and a trigger of ONBUILD: spans are inside of the text, and the tree is a function of it.

use kiln::dockerfile::ast::{Dockerfile as Tree, Span};
use kiln::dockerfile::heredoc::body;
use kiln::dockerfile::{ArgumentError, Dockerfile, ParseError, ParseErrorKind, parse_trigger};

/// Checks a text as a Dockerfile and, where it is UTF-8, as a trigger.
pub(crate) fn check(text: &[u8]) {
    let parsed = Dockerfile::parse(text);
    assert_eq!(parsed, Dockerfile::parse(text), "read twice, two trees");
    match parsed {
        Ok(tree) => check_tree(text, &tree),
        Err(errors) => check_errors(text, &errors),
    }
    if let Ok(text) = std::str::from_utf8(text) {
        check_trigger(text);
    }
}

/// Checks a text as a trigger of ONBUILD.
fn check_trigger(text: &str) {
    if let Err(errors) = parse_trigger(text) {
        check_errors(text.as_bytes(), &errors);
    }
}

fn check_tree(text: &[u8], tree: &Tree) {
    spans(tree).into_iter().for_each(|span| check_span(text, span, "node"));
    let commands = tree.stages.iter().flat_map(|stage| &stage.commands);
    commands.flat_map(|command| &command.heredocs).for_each(|it| drop(body(it)));
}

/// All spans of a parsed file.
fn spans(tree: &Tree) -> Vec<Span> {
    let commands = tree.stages.iter().flat_map(|stage| &stage.commands).chain(&tree.global_args);
    let mut spans: Vec<Span> = commands.map(|command| command.span).collect();
    spans.extend(tree.stages.iter().map(|stage| stage.span));
    spans.extend(tree.directives.iter().map(|directive| directive.span));
    spans.extend(tree.syntax.iter().map(|syntax| syntax.span));
    spans.extend(tree.check.iter().map(|check| check.span));
    spans.extend(tree.warnings.iter().map(|warning| warning.span));
    spans
}

/// The line of an offset, from 1; nothing if it is outside of the text or inside a character.
fn line(text: &[u8], offset: usize) -> Option<u32> {
    let before = text.get(..offset)?;
    if std::str::from_utf8(text).is_ok_and(|text| !text.is_char_boundary(offset)) {
        return None;
    }
    Some(before.iter().filter(|b| **b == b'\n').count() as u32 + 1)
}

/// A span's first line is the one that its first byte is on, and its last byte is not below its last line.
fn check_span(text: &[u8], span: Span, what: &str) {
    let Span { first_line, last_line, start, end } = span;
    let place =
        |offset| line(text, offset).unwrap_or_else(|| panic!("{what}: {span:?} in {text:?}"));
    let (first, last) = (place(start), place(end));
    let lines = first_line == first && first <= last && last <= last_line;
    assert!(
        start <= end && lines,
        "{what}: {span:?}, lines {first} to {last}: {:?}",
        String::from_utf8_lossy(text)
    );
}

fn check_errors(text: &[u8], errors: &[ParseError]) {
    assert!(!errors.is_empty());
    errors.iter().for_each(|error| check_error(text, error));
}

fn check_error(text: &[u8], error: &ParseError) {
    assert!(!error.to_string().is_empty());
    assert_ne!(error.hint().as_deref(), Some(""));
    // These stand at the end of the text; behind its last line feed, they still count as on the line before it.
    let at_end = ParseErrorKind::Argument(ArgumentError::TriggerCount);
    if *error.kind == ParseErrorKind::Empty || *error.kind == at_end {
        assert!(line(text, error.span.start).is_some());
        return;
    }
    check_span(text, error.span, "error");
    check_span(text, error.instruction, "instruction");
}
