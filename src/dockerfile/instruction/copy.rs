//! COPY and ADD: sources, files written in place, and a destination.

use super::super::ast::{Add, Copy, Heredoc, InlineFile, Instruction};
use super::super::error::{ArgumentError, HeredocError, ParseError};
use super::super::flags::{Known, Options, Takes};
use super::super::heredoc;
use super::super::json::Form;
use super::Request;

/// ```text
/// copy_flags ::= "--from=" flag_value | "--chown=" flag_value | "--chmod=" flag_value
///              | "--exclude=" flag_value | ("--link" | "--parents") ("=" ('true' | 'false'))?
/// ```
const COPY_FLAGS: [Known; 6] = [
    ("chown", Takes::Text),
    ("from", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Switch),
    ("exclude", Takes::List),
    ("parents", Takes::Switch),
];

/// ```text
/// add_flags ::= "--chown=" flag_value | "--chmod=" flag_value | "--checksum=" flag_value
///             | "--exclude=" flag_value
///             | ("--link" | "--keep-git-dir" | "--unpack") ("=" ('true' | 'false'))?
/// ```
const ADD_FLAGS: [Known; 7] = [
    ("chown", Takes::Text),
    ("chmod", Takes::Text),
    ("link", Takes::Switch),
    ("keep-git-dir", Takes::Switch),
    ("checksum", Takes::Text),
    ("unpack", Takes::Switch),
    ("exclude", Takes::List),
];

/// `copy ::= 'COPY' (blank+ copy_flags)* blank+ sources`
pub(super) fn copy(request: &Request<'_>) -> Result<Instruction, ParseError> {
    let Sources { paths, inline, dest } = sources(request, "COPY")?;
    let options = Options::parse(request, &COPY_FLAGS)?;
    Ok(Instruction::Copy(Copy {
        sources: paths,
        inline,
        dest,
        from: options.text("from"),
        chown: options.text("chown"),
        chmod: options.text("chmod"),
        link: options.switch("link").unwrap_or_default(),
        parents: options.switch("parents").unwrap_or_default(),
        exclude: excludes(&options),
    }))
}

/// `add ::= 'ADD' (blank+ add_flags)* blank+ sources`
pub(super) fn add(request: &Request<'_>) -> Result<Instruction, ParseError> {
    let Sources { paths, inline, dest } = sources(request, "ADD")?;
    let options = Options::parse(request, &ADD_FLAGS)?;
    Ok(Instruction::Add(Add {
        sources: paths,
        inline,
        dest,
        chown: options.text("chown"),
        chmod: options.text("chmod"),
        link: options.switch("link").unwrap_or_default(),
        exclude: excludes(&options),
        checksum: options.text("checksum"),
        keep_git_dir: options.switch("keep-git-dir"),
        unpack: options.switch("unpack"),
    }))
}

fn excludes(options: &Options) -> Vec<String> {
    options.list("exclude").into_iter().map(|(pattern, _)| pattern).collect()
}

struct Sources {
    paths: Vec<String>,
    inline: Vec<InlineFile>,
    dest: String,
}

/// `sources ::= json_array | (word | heredoc) (blank+ (word | heredoc))* blank+ word`
fn sources(request: &Request<'_>, name: &'static str) -> Result<Sources, ParseError> {
    let mut words = match request.form(name)? {
        Form::Strings(members) => members,
        Form::Text | Form::NotStrings => {
            request.words().into_iter().map(|word| word.text.to_owned()).collect()
        }
    };
    let dest = words.pop().filter(|_| !words.is_empty());
    let dest = dest.ok_or_else(|| request.error(ArgumentError::NoDestination(name)))?;
    if matches!(heredoc::heredoc(&dest), Ok(Some(_))) {
        return Err(request.error(HeredocError::Destination(name)));
    }
    let (mut paths, mut inline) = (Vec::new(), Vec::new());
    for word in words {
        match heredoc::heredoc(&word) {
            Ok(Some(marker)) => inline.push(inline_file(request, marker)),
            Ok(None) | Err(_) => paths.push(word),
        }
    }
    Ok(Sources { paths, inline, dest })
}

/// Finds the body by the delimiter's name; of two with one name the later body counts for both.
fn inline_file(request: &Request<'_>, marker: Heredoc) -> InlineFile {
    let body = request.heredocs.iter().rfind(|heredoc| heredoc.name == marker.name);
    let content = body.map(|heredoc| heredoc.content.as_str()).unwrap_or_default();
    let data = if marker.chomp { heredoc::chomp(content) } else { content.to_owned() };
    InlineFile { path: marker.name, data, expand: marker.expand }
}
