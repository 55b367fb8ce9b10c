//! Derived sentences are accepted by the parsers, all of them; where the grammar says everything, what it does not
//! derive is rejected as well.

use kiln::dockerfile::ast::{Command, Instruction};
use kiln::dockerfile::word::Expander;
use kiln::dockerfile::{Dockerfile, chmod, device, duration, mount, parse_trigger, port, signal};
use kiln::dockerignore::Matcher;
use kiln::oci::Reference;

use super::ebnf::{FILES, Grammar};
use super::generate::{Generator, Sentence};
use super::mutate::mutate;
use super::recognise::matches;
use super::rng::Rng;

/// How many files and triggers are derived, and how many sentences of other roots are changed and compared.
const SENTENCES: usize = 2000;

/// How many sentences are derived from each other root: they are short, and some of their parts are rare.
const VALUES: usize = 10_000;

/// Roots that no function of the library reads alone: `generate.rs` holds every respelling against them.
const SPELLINGS: [&str; 3] = ["logical_line", "instruction", "csv_record"];

/// Productions that only spellings and exceptions are made of: no derivation needs them.
const LEXICAL: [&str; 10] = [
    "logical_line",
    "continuation",
    "instruction",
    "keyword",
    "flag",
    "quoted",
    "flag_escape",
    "csv_record",
    "csv_field",
    "whitespace",
];

/// Reads a sentence of a root with the library's own parser of it.
fn accept(root: &str, sentence: &Sentence) -> Result<(), String> {
    fn all<E: std::fmt::Display>(errors: Vec<E>) -> String {
        errors.iter().map(E::to_string).collect::<Vec<_>>().join("; ")
    }
    let text = sentence.text.as_str();
    match root {
        "dockerfile" => whole(sentence),
        "trigger" => parse_trigger(text).map(drop).map_err(all),
        "mount" => {
            mount::parse(text, &mut |word| Ok(word.to_owned())).map(drop).map_err(|e| e.to_string())
        }
        "device" => device::device(text).map(drop).map_err(|e| e.to_string()),
        "port" => port::port(text).map(drop).map_err(|e| e.to_string()),
        "signal" => signal::signal(text).map(drop).map_err(|e| e.to_string()),
        "chmod" => chmod::chmod(text).map(drop).map_err(|e| e.to_string()),
        "duration" => duration::duration(text).map(drop).map_err(|e| e.to_string()),
        "word" => {
            let set = |_: &str| Some("v".to_owned());
            Expander::new(sentence.escape).expand(text, &set).map(drop).map_err(|e| e.to_string())
        }
        "patterns" => {
            let matcher = Matcher::parse(text.as_bytes()).map_err(|e| e.to_string())?;
            let used = ["a", "a/b", "x-1/é"].map(|path| matcher.matches(path));
            used.into_iter().collect::<Result<Vec<_>, _>>().map(drop).map_err(|e| e.to_string())
        }
        "reference" => Reference::parse(text).map(drop).map_err(|e| e.to_string()),
        other => Err(format!("`{other}` has no parser in this table")),
    }
}

/// Reads a file, and what is left to read later: mounts and triggers.
fn whole(sentence: &Sentence) -> Result<(), String> {
    let parsed = Dockerfile::parse(sentence.text.as_bytes()).map_err(|errors| {
        let lines = errors.iter().map(|error| format!("{}: {error}", error.span.first_line));
        lines.collect::<Vec<_>>().join("; ")
    })?;
    if parsed.escape != sentence.escape {
        return Err(format!("the escape character is {:?}", parsed.escape));
    }
    let commands = parsed.stages.iter().flat_map(|stage| &stage.commands);
    commands.into_iter().try_for_each(|command| later(command, sentence.escape))
}

fn later(command: &Command, escape: char) -> Result<(), String> {
    match &command.instruction {
        Instruction::Run(run) => run.mounts.iter().try_for_each(|text| {
            let read = mount::parse(text, &mut |word| Ok(word.to_owned()));
            read.map(drop).map_err(|error| format!("{text}: {error}"))
        }),
        // A trigger is read with the default escape character, whatever its file had.
        Instruction::Onbuild(text) if escape == '\\' => {
            parse_trigger(text).map(drop).map_err(|errors| format!("{text}: {}", errors[0]))
        }
        _ => Ok(()),
    }
}

/// Derives sentences from all roots of a grammar and returns those that were rejected.
fn rejected(grammar: &Grammar) -> Vec<String> {
    let mut generator = Generator::new(grammar, 1);
    let mut rejected = Vec::new();
    for root in grammar.roots.iter().filter(|root| !SPELLINGS.contains(&root.as_str())) {
        let is_value = !["dockerfile", "trigger"].contains(&root.as_str());
        for number in 0..if is_value { VALUES } else { SENTENCES } {
            let escape = if root == "word" && number % 4 == 0 { '`' } else { '\\' };
            let sentence = generator.sentence(root, escape);
            if let Err(error) = accept(root, &sentence) {
                rejected.push(format!("{root}: {error}\n{:?}", sentence.text));
            }
        }
    }
    let derived = grammar.productions.iter().zip(&generator.counts);
    let never: Vec<&str> =
        derived.filter(|(_, n)| **n == 0).map(|(it, _)| it.name.as_str()).collect();
    let missed: Vec<&&str> = never.iter().filter(|name| !LEXICAL.contains(name)).collect();
    assert!(missed.is_empty(), "{}: never derived: {missed:?}", grammar.file);
    rejected
}

#[test]
fn every_sentence_is_accepted() {
    for grammar in FILES.map(Grammar::load) {
        let rejected = rejected(&grammar);
        let count = rejected.len();
        let first = rejected.iter().take(5).cloned().collect::<Vec<_>>().join("\n\n");
        assert_eq!(count, 0, "{}: {count} sentences are rejected:\n{first}", grammar.file);
    }
}

/// Changes sentences and compares what grammar and parser say of the result.
fn compare(file: &str, root: &str, exact: bool) {
    let grammar = Grammar::load(file);
    let mut generator = Generator::new(&grammar, 2);
    let mut rng = Rng::new(3);
    let (mut inside, mut outside) = (0, 0);
    for _ in 0..SENTENCES {
        let Sentence { text, escape } = generator.sentence(root, '\\');
        let Ok(text) = String::from_utf8(mutate(text.as_bytes(), &mut rng)) else { continue };
        let derived = matches(&grammar, root, &text, escape);
        let sentence = Sentence { text, escape };
        match (derived, accept(root, &sentence)) {
            (true, Ok(())) => inside += 1,
            (false, Err(_)) => outside += 1,
            (true, Err(error)) => panic!("{root} derives {:?}: {error}", sentence.text),
            (false, Ok(())) if exact => panic!("no {root}, and accepted: {:?}", sentence.text),
            (false, Ok(())) => {}
        }
    }
    assert!(
        inside > SENTENCES / 20 && outside > SENTENCES / 20,
        "{root}: {inside} in, {outside} out"
    );
}

#[test]
fn values_agree_with_their_parsers_either_way() {
    for root in ["port", "signal", "chmod", "duration"] {
        compare("dockerfile", root, true);
    }
    compare("reference", "reference", true);
}

/// These parsers take more than the grammar writes down.
#[test]
fn words_and_patterns_that_are_derived_are_accepted() {
    compare("word", "word", false);
    compare("dockerignore", "patterns", false);
}
