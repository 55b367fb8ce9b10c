//! COPY and ADD: sources, destination, owner and permissions.

use super::facts::Seen;
use super::lower::{Current, Lowering};
use super::stage::Step;
use super::state::{State, clean};
use super::{
    Copy, CopySource, FileAction, FileOp, FilesSource, GraphError, HttpSource, Op, Parents,
    VertexId,
};
use crate::digest::Digest;
use crate::dockerfile::ast::{self, InlineFile};
use crate::dockerfile::chmod;
use crate::dockerfile::word::Expander;
use crate::wildcard::has_wildcards;

/// What COPY and ADD have in common, expanded.
struct Request {
    keyword: &'static str,
    sources: Vec<String>,
    inline: Vec<InlineFile>,
    dest: String,
    chown: String,
    chmod: String,
    exclude: Vec<String>,
    link: bool,
    parents: bool,
    unpack: Option<bool>,
    checksum: String,
}

pub(super) fn lower_copy(
    lowering: &mut Lowering<'_>,
    current: &mut Current,
    step: &Step,
    copy: &ast::Copy,
) -> Result<(), GraphError> {
    let state = &current.state;
    let request = Request {
        keyword: "COPY",
        chown: lowering.expand(state, &copy.chown)?,
        chmod: lowering.expand(state, &copy.chmod)?,
        sources: lowering.expand_all(state, &copy.sources)?,
        dest: lowering.expand(state, &copy.dest)?,
        inline: expand_inline(lowering, state, &copy.inline)?,
        exclude: copy.exclude.clone(),
        link: copy.link,
        parents: copy.parents,
        unpack: Some(false),
        checksum: String::new(),
    };
    let from = match step.sources.first().copied().flatten() {
        Some(stage) => Some(lowering.stage_files(stage, current)?),
        None => None,
    };
    lower(lowering, current, step, request, from)
}

pub(super) fn lower_add(
    lowering: &mut Lowering<'_>,
    current: &mut Current,
    step: &Step,
    add: &ast::Add,
) -> Result<(), GraphError> {
    let state = &current.state;
    let request = Request {
        keyword: "ADD",
        chown: lowering.expand(state, &add.chown)?,
        chmod: lowering.expand(state, &add.chmod)?,
        checksum: lowering.expand(state, &add.checksum)?,
        sources: lowering.expand_all(state, &add.sources)?,
        dest: lowering.expand(state, &add.dest)?,
        inline: expand_inline(lowering, state, &add.inline)?,
        exclude: add.exclude.clone(),
        link: add.link,
        parents: false,
        unpack: add.unpack,
    };
    lower(lowering, current, step, request, None)
}

/// Copies all of a vertex's files to the root, as a directory that serves as a base is.
pub(super) fn everything(files: VertexId) -> FileAction {
    let path = "/".to_owned();
    let source = CopySource::Vertex { id: Some(files), path, pattern: true, parents: None };
    let (chown, exclude) = (String::new(), Vec::new());
    FileAction::Copy(Copy { source, dest: "/".into(), chown, chmod: None, unpack: false, exclude })
}

fn lower(
    lowering: &mut Lowering<'_>,
    current: &mut Current,
    step: &Step,
    request: Request,
    from: Option<Option<VertexId>>,
) -> Result<(), GraphError> {
    check_checksum(&request)?;
    let chmod = match request.chmod.as_str() {
        "" => None,
        text => Some(chmod::chmod(text)?),
    };
    let template = Copy {
        source: CopySource::Inline { name: String::new(), content: String::new() },
        dest: destination(&request.dest, current.state.cwd()),
        chown: request.chown.clone(),
        chmod,
        unpack: false,
        exclude: request.exclude.clone(),
    };
    let mut actions = Vec::new();
    for written in &request.sources {
        let (source, unpack) = source(lowering, step, &request, written, from)?;
        actions.push(FileAction::Copy(Copy { source, unpack, ..template.clone() }));
    }
    for file in &request.inline {
        let source = CopySource::Inline { name: file.path.clone(), content: file.data.clone() };
        actions.push(FileAction::Copy(Copy { source, ..template.clone() }));
    }
    // The reference drops --link where --chmod is given.
    let link = request.link && request.chmod.is_empty();
    let shown = lowering.shown(&current.state, step);
    lowering.push(current, Op::File(FileOp { actions, link }), &shown, step);
    current.state.record(format!("{} # buildkit", describe(&request)), true);
    Ok(())
}

fn check_checksum(request: &Request) -> Result<(), GraphError> {
    if request.checksum.is_empty() {
        return Ok(());
    }
    match &request.sources[..] {
        [one] if is_http(one) || is_git(one) => Ok(()),
        [_] => Err(GraphError::new("`--checksum` needs a source from the web")),
        _ => Err(GraphError::new("`--checksum` needs exactly one source")),
    }
}

/// Returns one source, and whether archives in it are unpacked.
fn source(
    lowering: &mut Lowering<'_>,
    step: &Step,
    request: &Request,
    written: &str,
    from: Option<Option<VertexId>>,
) -> Result<(CopySource, bool), GraphError> {
    if is_git(written) {
        if request.keyword == "COPY" {
            let error = GraphError::new("the source of COPY cannot be a git repository");
            return Err(error.hint("use ADD"));
        }
        let id = Some(lowering.git(written, step.command.span));
        let path = "/".to_owned();
        return Ok((CopySource::Vertex { id, path, pattern: true, parents: None }, false));
    }
    if is_http(written) {
        if request.keyword == "COPY" {
            return Err(GraphError::new("the source of COPY cannot be a URL").hint("use ADD"));
        }
        let filename = filename(written);
        let checksum = checksum(&request.checksum)?;
        let http = HttpSource { url: written.to_owned(), filename: filename.clone(), checksum };
        let id = Some(lowering.http(http, step.command.span));
        let path = format!("/{filename}");
        let source = CopySource::Vertex { id, path, pattern: false, parents: None };
        return Ok((source, request.unpack.unwrap_or(false)));
    }
    let (path, parents) = match request.parents {
        true => {
            let (path, parents) = split_parents(written);
            (path, Some(parents))
        }
        false => (clean(&format!("/{written}")), None),
    };
    let id = match from {
        Some(stage) => stage,
        None => {
            let (keyword, path) = (request.keyword, written.to_owned());
            lowering.notes.add(Seen::ContextPath { keyword, path });
            Some(lowering.files(FilesSource::Main))
        }
    };
    let unpack = request.unpack.unwrap_or(request.keyword == "ADD");
    Ok((CopySource::Vertex { id, path, pattern: true, parents }, unpack))
}

/// Splits a source of COPY --parents at its pivot `/./`.
fn split_parents(written: &str) -> (String, Parents) {
    let (base, pattern) = written.split_once("/./").unwrap_or(("/", written));
    let pattern = clean(&format!("/{pattern}"));
    let base = clean(&format!("/{base}"));
    let plain = !has_wildcards(&base) && !has_wildcards(&pattern);
    let required = plain.then(|| clean(&format!("{base}/{pattern}")));
    (base, Parents { pattern: pattern.trim_start_matches('/').to_owned(), required })
}

/// Returns the absolute destination; a trailing `/` or `/.` stays, because it says that it is a directory.
fn destination(written: &str, cwd: &str) -> String {
    let written = if matches!(written, "" | ".") { "./" } else { written };
    let absolute =
        if written.starts_with('/') { written.to_owned() } else { format!("{cwd}/{written}") };
    let cleaned = clean(&absolute);
    match cleaned.as_str() {
        "/" => cleaned,
        _ if written.ends_with('/') || written.ends_with("/.") => format!("{cleaned}/"),
        _ => cleaned,
    }
}

fn filename(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    match path.rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => percent_decode(name).unwrap_or_else(|| name.to_owned()),
    }
}

/// Decodes `%41`; `None` if the result is not a plain file name.
fn percent_decode(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        match code
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .map(|hex| u8::from_str_radix(hex, 16))
        {
            Some(Ok(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok().filter(|name| !name.contains(['/', '\0']))
}

fn checksum(text: &str) -> Result<Option<Digest>, GraphError> {
    match text {
        "" => Ok(None),
        text => Ok(Some(text.parse()?)),
    }
}

fn is_http(source: &str) -> bool {
    (source.starts_with("http://") || source.starts_with("https://")) && !is_git(source)
}

/// Returns whether a source is a git repository by its form: a git scheme, `git@host:path`, or a URL whose path
/// ends in `.git`.
fn is_git(source: &str) -> bool {
    if source.starts_with("git://") || source.starts_with("ssh://") {
        return true;
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        let path = source.split(['#', '?']).next().unwrap_or(source);
        return path.ends_with(".git");
    }
    let Some((user_host, path)) = source.split_once(':') else { return false };
    let Some((user, host)) = user_host.split_once('@') else { return false };
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    plain(user) && plain(host) && !path.is_empty()
}

/// The instruction as the history has it.
fn describe(request: &Request) -> String {
    let mut text = request.keyword.to_owned();
    if request.parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("chown", &request.chown), ("chmod", &request.chmod)] {
        if !value.is_empty() {
            text.push_str(&format!(" --{flag}={value}"));
        }
    }
    for source in &request.sources {
        text.push_str(&format!(" {source}"));
    }
    for file in &request.inline {
        text.push_str(&format!(" <<{}", file.path));
    }
    format!("{text} {}", request.dest)
}

/// Expands the bodies of unquoted here-documents: variables and backslash escapes, but no quotes.
fn expand_inline(
    lowering: &mut Lowering<'_>,
    state: &State,
    files: &[InlineFile],
) -> Result<Vec<InlineFile>, GraphError> {
    let expander = Expander { skip_process_quotes: true, ..Expander::new('\\') };
    let expand = |file: &InlineFile| {
        let data = match file.expand {
            true => lowering.notes.expand(&expander, state, &file.data),
            false => Ok(file.data.clone()),
        };
        Ok(InlineFile { data: data?, ..file.clone() })
    };
    files.iter().map(expand).collect()
}
