//! Texts that nobody would write: whatever they are, the parsers return, and every span lies inside the text.

use std::path::Path;

use kiln::dockerfile::ast::{Dockerfile as Tree, Span};
use kiln::dockerfile::heredoc::{body, is_single};
use kiln::dockerfile::word::{Environment, Expander};
use kiln::dockerfile::{ArgumentError, Dockerfile, ParseError, ParseErrorKind};
use kiln::dockerfile::{chmod, device, duration, mount};
use kiln::dockerfile::{parse_trigger, port, signal};
use kiln::dockerignore::{Matcher, Parents};
use kiln::oci::Reference;
use kiln::wildcard;
use serde_json::Value;

use super::ebnf::Grammar;
use super::generate::Generator;
use super::rng::Rng;

/// What means something somewhere.
const SNIPPETS: [&str; 22] = [
    "\\\n",
    "`\n",
    "<<EOF",
    "<<-",
    "<<",
    "${",
    "}",
    "$",
    "\"",
    "'",
    "\\",
    "`",
    "--",
    "[",
    "\u{feff}",
    "#",
    "# escape=`\n",
    "FROM a AS b\n",
    "\r",
    "\n",
    "**",
    "!",
];

/// Changes a text in one to four places.
pub(crate) fn mutate(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(text.len() + 1);
        let end = (at + 1 + rng.below(8)).min(text.len());
        match rng.below(7) {
            0 if at < text.len() => text[at] ^= 1 << rng.below(8),
            1 => drop(text.drain(at..end)),
            2 => {
                let copy = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            3 if rng.one_in(4) => text.truncate(at),
            4 => text.insert(at, rng.below(32) as u8),
            5 => text.insert(at, 32 + rng.below(95) as u8),
            _ => {
                let snippet = SNIPPETS[rng.below(SNIPPETS.len())].bytes();
                text.splice(at..at, snippet);
            }
        }
    }
    text
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

/// Line and column of an offset, both from 1; nothing if it is outside of the text or inside a character.
fn line_and_column(text: &[u8], offset: usize) -> Option<(u32, usize)> {
    let before = text.get(..offset)?;
    if std::str::from_utf8(text).is_ok_and(|text| !text.is_char_boundary(offset)) {
        return None;
    }
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() as u32 + 1;
    Some((line, String::from_utf8_lossy(&before[start..]).chars().count() + 1))
}

/// A span's first line is the one that its first byte is on, and its last byte is not below its last line.
fn check_span(text: &[u8], span: Span, what: &str) {
    let Span { first_line, last_line, start, end } = span;
    let place = |offset| {
        line_and_column(text, offset).unwrap_or_else(|| panic!("{what}: {span:?} in {text:?}"))
    };
    let ((first, _), (last, _)) = (place(start), place(end));
    let lines = first_line == first && first <= last && last <= last_line;
    assert!(
        start <= end && lines,
        "{what}: {span:?}, lines {first} to {last}: {:?}",
        String::from_utf8_lossy(text)
    );
}

fn check_error(text: &[u8], error: &ParseError) {
    assert!(!error.to_string().is_empty());
    assert_ne!(error.hint().as_deref(), Some(""));
    // These stand at the end of the text; behind its last line feed, they still count as on the line before it.
    let at_end = ParseErrorKind::Argument(ArgumentError::TriggerCount);
    if *error.kind == ParseErrorKind::Empty || *error.kind == at_end {
        assert!(line_and_column(text, error.span.start).is_some());
        return;
    }
    check_span(text, error.span, "error");
    check_span(text, error.instruction, "instruction");
}

fn read_dockerfile(text: &[u8]) {
    match Dockerfile::parse(text) {
        Ok(tree) => {
            spans(&tree).into_iter().for_each(|span| check_span(text, span, "node"));
            let commands = tree.stages.iter().flat_map(|stage| &stage.commands);
            commands.flat_map(|command| &command.heredocs).for_each(|it| drop(body(it)));
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().for_each(|error| check_error(text, error));
        }
    }
}

/// Reads a text as everything that is not a file.
fn read_values(text: &str) {
    let values: [Environment<'_>; 2] = [&|_| None, &|_| Some("a b\\*\n\"".to_owned())];
    for (env, escape) in values.into_iter().flat_map(|env| [(env, '\\'), (env, '`')]) {
        for switches in 0..16 {
            let expander = Expander {
                escape,
                skip_unset_env: switches & 1 != 0,
                raw_quotes: switches & 2 != 0,
                raw_escapes: switches & 4 != 0,
                skip_process_quotes: switches & 8 != 0,
            };
            let _ = expander.expand(text, env);
            let _ = expander.process_words(text, env);
        }
    }
    if let Err(errors) = parse_trigger(text) {
        errors.iter().for_each(|error| check_error(text.as_bytes(), error));
    }
    let _ = mount::parse(text, &mut |word| Ok(word.to_owned()));
    let _ = (mount::from(text), device::device(text), port::port(text), signal::signal(text));
    let _ = (chmod::chmod(text).map(|it| it.apply(0o644, false)), duration::duration(text));
    let _ =
        (is_single(text), wildcard::matches(text, "a/b"), wildcard::matches("a*[b-c]\\?", text));
    assert_eq!(wildcard::clean(&wildcard::clean(text)), wildcard::clean(text));
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
    }
}

/// A walk that asks parent by parent never fails where one that asks at once does not.
fn read_patterns(text: &[u8]) {
    let Ok(matcher) = Matcher::parse(text) else { return };
    for path in ["a", "a/b/c", "é/\n", "**"] {
        if matcher.matches(path).is_ok() {
            let _ = matcher.check(path, &Parents::default());
            let _ = matcher.can_prune(path);
        }
    }
}

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus")
}

fn rows(file: &str, key: &str) -> Vec<String> {
    let rows: Value = serde_json::from_slice(&std::fs::read(corpus().join(file)).unwrap()).unwrap();
    let texts = rows.as_array().unwrap().iter().filter_map(|row| row[key].as_str());
    texts.map(str::to_owned).collect()
}

#[test]
fn dockerfiles_never_panic_and_spans_are_inside() {
    let mut rng = Rng::new(5);
    let files = walkdir::WalkDir::new(corpus().join("dockerfiles")).sort_by_file_name().into_iter();
    let files = files.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().is_file());
    let mut texts: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.path()).unwrap()).collect();
    assert!(texts.len() > 800);
    let grammar = Grammar::load("dockerfile");
    let mut generator = Generator::new(&grammar, 6);
    texts.extend((0..800).map(|_| generator.sentence("dockerfile", '\\').text.into_bytes()));
    for text in texts {
        read_dockerfile(&text);
        for _ in 0..8 {
            read_dockerfile(&mutate(&text, &mut rng));
        }
    }
}

#[test]
fn values_never_panic() {
    let mut rng = Rng::new(7);
    let mut texts = [rows("words.json", "word"), rows("match.json", "pattern")].concat();
    for (file, roots) in [
        ("dockerfile", &["mount", "device", "port", "signal", "chmod", "duration", "trigger"][..]),
        ("word", &["word"]),
        ("reference", &["reference"]),
    ] {
        let grammar = Grammar::load(file);
        let mut generator = Generator::new(&grammar, 8);
        texts.extend(roots.iter().flat_map(|root| {
            (0..100).map(|_| generator.sentence(root, '\\').text).collect::<Vec<_>>()
        }));
    }
    for text in texts {
        read_values(&text);
        for _ in 0..6 {
            read_values(&String::from_utf8_lossy(&mutate(text.as_bytes(), &mut rng)));
        }
    }
}

#[test]
fn ignore_files_never_panic() {
    let mut rng = Rng::new(9);
    let mut texts = rows("dockerignore.json", "file");
    let grammar = Grammar::load("dockerignore");
    let mut generator = Generator::new(&grammar, 10);
    texts.extend((0..500).map(|_| generator.sentence("patterns", '\\').text));
    for text in texts {
        read_patterns(text.as_bytes());
        for _ in 0..16 {
            read_patterns(&mutate(text.as_bytes(), &mut rng));
        }
    }
}
