//! Which files a COPY or ADD takes: wildcards, links, `--exclude` and `--parents`, and their identity for keys.

use std::sync::Arc;

use super::error::StepError;
use crate::digest::{ContentDigest, ContentHasher};
use crate::dockerignore::{self, Matcher};
use crate::graph::Parents;
use crate::layer::{LastLink, Node, Tree, TreePath};
use crate::wildcard::{self, has_wildcards};

/// One thing to copy: where the instruction found it, and what is there once links are followed.
#[derive(Clone)]
pub(super) struct Found {
    /// As named; its last component names the copy.
    pub(super) named: TreePath,
    /// With links followed.
    pub(super) real: TreePath,
    /// What is there; nobody else's once the tree is gone.
    pub(super) node: Arc<Node>,
}

/// Finds what a source names. Wildcards that match nothing are no error; a plain name that is not there is.
pub(super) fn find(tree: &Tree, path: &str, is_pattern: bool) -> Result<Vec<Found>, StepError> {
    let found = match is_pattern {
        true => resolve_wildcards(tree, path)?,
        false => vec![path_of(path)?],
    };
    found.into_iter().map(|named| follow(tree, named, is_pattern)).collect()
}

fn follow(tree: &Tree, named: TreePath, links: bool) -> Result<Found, StepError> {
    let real = tree.resolve(&named, if links { LastLink::Follow } else { LastLink::Keep })?;
    match tree.shared(&real).cloned() {
        Some(node) => Ok(Found { named, real, node }),
        None => Err(StepError::NotFound(named)),
    }
}

/// Returns a path beneath the root, whatever `..` it has.
pub(super) fn path_of(text: &str) -> Result<TreePath, StepError> {
    TreePath::clean(text).ok_or_else(|| StepError::Name(text.to_owned()))
}

/// Go's `ResolveWildcards`: the part before the first component with a wildcard is followed, the rest is matched
/// against everything beneath it; a directory that matches is not entered.
fn resolve_wildcards(tree: &Tree, path: &str) -> Result<Vec<TreePath>, StepError> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let Some(first) = parts.iter().position(|part| has_wildcards(part)) else {
        return Ok(vec![path_of(path)?]);
    };
    let pattern = parts[first..].join("/");
    // A match finds mistakes wherever they are in the pattern.
    if wildcard::matches(&pattern, "").is_err() {
        return Err(StepError::Pattern(format!("`{path}` is not a pattern")));
    }
    let top = path_of(&parts[..first].join("/"))?;
    let top = tree.resolve(&top, LastLink::Follow)?;
    let node = tree.get(&top).ok_or_else(|| StepError::NotFound(top.clone()))?;
    // A class may match a slash, so only patterns without one have a known depth.
    let depth = if pattern.contains('[') { usize::MAX } else { parts.len() - first };
    let mut found = Vec::new();
    search(node, &top, &TreePath::root(), &Search { pattern: &pattern, depth }, &mut found);
    Ok(found)
}

struct Search<'a> {
    pattern: &'a str,
    depth: usize,
}

fn search(
    node: &Node,
    at: &TreePath,
    below: &TreePath,
    search_for: &Search<'_>,
    found: &mut Vec<TreePath>,
) {
    let Some(children) = node.children() else { return };
    if below.components().count() >= search_for.depth {
        return;
    }
    for (name, child) in children {
        let (Some(path), Some(relative)) = (at.join(name), below.join(name)) else { continue };
        let relative_name = String::from_utf8_lossy(relative.as_bytes());
        if wildcard::matches(search_for.pattern, &relative_name).unwrap_or(false) {
            found.push(path);
        } else {
            search(child, &path, &relative, search_for, found);
        }
    }
}

/// The patterns of one COPY or ADD.
#[derive(Default)]
pub(super) struct Filter {
    pub(super) include: Option<Matcher>,
    pub(super) exclude: Option<Matcher>,
}

/// How far a [`Filter`] is on the way down.
#[derive(Clone, Default)]
pub(super) struct FilterState {
    include: dockerignore::Parents,
    exclude: dockerignore::Parents,
}

/// What a [`Filter`] says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Copied.
    Included,
    /// Not copied itself; something beneath it may be.
    Passed,
    /// Not copied, and nothing beneath it either.
    Pruned,
}

impl Filter {
    pub(super) fn new(exclude: &[String], parents: Option<&Parents>) -> Result<Self, StepError> {
        let matcher = |patterns: &[String]| {
            Matcher::new(patterns).map_err(|error| StepError::Pattern(error.to_string()))
        };
        let include =
            parents.map(|parents| matcher(std::slice::from_ref(&parents.pattern))).transpose()?;
        let exclude = (!exclude.is_empty()).then(|| matcher(exclude)).transpose()?;
        Ok(Self { include, exclude })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Judges a path relative to what is copied, given what was said of its parent.
    pub(super) fn judge(&self, path: &TreePath, parent: &FilterState) -> (Verdict, FilterState) {
        let mut state = FilterState::default();
        let mut included = true;
        if let Some(matcher) = &self.include {
            (included, state.include) = check(matcher, path, &parent.include);
        }
        let mut excluded = false;
        if let Some(matcher) = &self.exclude {
            (excluded, state.exclude) = check(matcher, path, &parent.exclude);
        }
        let excepted = self.exclude.as_ref().is_some_and(Matcher::has_exceptions);
        let verdict = match (included && !excluded, excluded && !excepted) {
            (true, _) => Verdict::Included,
            (false, true) => Verdict::Pruned,
            (false, false) => Verdict::Passed,
        };
        (verdict, state)
    }
}

/// A pattern that only fails on some names matches none of those.
fn check(
    matcher: &Matcher,
    path: &TreePath,
    parents: &dockerignore::Parents,
) -> (bool, dockerignore::Parents) {
    match matcher.check(path.as_bytes(), parents) {
        Ok(verdict) => (verdict.matched, verdict.parents),
        Err(_) => (false, parents.clone()),
    }
}

/// Returns the identity of everything that a source takes: names and contents, no times.
pub(super) fn identity(found: &[Found], filter: &Filter) -> ContentDigest {
    let mut hasher = ContentHasher::new();
    for Found { named, node, .. } in found {
        hasher.field(named.as_bytes());
        if filter.is_empty() || !node.is_directory() {
            hasher.field(node.identity().as_bytes());
        } else {
            hash_filtered(node, &TreePath::root(), filter, &FilterState::default(), &mut hasher);
        }
    }
    hasher.content()
}

fn hash_filtered(
    node: &Node,
    at: &TreePath,
    filter: &Filter,
    state: &FilterState,
    hasher: &mut ContentHasher,
) {
    // The directory by itself: a passed one may still have to be made for what is in it.
    hasher.field(at.as_bytes());
    hasher.field(node.alone(node.meta().clone()).identity().as_bytes());
    for (name, child) in node.children().into_iter().flatten() {
        let Some(path) = at.join(name) else { continue };
        let (verdict, state) = filter.judge(&path, state);
        match (verdict, child.is_directory()) {
            (Verdict::Included | Verdict::Passed, true) => {
                hasher.field(&[verdict as u8]);
                hash_filtered(child, &path, filter, &state, hasher);
            }
            (Verdict::Included, false) => {
                hasher.field(path.as_bytes());
                hasher.field(child.identity().as_bytes());
            }
            (Verdict::Passed, false) | (Verdict::Pruned, _) => {}
        }
    }
}
