//! Texts that nobody would write: whatever they are, what `tests/fuzzed/checks` says of them holds.

use std::path::Path;

use kiln::dockerfile::word::{Expander, WordError};
use serde_json::Value;

use super::ebnf::Grammar;
use super::generate::Generator;
use super::mutate::mutate;
use super::rng::Rng;
use super::{configuration, dockerfile, ignore, reference, word};

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus")
}

fn rows(file: &str, key: &str) -> Vec<String> {
    let rows: Value = serde_json::from_slice(&std::fs::read(corpus().join(file)).unwrap()).unwrap();
    let texts = rows.as_array().unwrap().iter().filter_map(|row| row[key].as_str());
    texts.map(str::to_owned).collect()
}

/// Checks a text as everything that is not a file.
fn check_value(text: &[u8]) {
    word::check(text);
    word::check(&[text, b"\0a b\\*\n\""].concat());
    dockerfile::check(text);
    configuration::check(&[b"v", text].concat());
    reference::check(text);
    ignore::check(&[text, b"\0a/b"].concat());
    ignore::check(&[b"a*[b-c]\\?\0", text].concat());
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
        dockerfile::check(&text);
        for _ in 0..8 {
            dockerfile::check(&mutate(&text, &mut rng));
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
        check_value(text.as_bytes());
        for _ in 0..6 {
            check_value(&mutate(text.as_bytes(), &mut rng));
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
        ignore::check(text.as_bytes());
        for _ in 0..16 {
            ignore::check(&mutate(text.as_bytes(), &mut rng));
        }
    }
}

/// Each substitution multiplies what the one inside of it makes, and triggers of a base image are expanded too.
#[test]
fn what_comes_out_of_a_word_is_bounded() {
    let value = "a".repeat(64);
    let env = |_: &str| Some(value.clone());
    let expand = |word: &str| Expander::new('\\').expand(word, &env);
    let nested = |depth: usize| (0..depth).fold("a".to_owned(), |it, _| format!("${{x//a/{it}}}"));
    assert_eq!(expand(&nested(3)).unwrap().len(), 64 * 64 * 64);
    assert_eq!(expand(&nested(9)), Err(WordError::TooLong));
    let whole_match = (0..4).fold("a".to_owned(), |it, _| format!("${{x//*/{it}}}"));
    assert!(expand(&whole_match).is_ok());
    let groups = format!("${{x//*/{}}}", "\\$0".repeat(300_000));
    assert_eq!(expand(&groups), Err(WordError::TooLong));
    assert_eq!(expand(&"$x".repeat(300_000)), Err(WordError::TooLong));
    assert_eq!(expand(&format!("\"{}\"", "$x".repeat(300_000))), Err(WordError::TooLong));
}
