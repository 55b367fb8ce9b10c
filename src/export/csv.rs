//! One record of comma separated values, as docker's flags have it (`--output`, `--secret`).
//!
//! The rules are those of RFC 4180 for a single line: a field that opens with `"` ends at the next single `"`, and
//! `""` inside it means one `"`. Spaces are kept. Nothing here knows what the fields mean.

/// Why a text is not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// A quote in the middle of a field that does not open with one.
    #[error("a `\"` inside a field that is not quoted")]
    BareQuote,
    /// Something between a closing quote and the next comma.
    #[error("text after a closing `\"`")]
    AfterQuote,
    /// A quoted field that never ends.
    #[error("a `\"` is never closed")]
    Unclosed,
}

/// Splits `text` into its fields; an empty text has none.
pub fn fields(text: &str) -> Result<Vec<String>, CsvError> {
    let mut fields = Vec::new();
    if text.is_empty() {
        return Ok(fields);
    }
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest)?,
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

fn plain_field(text: &str) -> Result<(String, &str), CsvError> {
    let end = text.find(',').unwrap_or(text.len());
    let (field, after) = text.split_at(end);
    if field.contains('"') {
        return Err(CsvError::BareQuote);
    }
    Ok((field.to_owned(), after))
}

fn quoted_field(text: &str) -> Result<(String, &str), CsvError> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"').ok_or(CsvError::Unclosed)?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if let Some(after) = rest.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if rest.is_empty() || rest.starts_with(',') {
            return Ok((field, rest));
        } else {
            return Err(CsvError::AfterQuote);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let cases: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a,", &["a", ""]),
            ("a, b ", &["a", " b "]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#""say ""hi""",c"#, &["say \"hi\"", "c"]),
            (r#""""#, &[""]),
        ];
        for (text, expected) in cases {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn broken_records() {
        let cases = [
            (r#"a"b"#, CsvError::BareQuote),
            (r#""a"b,c"#, CsvError::AfterQuote),
            (r#""a,b"#, CsvError::Unclosed),
            (r#"""#, CsvError::Unclosed),
        ];
        for (text, expected) in cases {
            assert_eq!(fields(text), Err(expected), "{text}");
        }
    }
}
