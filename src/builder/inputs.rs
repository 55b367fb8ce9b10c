//! What the request names, read and checked: Dockerfile, contexts, platform, names.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::platforms::Platforms;
use super::{Build, Context, DockerfileSource, NetworkMode, NoCache, report};
use crate::cache::LastBuild;
use crate::diagnostic::{Blame, Diagnostic, Place};
use crate::dockerfile::ast::{Dockerfile, Span};
use crate::dockerignore::Matcher;
use crate::export::Output;
use crate::fs;
use crate::graph::{
    CopySource, Entitlements, FileAction, FilesSource, Graph, ImageLocation, NamedContext, Op,
    Request, RunMountKind, RunNetwork, context_key,
};
use crate::layer::{LastLink, Tree, TreePath};
use crate::oci::{Platform, Reference, ReferenceError};
use crate::solve::ContextFiles;
use crate::source::archive;
use crate::source::context::{LocalContext, find_ignore_file};
use crate::store::Store;

pub(super) type Checked<T> = Result<T, Vec<Diagnostic>>;

/// The largest Dockerfile, in bytes.
pub const LARGEST_DOCKERFILE: u64 = 16 << 20;

/// What the request names.
pub struct Inputs {
    /// The Dockerfile's name as the user gave it.
    pub display: String,
    /// The Dockerfile's bytes.
    pub text: Vec<u8>,
    /// What lowering is told: one for each platform, at least one.
    pub requests: Vec<Request>,
    /// Whether the result is an index, even of one image.
    pub is_index: bool,
    /// Names for the result.
    pub tags: Vec<Reference>,
    context: MainContext,
}

enum MainContext {
    Local { root: PathBuf, dockerfile: Option<PathBuf> },
    Tree(Tree),
    Empty,
}

impl Inputs {
    /// Reads and checks what the request names.
    pub fn read(request: &Build, store: &Store) -> Checked<Self> {
        let mut context = match &request.context {
            Context::Directory(root) => {
                MainContext::Local { root: canonical(root)?, dockerfile: None }
            }
            Context::Archive(path) => {
                let file = fs::open(path).map_err(report::path)?;
                MainContext::Tree(archive::read(file, store).map_err(|e| report::source(&e))?)
            }
            Context::Empty => MainContext::Empty,
        };
        let (display, text) = dockerfile(&request.dockerfile, &context)?;
        if let (MainContext::Local { dockerfile, .. }, DockerfileSource::File { path, .. }) =
            (&mut context, &request.dockerfile)
        {
            *dockerfile = Some(path.clone());
        }
        let platforms = Platforms::wanted(request)?;
        let lowering = lowering_request(request)?;
        for name in request.outputs.iter().flat_map(|output| &output.names) {
            new_name(name)?;
        }
        let tags = request.tags.iter().map(|tag| new_name(tag)).collect::<Checked<Vec<_>>>()?;
        for output in request.outputs.iter().filter(|output| output.push) {
            check_push(request, output)?;
        }
        let is_index = platforms.is_index;
        Ok(Self { display, text, requests: platforms.each(&lowering), is_index, tags, context })
    }

    /// Returns the names that an output gives the image: those of `--tag` and its own.
    pub(super) fn names(&self, output: &Output) -> Vec<Reference> {
        let own = output.names.iter().filter_map(|name| Reference::parse(name).ok());
        let names = self.tags.iter().cloned().chain(own);
        match output.push_by_digest {
            true => names.map(|name| name.repository()).collect(),
            false => names.map(Reference::or_latest).collect(),
        }
    }

    /// Parses the Dockerfile.
    pub fn parse(&self) -> Checked<Dockerfile> {
        parse(&self.display, &self.text)
    }

    /// Returns a place in the Dockerfile.
    pub fn place(&self, span: Span) -> Place {
        place(&self.display, &self.text, span)
    }

    /// Names what a person takes for the same build: the same Dockerfile on the same context, for the same target.
    pub(super) fn memory(&self, request: &Build) -> String {
        use std::os::unix::ffi::OsStrExt;
        let context = match &self.context {
            MainContext::Local { root, .. } => root.as_os_str().as_bytes(),
            MainContext::Tree(_) => b"archive",
            MainContext::Empty => b"",
        };
        let target = request.target.as_deref().unwrap_or_default();
        let platforms = request.platforms.join(",");
        LastBuild::name(&[
            context,
            self.display.as_bytes(),
            target.as_bytes(),
            platforms.as_bytes(),
        ])
    }

    /// Returns the matcher of the main context's ignore file; nothing if that cannot be used, which is an error once
    /// files are read.
    pub(super) fn ignore_matcher(&self) -> Option<Matcher> {
        let MainContext::Local { root, dockerfile } = &self.context else { return None };
        let (_, text) = find_ignore_file(root, dockerfile.as_deref()).ok()??;
        Matcher::parse(&text).ok()
    }

    /// Returns the contexts that a graph uses, with what it uses of them.
    pub(super) fn contexts(&self, graph: &Graph) -> Checked<Vec<(FilesSource, ContextFiles)>> {
        let mut contexts = Vec::new();
        for (id, vertex) in graph.iter() {
            let Op::Files(source) = &vertex.op else { continue };
            let paths = used_paths(graph, id);
            let files = match (source, &self.context) {
                (FilesSource::Named(root), _) => {
                    let ignore = find_ignore_file(root, None).map_err(|e| report::source(&e))?;
                    ContextFiles::Local(LocalContext { root: root.clone(), ignore, paths })
                }
                (FilesSource::Main, MainContext::Local { root, dockerfile }) => {
                    let ignore = find_ignore_file(root, dockerfile.as_deref());
                    let ignore = ignore.map_err(|e| report::source(&e))?;
                    ContextFiles::Local(LocalContext { root: root.clone(), ignore, paths })
                }
                (FilesSource::Main, MainContext::Tree(tree)) => ContextFiles::Tree(tree.clone()),
                (FilesSource::Main, MainContext::Empty) => continue,
            };
            contexts.push((source.clone(), files));
        }
        Ok(contexts)
    }
}

/// Parses a Dockerfile; `display` is what the user calls it.
pub fn parse(display: &str, text: &[u8]) -> Checked<Dockerfile> {
    if text.is_empty() {
        let hint = Some("it needs at least a FROM instruction".to_owned());
        let message = format!("the Dockerfile `{display}` is empty");
        return Err(vec![Diagnostic::new(Blame::Input, message).hint(hint)]);
    }
    Dockerfile::parse(text).map_err(|errors| {
        let diagnostic = |error: &crate::dockerfile::ParseError| {
            let mut diagnostic =
                Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint());
            diagnostic.place = Some(place(display, text, error.span));
            diagnostic
        };
        errors.iter().map(diagnostic).collect()
    })
}

fn place(display: &str, text: &[u8], span: Span) -> Place {
    let text = String::from_utf8_lossy(text).into_owned();
    let end = span.end.min(text.len());
    Place { file: display.to_owned(), start: span.start.min(end), end, text }
}

/// Returns the paths of a context that a graph reads.
fn used_paths(graph: &Graph, context: crate::graph::VertexId) -> Vec<String> {
    let mut paths = Vec::new();
    for (_, vertex) in graph.iter() {
        match &vertex.op {
            Op::File(file) => {
                for action in &file.actions {
                    if let FileAction::Copy(copy) = action
                        && let CopySource::Vertex { id: Some(id), path, .. } = &copy.source
                        && *id == context
                    {
                        paths.push(path.clone());
                    }
                }
            }
            Op::Run(run) => {
                for mount in &run.mounts {
                    match &mount.kind {
                        RunMountKind::Bind { input: Some(id), source, .. } if *id == context => {
                            paths.push(source.clone());
                        }
                        RunMountKind::Cache(cache) if cache.input == Some(context) => {
                            paths.push(cache.source.clone());
                        }
                        RunMountKind::Bind { .. }
                        | RunMountKind::Cache(_)
                        | RunMountKind::Tmpfs { .. }
                        | RunMountKind::Secret(_)
                        | RunMountKind::Ssh(_)
                        | RunMountKind::Script { .. } => {}
                    }
                }
            }
            Op::Image(_) | Op::Files(_) | Op::Http(_) | Op::Git(_) => {}
        }
    }
    paths
}

fn canonical(path: &Path) -> Checked<PathBuf> {
    std::fs::canonicalize(path)
        .map_err(|error| report::path(fs::PathError::of("open", path)(error)))
}

fn dockerfile(source: &DockerfileSource, context: &MainContext) -> Checked<(String, Vec<u8>)> {
    match source {
        DockerfileSource::Text { display, text } => Ok((display.clone(), text.clone())),
        DockerfileSource::File { path, display } => {
            let limit = LARGEST_DOCKERFILE + 1;
            let text = match context {
                MainContext::Local { root, .. } => fs::read_within(root, path, limit),
                MainContext::Tree(_) | MainContext::Empty => {
                    fs::read_regular(path, limit).map(Some)
                }
            };
            let text = text.map_err(report::path)?.ok_or_else(|| no_dockerfile(display))?;
            not_too_large(display, text)
        }
        DockerfileSource::InContext(name) => {
            let MainContext::Tree(tree) = context else { return Err(no_dockerfile(name)) };
            let path = TreePath::clean(name).unwrap_or_default();
            let path = tree.resolve(&path, LastLink::Follow).unwrap_or(path);
            let mut text = Vec::new();
            let file = tree.open(&path).map_err(|_| no_dockerfile(name))?;
            let read = file.take(LARGEST_DOCKERFILE + 1).read_to_end(&mut text);
            read.map_err(|error| report::path(fs::PathError::of("read", path.as_path())(error)))?;
            not_too_large(name, text)
        }
    }
}

fn not_too_large(display: &str, text: Vec<u8>) -> Checked<(String, Vec<u8>)> {
    if text.len() as u64 > LARGEST_DOCKERFILE {
        let limit = LARGEST_DOCKERFILE >> 20;
        let message = format!("the Dockerfile `{display}` is larger than {limit} MiB");
        return Err(vec![Diagnostic::new(Blame::Input, message)]);
    }
    Ok((display.to_owned(), text))
}

/// Checks the names that an output is pushed to.
fn check_push(request: &Build, output: &Output) -> Checked<()> {
    let mut names = request.tags.iter().chain(&output.names).peekable();
    let (message, hint) = if names.peek().is_none() {
        ("there is no name to push the image to".to_owned(), "name it with `--tag NAME`")
    } else {
        let has_tag = |name: &&String| {
            Reference::parse(name).is_ok_and(|name| name.tag().is_some() || name.digest().is_some())
        };
        match names.find(has_tag).filter(|_| output.push_by_digest) {
            None => return Ok(()),
            Some(name) => (
                format!("`{name}` has a tag, and the image is to be pushed by digest"),
                "leave the tag out, or `push-by-digest`",
            ),
        }
    };
    Err(vec![Diagnostic::new(Blame::Input, message).hint(Some(hint.to_owned()))])
}

fn no_dockerfile(name: &str) -> Vec<Diagnostic> {
    let hint = "name another one with `-f`, or run kiln in the directory that has it";
    vec![
        Diagnostic::new(Blame::Input, format!("there is no Dockerfile `{name}`"))
            .hint(Some(hint.to_owned())),
    ]
}

fn reference(text: &str) -> Checked<Reference> {
    Reference::parse(text).map(Reference::or_latest).map_err(no_name)
}

/// Reads a name that the result is given.
fn new_name(text: &str) -> Checked<Reference> {
    let name = reference(text)?;
    match name.can_be_given() {
        true => Ok(name),
        false => {
            let message = format!(
                "`{text}` cannot be given to an image: it is, or looks like, a name with a digest"
            );
            let hint = Some("give a name with a tag, or with none".to_owned());
            Err(vec![Diagnostic::new(Blame::Input, message).hint(hint)])
        }
    }
}

fn no_name(error: ReferenceError) -> Vec<Diagnostic> {
    vec![Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint())]
}

/// What is the same for every platform.
fn lowering_request(request: &Build) -> Checked<Request> {
    let mut named_contexts = BTreeMap::new();
    for (name, value) in &request.named_contexts {
        let (name, suffix) = match name.split_once("::") {
            Some((name, platform)) => (name, format!("::{platform}")),
            None => (name.as_str(), String::new()),
        };
        named_contexts
            .insert(format!("{}{suffix}", context_key(name)), named_context(name, value)?);
    }
    Ok(Request {
        target: request.target.clone(),
        build_args: request.build_args.iter().cloned().collect(),
        labels: request.labels.clone(),
        named_contexts,
        entitlements: Entitlements {
            // What the build has anyway need not be allowed.
            host_network: request.entitlements.host_network
                || matches!(request.network, NetworkMode::Default | NetworkMode::Host),
            ..request.entitlements
        },
        network: match request.network {
            // As in the reference, what the default is is no part of what a step is.
            NetworkMode::Default | NetworkMode::Private(_) => RunNetwork::Default,
            NetworkMode::Host => RunNetwork::Host,
            NetworkMode::None => RunNetwork::None,
        },
        no_cache: match &request.no_cache {
            NoCache::Never => None,
            NoCache::All => Some(Vec::new()),
            NoCache::Stages(names) => Some(names.iter().map(|name| name.to_lowercase()).collect()),
        },
        ..Request::new(Platform::host())
    })
}

/// Reads the value of `--build-context`.
fn named_context(name: &str, value: &str) -> Checked<NamedContext> {
    if let Some(reference) = value.strip_prefix("docker-image://") {
        return match reference {
            "scratch" => Ok(NamedContext::Scratch),
            text => Ok(NamedContext::Image(ImageLocation::named(text).map_err(no_name)?)),
        };
    }
    if let Some(layout) = value.strip_prefix("oci-layout://") {
        let (path, selector) = split_layout(layout);
        return Ok(NamedContext::Image(ImageLocation::Layout(
            canonical(Path::new(path))?,
            selector,
        )));
    }
    let unsupported = ["http://", "https://", "git://", "ssh://", "git@", "target:"];
    if unsupported.iter().any(|scheme| value.starts_with(scheme)) {
        let message =
            format!("the context `{name}` is `{value}`, a kind that is not supported yet");
        let hint = "use a directory, docker-image:// or oci-layout://".to_owned();
        return Err(vec![Diagnostic::new(Blame::Input, message).hint(Some(hint))]);
    }
    let path = Path::new(value);
    if !path.is_dir() {
        let message = format!("the context `{name}` is `{value}`, which is no directory");
        let hint = "use a directory, docker-image:// or oci-layout://".to_owned();
        return Err(vec![Diagnostic::new(Blame::Input, message).hint(Some(hint))]);
    }
    Ok(NamedContext::Directory(canonical(path)?))
}

/// Splits `dir:tag` and `dir@digest`.
fn split_layout(text: &str) -> (&str, Option<String>) {
    if let Some((path, digest)) = text.rsplit_once('@') {
        return (path, Some(digest.to_owned()));
    }
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
        _ => (text, None),
    }
}
