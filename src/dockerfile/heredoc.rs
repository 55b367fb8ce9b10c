//! Finding the here-documents that a line opens.
//!
//! Words are found with backslash escapes whatever the escape directive says, as the reference does. A line that
//! cannot be split into words (an unpaired quote) opens none.

use nom::bytes::complete::{tag, take_while};
use nom::character::complete::{char, digit0};
use nom::combinator::{opt, rest, verify};
use nom::{IResult, Parser};

use super::ast::Heredoc;
use super::error::HeredocError;
use super::word::Expander;

/// Returns the here-documents of a line in order, their bodies still empty.
pub(super) fn heredocs(line: &str) -> Result<Vec<Heredoc>, HeredocError> {
    let engine = Expander {
        raw_quotes: true,
        raw_escapes: true,
        skip_unset_env: true,
        ..Expander::new('\\')
    };
    let words = engine.process_words(line, &|_| None).unwrap_or_default();
    words.iter().filter_map(|word| heredoc(word).transpose()).collect()
}

/// `heredoc ::= [0-9]* "<<" ("-" | [#x9#x20]*) heredoc_name`
pub(super) fn heredoc(word: &str) -> Result<Option<Heredoc>, HeredocError> {
    let Ok((_, (fd, chomp, delimiter))) = marker(word) else { return Ok(None) };
    let Some((name, expand)) = heredoc_name(delimiter)? else { return Ok(None) };
    // A number beyond the type means nothing to any shell; the largest stands for it.
    let fd = if fd.is_empty() { 0 } else { fd.parse().unwrap_or(u32::MAX) };
    Ok(Some(Heredoc { name, content: String::new(), expand, chomp, fd }))
}

/// ```text
/// heredoc_name ::= [A-Za-z0-9_.] [A-Za-z0-9_.-]*
///                | "'" [A-Za-z0-9_.#x20-]+ "'" | '"' [A-Za-z0-9_.#x20-]+ '"'
/// ```
///
/// Returns nothing if this is not exactly one word, else the name and whether the body is expanded: it is unless
/// some part of the name was quoted.
fn heredoc_name(delimiter: &str) -> Result<Option<(String, bool)>, HeredocError> {
    let mut engine = Expander { skip_unset_env: true, ..Expander::new('\\') };
    let split = |engine: &Expander| {
        engine.process_words(delimiter, &|_| None).map_err(HeredocError::Delimiter)
    };
    let words = split(&engine)?;
    engine.raw_quotes = true;
    let raw = split(&engine)?;
    let ([name], [raw]) = (words.as_slice(), raw.as_slice()) else { return Ok(None) };
    let quotes = |text: &str| text.chars().filter(|c| matches!(c, '\'' | '"')).count();
    Ok(Some((name.clone(), quotes(name) == quotes(raw))))
}

fn marker(word: &str) -> IResult<&str, (&str, bool, &str)> {
    let blank = |c| matches!(c, '\t' | '\n' | '\x0c' | '\r' | ' ');
    let delimiter = verify(rest, |text: &str| !text.contains('<'));
    (digit0, tag("<<"), opt(char('-')), take_while(blank), delimiter)
        .map(|(fd, _, dash, _, delimiter)| (fd, dash.is_some(), delimiter))
        .parse(word)
}

/// Says whether a whole command is nothing but one here-document.
pub fn is_single(command: &str) -> bool {
    matches!(heredoc(command), Ok(Some(_)))
}

/// Returns the text of a here-document as its command gets it.
pub fn body(document: &Heredoc) -> String {
    if document.chomp { chomp(&document.content) } else { document.content.clone() }
}

/// Removes the leading tabs of each line.
pub fn chomp(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::{chomp, heredocs};

    #[test]
    fn markers_are_found() {
        let found = heredocs("RUN cat <<EOF 3<<-\"E F\" << END > /x").unwrap();
        let shape: Vec<_> =
            found.iter().map(|h| (h.name.as_str(), h.fd, h.chomp, h.expand)).collect();
        assert_eq!(
            shape,
            [("EOF", 0, false, true), ("E F", 3, true, false), ("END", 0, false, true)]
        );
    }

    #[test]
    fn an_unpaired_quote_hides_them() {
        assert!(heredocs("RUN echo it's <<EOF").unwrap().is_empty());
    }

    #[test]
    fn tabs_go_and_blanks_stay() {
        assert_eq!(chomp("\t\ta\n \tb\n\n\tc"), "a\n \tb\n\nc");
    }
}
