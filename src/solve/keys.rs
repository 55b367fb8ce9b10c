//! Which key a vertex has: before anything runs, and once its inputs are done.

use super::error::StepError;
use super::{Files, Progress, Solver, Value, select};
use crate::cache::{self, InputKey, Key, RunInputs};
use crate::digest::{ContentDigest, ContentHasher};
use crate::graph::{Copy, CopySource, FileAction, FileOp, Op, Run, RunMountKind, VertexId};
use crate::layer::{LastLink, Tree};

type Keyed = Result<InputKey, StepError>;

impl Solver<'_> {
    /// Returns what is known of a vertex before anything runs; `None` for sources that are no layers.
    pub(super) fn definition_key(
        &self,
        id: VertexId,
        progress: &Progress,
    ) -> Result<Option<Key>, StepError> {
        let vertex = self.graph.get(id);
        let base = progress.key(vertex.base);
        Ok(Some(match &vertex.op {
            Op::Files(_) | Op::Http(_) | Op::Git(_) => return Ok(None),
            Op::Image(image) => cache::image_key(&image.manifest, &image.request.platform),
            Op::Run(run) => {
                self.run_key(run, base, &|input, path| match progress.value(input) {
                    Some(Value::Files(files)) => self.part(&files, path),
                    Some(Value::State(_)) | None => Ok(progress.key(Some(input))),
                })?
            }
            Op::File(file) => {
                self.file_key(
                    (file, vertex.epoch),
                    base,
                    &|input, copy| match progress.value(input) {
                        Some(Value::Files(files)) => self.selection(&files, copy),
                        Some(Value::State(_)) | None => Ok(progress.key(Some(input))),
                    },
                )?
            }
        }))
    }

    /// Returns the key of a vertex whose inputs are done.
    pub(super) fn content_key(&self, id: VertexId, progress: &Progress) -> Result<Key, StepError> {
        let vertex = self.graph.get(id);
        let base = match progress.state(vertex.base) {
            Some(state) => InputKey::Content(state.identity),
            None => InputKey::Empty,
        };
        let tree = |input| match progress.value(input) {
            Some(value) => self.tree(&value),
            None => Err(StepError::Canceled),
        };
        match &vertex.op {
            Op::Run(run) => self.run_key(run, base, &|input, path| {
                subtree(&tree(input)?, path).map(InputKey::Content)
            }),
            Op::File(file) => self.file_key((file, vertex.epoch), base, &|input, copy| {
                selection(&tree(input)?, copy).map(InputKey::Content)
            }),
            Op::Image(_) | Op::Files(_) | Op::Http(_) | Op::Git(_) => {
                unreachable!("sources have no content key")
            }
        }
    }

    /// Returns the identity of what a COPY takes of files that are no layer.
    fn selection(&self, files: &Files, copy: &Copy) -> Keyed {
        let find = |tree: &Tree| selection(tree, copy);
        self.known(files, || how(copy), find)
    }

    /// Returns the identity of a part of files that are no layer, with links followed.
    fn part(&self, files: &Files, path: &str) -> Keyed {
        let how = || {
            let mut hasher = ContentHasher::new();
            hasher.field(b"part");
            hasher.field(path.as_bytes());
            hasher.content()
        };
        self.known(files, how, |tree| subtree(tree, path))
    }

    fn known(
        &self,
        files: &Files,
        how: impl FnOnce() -> ContentDigest,
        find: impl FnOnce(&Tree) -> Result<ContentDigest, StepError>,
    ) -> Keyed {
        let identity = match files {
            Files::Tree(tree) => find(tree),
            Files::Listed(listed) => listed.selection(how(), self.store, &self.cancel, find),
        };
        identity.map(InputKey::Content)
    }

    fn run_key(
        &self,
        run: &Run,
        base: InputKey,
        input_key: &dyn Fn(VertexId, &str) -> Keyed,
    ) -> Result<Key, StepError> {
        let mut mounts = Vec::new();
        for mount in &run.mounts {
            mounts.push(match &mount.kind {
                RunMountKind::Bind { input: Some(input), source, .. } => input_key(*input, source)?,
                RunMountKind::Cache(cache) => match cache.input {
                    Some(input) => input_key(input, &cache.source)?,
                    None => InputKey::Empty,
                },
                RunMountKind::Bind { input: None, .. }
                | RunMountKind::Tmpfs { .. }
                | RunMountKind::Secret(_)
                | RunMountKind::Ssh(_)
                | RunMountKind::Script { .. } => InputKey::Empty,
            });
        }
        let hosts: Vec<String> = self.hosts.iter().map(|(name, _)| name.clone()).collect();
        let secrets = self.secrets.iter().map(|secret| secret.id.as_str());
        let given: Vec<&str> = secrets.chain(self.ssh.iter().map(|(id, _)| id.as_str())).collect();
        let inputs = RunInputs {
            base,
            mounts: &mounts,
            hosts: &hosts,
            ulimits: self.ulimits,
            shm_size: self.shm_size,
            given: &given,
        };
        Ok(cache::run_key(run, &inputs))
    }

    fn file_key(
        &self,
        (file, epoch): (&FileOp, Option<i64>),
        base: InputKey,
        input_key: &dyn Fn(VertexId, &Copy) -> Keyed,
    ) -> Result<Key, StepError> {
        let mut sources = Vec::new();
        for action in &file.actions {
            sources.push(match action {
                FileAction::Copy(copy) => match &copy.source {
                    CopySource::Vertex { id: Some(id), .. } => input_key(*id, copy)?,
                    CopySource::Vertex { id: None, .. } | CopySource::Inline { .. } => {
                        InputKey::Empty
                    }
                },
                FileAction::MakeDirectory { .. } => InputKey::Empty,
            });
        }
        Ok(cache::file_key(file, base, &sources, epoch))
    }
}

/// Returns the identity of what a COPY takes.
fn selection(tree: &Tree, copy: &Copy) -> Result<ContentDigest, StepError> {
    let CopySource::Vertex { path, pattern, parents, .. } = &copy.source else {
        unreachable!("what is written in the Dockerfile is taken from no tree")
    };
    let found = select::find(tree, path, *pattern)?;
    let filter = select::Filter::new(&copy.exclude, parents.as_ref())?;
    Ok(select::identity(&found, &filter))
}

/// Returns what tells one way of taking files from another.
fn how(copy: &Copy) -> ContentDigest {
    let mut hasher = ContentHasher::new();
    hasher.field(b"copy");
    if let CopySource::Vertex { path, pattern, parents, .. } = &copy.source {
        hasher.field(path.as_bytes());
        hasher.update(&[u8::from(*pattern), u8::from(parents.is_some())]);
        hasher.field(parents.as_ref().map_or(b"", |parents| parents.pattern.as_bytes()));
    }
    copy.exclude.iter().for_each(|pattern| hasher.field(pattern.as_bytes()));
    hasher.content()
}

/// Returns the identity of a part of a tree, with links followed.
pub(super) fn subtree(tree: &Tree, path: &str) -> Result<ContentDigest, StepError> {
    let path = select::path_of(path)?;
    let real = tree.resolve(&path, LastLink::Follow)?;
    match tree.identity(&real) {
        Some(identity) => Ok(identity),
        None => Err(StepError::NotFound(path)),
    }
}
