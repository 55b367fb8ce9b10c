//! ENV, LABEL and ARG: names and values.
//!
//! Quotes stay in keys and values; expansion removes them.

use super::super::ast::{ArgDefinition, Instruction, KeyValue};
use super::super::error::{ArgumentError, ParseError};
use super::super::flags::Options;
use super::super::split::blank;
use super::super::words::quoted_words;
use super::{Request, doc_comment};

/// `env ::= 'ENV' blank+ pairs`
pub(super) fn env(request: &Request<'_>) -> Result<Instruction, ParseError> {
    pairs(request, "ENV").map(Instruction::Env)
}

/// `label ::= 'LABEL' blank+ pairs`
pub(super) fn label(request: &Request<'_>) -> Result<Instruction, ParseError> {
    pairs(request, "LABEL").map(Instruction::Label)
}

/// `pairs ::= pair (blank+ pair)* | legacy_pair`
fn pairs(request: &Request<'_>, name: &'static str) -> Result<Vec<KeyValue>, ParseError> {
    let words = quoted_words(request.rest, request.escape);
    let mut found = Vec::new();
    match words.first() {
        None => {}
        Some(word) if !word.text.contains('=') => found.push(legacy_pair(request, name)?),
        Some(_) => {
            for word in &words {
                let Some(pair) = pair(word.text) else {
                    let kind = ArgumentError::NotPair(word.text.to_owned());
                    return Err(request.argument_error(word.range.clone(), kind));
                };
                found.push(pair);
            }
        }
    }
    Options::parse(request, &[])?;
    if found.is_empty() {
        return Err(request.error(ArgumentError::Missing(name)));
    }
    if found.iter().any(|pair| pair.key.is_empty()) {
        return Err(request.error(ArgumentError::EmptyName(name)));
    }
    Ok(found)
}

/// `pair ::= (raw_word - (("--" [^#xA]*) | ([^#xA]* "=" [^#xA]*))) "=" raw_word?`
fn pair(word: &str) -> Option<KeyValue> {
    let (key, value) = word.split_once('=')?;
    Some(KeyValue { key: key.to_owned(), value: value.to_owned(), legacy: false })
}

/// ```text
/// legacy_pair ::= (([^='"] - (whitespace | escape))+ - ("--" [^#xA]*)) blank+ word (blank+ word)*
/// ```
fn legacy_pair(request: &Request<'_>, name: &'static str) -> Result<KeyValue, ParseError> {
    let Some((key, value)) = request.rest.split_once(blank) else {
        return Err(request.error(ArgumentError::NoValue(name)));
    };
    let value = value.trim_start_matches(blank);
    Ok(KeyValue { key: key.to_owned(), value: value.to_owned(), legacy: true })
}

/// `arg ::= 'ARG' (blank+ arg_definition)+`
///
/// Flags are not looked at, as the reference does not.
pub(super) fn arg(request: &Request<'_>) -> Result<Instruction, ParseError> {
    let words = quoted_words(request.rest, request.escape);
    if words.is_empty() {
        return Err(request.error(ArgumentError::Missing("ARG")));
    }
    let mut definitions = Vec::new();
    for word in words {
        let Some(definition) = arg_definition(word.text, &request.line.comments) else {
            return Err(request.argument_error(word.range, ArgumentError::EmptyName("ARG")));
        };
        definitions.push(definition);
    }
    Ok(Instruction::Arg(definitions))
}

/// ```text
/// arg_definition ::= (raw_word - (("--" [^#xA]*) | ([^#xA]* "=" [^#xA]*) | (escape whitespace))) ("=" raw_word?)?
/// ```
fn arg_definition(word: &str, comments: &[String]) -> Option<ArgDefinition> {
    let (key, value) = word.split_once('=').map_or((word, None), |(k, v)| (k, Some(v.to_owned())));
    let doc = doc_comment(comments, key);
    (!key.is_empty()).then(|| ArgDefinition { key: key.to_owned(), value, doc })
}
