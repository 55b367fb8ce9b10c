//! COPY and ADD of one source, from one tree into another: nothing touches a disk.
//!
//! Follows what the reference's `fsutil/copy` does, step by step; where its behaviour looks odd it is kept, because
//! images are compared by it. Times of directories that exist already are not changed, except that the directory
//! into which another's contents are copied takes over that one's.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::StepError;
use super::select::{Filter, FilterState, Found, Verdict, path_of};
use crate::dockerfile::chmod::Chmod;
use crate::layer::{Edit, LastLink, LinkGroup, Metadata, Node, Timestamp, TreePath};

/// What applies to everything that is copied.
pub(super) struct Rules<'a> {
    /// `--chown`, looked up.
    pub(super) owner: Option<(u32, u32)>,
    /// `--chmod`
    pub(super) chmod: Option<&'a Chmod>,
    /// `--exclude`, `--parents`
    pub(super) filter: &'a Filter,
    /// The time of directories that are made on the way.
    pub(super) now: Timestamp,
}

impl Rules<'_> {
    /// What a directory gets that is made on the way.
    pub(super) fn made_directory(&self) -> Metadata {
        let mode = self.chmod.and_then(Chmod::octal).map_or(0o755, |mode| mode & 0o777);
        let (uid, gid) = self.owner.unwrap_or_default();
        Metadata { mode, uid, gid, mtime: self.now, ..Metadata::default() }
    }

    /// Whether everything is copied with the metadata that it has.
    fn keeps_metadata(&self) -> bool {
        self.owner.is_none() && self.chmod.is_none()
    }

    /// What a copy of `node` gets.
    fn metadata(&self, node: &Node) -> Metadata {
        let mut meta = node.meta().clone();
        if let Some((uid, gid)) = self.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        if let Some(chmod) = self.chmod.filter(|_| !is_symlink(node)) {
            meta.mode = chmod.apply(meta.mode, node.is_directory());
        }
        meta
    }
}

fn is_symlink(node: &Node) -> bool {
    matches!(node.body(), crate::layer::NodeKind::Symlink { .. })
}

/// Copies one thing that was found to `dest`, an absolute path whose trailing slash says that it is a directory.
/// `contents_only`: a directory is copied by what is in it. What nobody else has is not copied but taken: there may be
/// hundreds of thousands of files, which then are in memory once.
pub(super) fn copy(
    edit: &mut Edit,
    found: Found,
    (dest, contents_only): (&str, bool),
    rules: &Rules<'_>,
) -> Result<(), StepError> {
    let Found { named, node, .. } = found;
    let ensured =
        if dest.ends_with('/') { dest } else { dest.rsplit_once('/').map_or("/", |(dir, _)| dir) };
    let ensured = edit.tree().resolve(&path_of(ensured)?, LastLink::Follow)?;
    make_directories(edit, &ensured, rules)?;
    let dest = edit.tree().resolve(&path_of(dest)?, LastLink::Follow)?;
    let target = prepare(edit, (&node, &named), dest, contents_only, rules)?;
    let whole = rules.filter.is_empty() && !node.has_links();
    let mut copier = Copier { edit, rules, whole, links: HashMap::new(), pending: Vec::new() };
    copier.copy(node, &TreePath::root(), &target, &FilterState::default())
}

pub(super) fn make_directories(
    edit: &mut Edit,
    path: &TreePath,
    rules: &Rules<'_>,
) -> Result<(), StepError> {
    edit.mkdir_all(path, &rules.made_directory())?;
    Ok(())
}

/// Decides the final name of the copy and makes the directory that it goes into.
fn prepare(
    edit: &mut Edit,
    (node, named): (&Node, &TreePath),
    dest: TreePath,
    contents_only: bool,
    rules: &Rules<'_>,
) -> Result<TreePath, StepError> {
    let existing = edit.tree().get(&dest).map(Node::is_directory);
    let into = match (node.is_directory(), existing) {
        (true, Some(_)) => !contents_only,
        (false, Some(true)) => true,
        _ => false,
    };
    let target = match named.name() {
        Some(name) if into => dest.join(name).unwrap_or(dest),
        _ => dest,
    };
    let directory = match node.is_directory() && contents_only && existing.is_none() {
        true => target.clone(),
        false => target.parent().unwrap_or_default(),
    };
    make_directories(edit, &directory, rules)?;
    Ok(target)
}

struct Copier<'a, 'b> {
    edit: &'a mut Edit,
    rules: &'a Rules<'b>,
    /// Whether directories can be put with all that is in them.
    whole: bool,
    /// The first copy of each file with several names.
    links: HashMap<LinkGroup, TreePath>,
    /// Directories on the way down that have not been made, because nothing in them was included yet.
    pending: Vec<Pending>,
}

struct Pending {
    node: Node,
    target: TreePath,
    made: bool,
}

impl Copier<'_, '_> {
    fn copy(
        &mut self,
        node: Arc<Node>,
        relative: &TreePath,
        target: &TreePath,
        parent: &FilterState,
    ) -> Result<(), StepError> {
        let is_top = relative.is_root();
        let (verdict, state) = match is_top {
            true => (Verdict::Included, FilterState::default()),
            false => self.rules.filter.judge(relative, parent),
        };
        match (verdict, node.is_directory()) {
            (Verdict::Pruned, _) | (Verdict::Passed, false) => Ok(()),
            (Verdict::Included, false) => {
                self.make_pending()?;
                self.copy_file(node, target)
            }
            (Verdict::Included | Verdict::Passed, true) => {
                self.copy_directory(node, (relative, target), verdict == Verdict::Included, &state)
            }
        }
    }

    fn copy_directory(
        &mut self,
        node: Arc<Node>,
        (relative, target): (&TreePath, &TreePath),
        included: bool,
        state: &FilterState,
    ) -> Result<(), StepError> {
        if included {
            self.make_pending()?;
            if self.whole && self.edit.has_room(target) {
                return self.put_whole(node, target);
            }
            self.make_directory(&node, target, !relative.is_root())?;
        }
        let pending = Pending {
            node: node.alone(node.meta().clone()),
            target: target.clone(),
            made: included,
        };
        self.pending.push(pending);
        let mut copy =
            |name: &[u8], child: Arc<Node>| match (relative.join(name), target.join(name)) {
                (Some(relative), Some(target)) => self.copy(child, &relative, &target, state),
                _ => Ok(()),
            };
        match Arc::try_unwrap(node) {
            Ok(node) => {
                node.into_children()
                    .into_iter()
                    .try_for_each(|(name, child)| copy(&name, child))?;
            }
            Err(shared) => {
                let mut children = shared.children().into_iter().flatten();
                children.try_for_each(|(name, child)| copy(name, Arc::clone(child)))?;
            }
        }
        self.pending.pop();
        Ok(())
    }

    /// Puts a directory where there is room for it with all that is in it.
    fn put_whole(&mut self, mut node: Arc<Node>, target: &TreePath) -> Result<(), StepError> {
        if !self.rules.keeps_metadata() {
            Node::describe_all(&mut node, |node| self.rules.metadata(node));
        }
        Ok(self.edit.put_whole(target, node)?)
    }

    /// Makes the directories on the way down now that something in them is included.
    fn make_pending(&mut self) -> Result<(), StepError> {
        for index in 0..self.pending.len() {
            if !self.pending[index].made {
                let (node, target) =
                    (self.pending[index].node.clone(), self.pending[index].target.clone());
                if self.edit.tree().get(&target).is_none() {
                    self.make_directory(&node, &target, true)?;
                }
                self.pending[index].made = true;
            }
        }
        Ok(())
    }

    /// Makes a directory, or gives the one that is there the metadata of the source. The topmost one, whose
    /// contents are what is copied, gives only its time.
    fn make_directory(
        &mut self,
        node: &Node,
        target: &TreePath,
        overwrite: bool,
    ) -> Result<(), StepError> {
        match self.edit.tree().get(target) {
            None => self.edit.put(target, Node::directory(self.rules.metadata(node)))?,
            Some(there) if !there.is_directory() => {
                return Err(StepError::NotDirectory(target.clone()));
            }
            Some(there) => {
                let mut meta = there.meta().clone();
                if overwrite {
                    let xattrs = std::mem::take(&mut meta.xattrs);
                    meta = self.rules.metadata(node);
                    meta.xattrs = xattrs.into_iter().chain(meta.xattrs).collect();
                } else {
                    meta.mtime = node.meta().mtime;
                }
                if meta != *there.meta() {
                    self.edit.set_metadata(target, &meta)?;
                }
            }
        }
        Ok(())
    }

    fn copy_file(&mut self, mut node: Arc<Node>, target: &TreePath) -> Result<(), StepError> {
        if self.edit.tree().get(target).is_some_and(Node::is_directory) {
            return Err(StepError::IsDirectory(target.clone()));
        }
        if let Some(group) = node.group() {
            if let Some(first) = self.links.get(group) {
                return Ok(self.edit.link(target, &first.clone())?);
            }
            self.links.insert(group.clone(), target.clone());
        }
        // The name alone is replaced: other names of what was there keep it.
        self.edit.remove(target)?;
        if !self.rules.keeps_metadata() {
            Node::describe_all(&mut node, |node| self.rules.metadata(node));
        }
        Ok(self.edit.put(target, node)?)
    }
}
