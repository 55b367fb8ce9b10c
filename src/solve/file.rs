//! One file operation: computed on trees, then packed as a layer.

use super::copy::{self, Rules, make_directories};
use super::error::StepError;
use super::select::{self, Filter, Found, path_of};
use crate::digest::ContentDigest;
use crate::graph::{Copy, CopySource, FileAction};
use crate::layer::{
    Contents, Edit, LastLink, Metadata, Node, NodeKind, Origin, Timestamp, Tree, TreePath,
};
use crate::oci;
use crate::source::archive;
use crate::store::Store;

/// What an action copies.
pub(super) type Taken = Vec<Found>;

/// Finds what an action copies in the tree that it copies from.
pub(super) fn take(action: &FileAction, source: Option<&Tree>) -> Result<Taken, StepError> {
    let FileAction::Copy(copy) = action else { return Ok(Vec::new()) };
    let CopySource::Vertex { path, pattern, parents, .. } = &copy.source else {
        return Ok(Vec::new());
    };
    let nothing = Tree::empty();
    let source = source.unwrap_or(&nothing);
    if let Some(required) = parents.as_ref().and_then(|parents| parents.required.as_ref()) {
        select::find(source, required, false)?;
    }
    select::find(source, path, *pattern)
}

/// Performs the actions on a tree; on nothing if there is none, as with `--link`. `taken` has what each action copies.
pub(super) fn perform(
    store: &Store,
    base: Option<&Tree>,
    actions: &[FileAction],
    taken: Vec<Taken>,
    now: Timestamp,
) -> Result<Edit, StepError> {
    let mut edit = Edit::new(base.cloned().unwrap_or_else(Tree::empty));
    if base.is_none() {
        actions.iter().try_for_each(refuse_named_owner)?;
    }
    for (action, taken) in actions.iter().zip(taken) {
        match action {
            FileAction::MakeDirectory { path, user } => make_directory(&mut edit, path, user, now)?,
            FileAction::Copy(copy) => {
                copy_action(store, &mut edit, (copy, taken), now)?;
            }
        }
    }
    Ok(edit)
}

/// Where there is no file system, there is none to look a name up in.
fn refuse_named_owner(action: &FileAction) -> Result<(), StepError> {
    let owner = match action {
        FileAction::MakeDirectory { user, .. } => user,
        FileAction::Copy(copy) => &copy.chown,
    };
    match oci::is_named_owner(owner) {
        true => Err(oci::UserError::NoFiles(owner.clone()).into()),
        false => Ok(()),
    }
}

fn make_directory(
    edit: &mut Edit,
    path: &str,
    user: &str,
    now: Timestamp,
) -> Result<(), StepError> {
    let path = edit.tree().resolve(&path_of(path)?, LastLink::Follow)?;
    let rules =
        Rules { owner: owner(edit.tree(), user)?, chmod: None, filter: &Filter::default(), now };
    make_directories(edit, &path, &rules)
}

/// Looks an owner up in the tree's own user database; an unknown name is root, as in the reference. An empty one is
/// none.
fn owner(tree: &Tree, spec: &str) -> Result<Option<(u32, u32)>, StepError> {
    if spec.is_empty() {
        return Ok(None);
    }
    let passwd = super::user::database(tree, "etc/passwd")?;
    let group = super::user::database(tree, "etc/group")?;
    let owner = oci::owner(spec, passwd.as_deref(), group.as_deref())?;
    Ok(Some((owner.uid, owner.gid)))
}

fn copy_action(
    store: &Store,
    edit: &mut Edit,
    (copy, taken): (&Copy, Taken),
    now: Timestamp,
) -> Result<(), StepError> {
    let owner = owner(edit.tree(), &copy.chown)?;
    let parents = match &copy.source {
        CopySource::Vertex { parents, .. } => parents.as_ref(),
        CopySource::Inline { .. } => None,
    };
    let filter = Filter::new(&copy.exclude, parents)?;
    let rules = Rules { owner, chmod: copy.chmod.as_ref(), filter: &filter, now };
    match &copy.source {
        CopySource::Inline { name, content } => {
            let tree = inline(name, content, now)?;
            for found in select::find(&tree, name, false)? {
                copy::copy(edit, found, (&copy.dest, false), &rules)?;
            }
        }
        CopySource::Vertex { pattern, .. } => {
            for found in taken {
                if copy.unpack && unpack(store, edit, &found, &copy.dest, &rules)? {
                    continue;
                }
                copy::copy(edit, found, (&copy.dest, *pattern), &rules)?;
            }
        }
    }
    Ok(())
}

/// A tree with one file that the Dockerfile itself holds; its name is not that of a directory's file.
fn inline(name: &str, content: &str, now: Timestamp) -> Result<Tree, StepError> {
    let path = path_of(name)?;
    if path.components().count() != 1 {
        return Err(StepError::Name(name.to_owned()));
    }
    let mut edit = Edit::new(Tree::empty());
    let bytes = content.as_bytes().to_vec();
    let kind = NodeKind::File {
        size: bytes.len() as u64,
        content: ContentDigest::of(&bytes),
        origin: Origin::new(std::sync::Arc::new(InMemory(bytes)), &TreePath::root()),
    };
    let meta = Metadata { mode: 0o644, mtime: now, ..Metadata::default() };
    edit.put(&path, Node::new(kind, meta))?;
    Ok(edit.finish().0)
}

struct InMemory(Vec<u8>);

impl Contents for InMemory {
    fn open(&self, _path: &TreePath) -> crate::fs::Result<Box<dyn std::io::Read + Send + '_>> {
        Ok(Box::new(&self.0[..]))
    }
}

/// Unpacks a source of ADD if it is an archive; returns whether it was.
fn unpack(
    store: &Store,
    edit: &mut Edit,
    found: &Found,
    dest: &str,
    rules: &Rules<'_>,
) -> Result<bool, StepError> {
    let NodeKind::File { origin, .. } = found.node.body() else { return Ok(false) };
    let open = || origin.open().map_err(crate::source::SourceError::from);
    let failed = |source| StepError::Archive { path: found.real.clone(), source };
    if !archive::probe(open()?).map_err(failed)? {
        return Ok(false);
    }
    let tree = archive::read(open()?, store).map_err(failed)?;
    let dest = edit.tree().resolve(&path_of(dest)?, LastLink::Follow)?;
    let plain = Rules { chmod: None, ..*rules };
    make_directories(edit, &dest, &plain)?;
    merge(edit, tree.root(), &dest, rules)?;
    Ok(true)
}

/// Puts an archive's content on a tree, as tar does: what is there is replaced, except that directories merge.
fn merge(edit: &mut Edit, node: &Node, at: &TreePath, rules: &Rules<'_>) -> Result<(), StepError> {
    let mut merger = Merger { edit, rules, links: std::collections::HashMap::new() };
    merger.children(node, at)
}

struct Merger<'a, 'b> {
    edit: &'a mut Edit,
    rules: &'a Rules<'b>,
    links: std::collections::HashMap<crate::layer::LinkGroup, TreePath>,
}

impl Merger<'_, '_> {
    fn children(&mut self, node: &Node, at: &TreePath) -> Result<(), StepError> {
        for (name, child) in node.children().into_iter().flatten() {
            let Some(path) = at.join(name) else { continue };
            match child.is_directory() {
                true => {
                    let path = self.directory(child, path)?;
                    self.children(child, &path)?;
                }
                false => self.file(child, &path)?,
            }
        }
        Ok(())
    }

    /// Makes or updates a directory; returns where its content goes. A directory that the archive only implies by
    /// its content leaves what is there alone, and follows a link that is there.
    fn directory(&mut self, node: &Node, path: TreePath) -> Result<TreePath, StepError> {
        let implied = *node.meta() == Metadata { mode: 0o755, ..Metadata::default() };
        let there = self.edit.tree().get(&path).map(Node::is_directory);
        match (there, implied) {
            (Some(true), true) => return Ok(path),
            (Some(false), true) => {
                let real = self.edit.tree().resolve(&path, LastLink::Follow)?;
                if self.edit.tree().get(&real).is_some_and(Node::is_directory) {
                    return Ok(real);
                }
            }
            (Some(_), false) | (None, _) => {}
        }
        if there == Some(false) {
            self.edit.remove(&path)?;
        }
        self.edit.put(&path, Node::directory(self.metadata(node)))?;
        Ok(path)
    }

    fn file(&mut self, node: &Node, path: &TreePath) -> Result<(), StepError> {
        self.edit.remove(path)?;
        if let Some(group) = node.group() {
            if let Some(first) = self.links.get(group) {
                return Ok(self.edit.link(path, &first.clone())?);
            }
            self.links.insert(group.clone(), path.clone());
        }
        Ok(self.edit.put(path, node.alone(self.metadata(node)))?)
    }

    fn metadata(&self, node: &Node) -> Metadata {
        let mut meta = node.meta().clone();
        if let Some((uid, gid)) = self.rules.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        meta
    }
}
