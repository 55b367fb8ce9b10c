//! What RUN --mount asks for, made ready for the sandbox.

use std::path::{Path, PathBuf};

use super::error::StepError;
use super::{Progress, Solver, Value};
use crate::dockerfile::ast::Sharing;
use crate::event::Cancel;
use crate::fs::PathError;
use crate::graph::{CacheMount, Run, RunMount, RunMountKind, SecretMount};
use crate::layer::{Edit, LastLink, Tree, TreeContents, TreePath};
use crate::sandbox::spec::{Mount, MountKind};
use crate::snapshot::upper::Upper;
use crate::snapshot::{Base, Snapshotter, View, plain_directory};
use crate::source::SourceError;
use crate::store::Lock;

/// What a command gets; the locks are held and the scratch directories kept until it is dropped.
#[derive(Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    /// Secrets as variables.
    pub(super) env: Vec<String>,
    /// The first agent's socket, inside.
    pub(super) agent: Option<String>,
    locks: Vec<Lock>,
}

/// Makes everything ready that a command mounts.
pub(super) fn mount_all(
    solver: &Solver<'_>,
    run: &Run,
    (progress, snapshotter): (&Progress, &dyn Snapshotter),
    cancel: &Cancel,
) -> Result<Mounted, StepError> {
    let mut mounted = Mounted::default();
    for mount in &run.mounts {
        let Some((kind, readonly)) =
            prepare(solver, mount, (progress, snapshotter, cancel), &mut mounted)?
        else {
            continue;
        };
        let target = match &mount.kind {
            RunMountKind::Script { name, .. } => format!("{}/{name}", mount.target),
            _ => mount.target.clone(),
        };
        // Of two mounts at one place the last wins.
        mounted.mounts.retain(|other| other.target.as_os_str() != target.as_str());
        mounted.mounts.push(Mount { target: target.into(), kind, readonly });
    }
    mounted.mounts.sort_by_key(|mount| mount.target.components().count());
    for secret in &run.secret_env {
        let value = match solver.secret(&secret.id) {
            Some(value) => value?,
            None if secret.required => return Err(missing("secret", &secret.id)),
            None => Vec::new(),
        };
        let value = String::from_utf8(value).map_err(|_| StepError::Secret {
            id: secret.id.clone(),
            problem: "it is no text, as a variable must be; mount it as a file".to_owned(),
        })?;
        mounted.env.push(format!("{}={value}", secret.name));
    }
    Ok(mounted)
}

fn missing(kind: &'static str, id: &str) -> StepError {
    StepError::Missing { kind, id: id.to_owned() }
}

fn prepare(
    solver: &Solver<'_>,
    mount: &RunMount,
    (progress, snapshotter, cancel): (&Progress, &dyn Snapshotter, &Cancel),
    mounted: &mut Mounted,
) -> Result<Option<(MountKind, bool)>, StepError> {
    Ok(Some(match &mount.kind {
        RunMountKind::Bind { input, source, readonly } => {
            let value = input.and_then(|id| progress.value(id));
            (bind((solver, snapshotter), value.as_ref(), source, !*readonly)?, *readonly)
        }
        RunMountKind::Cache(cache) => {
            let value = cache.input.and_then(|id| progress.value(id));
            let root = cache_directory(solver, cache, value.as_ref(), cancel, mounted)?;
            (MountKind::Bind { root, path: "/".into() }, cache.readonly)
        }
        RunMountKind::Tmpfs { size, readonly } => (MountKind::Tmpfs { size: *size }, *readonly),
        RunMountKind::Secret(secret) => match solver.secret(&secret.id) {
            Some(content) => (secret_file(secret, content?), true),
            None if secret.required => return Err(missing("secret", &secret.id)),
            None => return Ok(None),
        },
        RunMountKind::Ssh(ssh) => {
            let socket =
                solver.ssh.iter().find(|(id, _)| *id == ssh.id).map(|(_, path)| path.clone());
            // Commands are told of it even where no agent was given, as in the reference.
            mounted.agent.get_or_insert_with(|| mount.target.clone());
            let Some(path) = socket else {
                return if ssh.required { Err(missing("SSH agent", &ssh.id)) } else { Ok(None) };
            };
            let access = ssh.access;
            (MountKind::Agent { path, mode: access.mode, uid: access.uid, gid: access.gid }, true)
        }
        RunMountKind::Script { content, .. } => {
            let content = content.clone().into_bytes();
            (MountKind::File { content, mode: 0o755, uid: 0, gid: 0 }, true)
        }
    }))
}

fn secret_file(secret: &SecretMount, content: Vec<u8>) -> MountKind {
    let access = secret.access;
    MountKind::File { content, mode: access.mode, uid: access.uid, gid: access.gid }
}

fn bind(
    (solver, snapshotter): (&Solver<'_>, &dyn Snapshotter),
    value: Option<&Value>,
    source: &str,
    writable: bool,
) -> Result<MountKind, StepError> {
    let snapshots = solver.snapshots();
    let tree = value.map(|value| solver.tree(value)).transpose()?.unwrap_or_default();
    let layers = match value {
        Some(Value::State(state)) => state.layers(),
        Some(Value::Files(_)) | None => Vec::new(),
    };
    let base = Base { tree: &tree, layers: &layers };
    let View { lower, scratch } = snapshotter.view(snapshots, base, writable)?;
    Ok(MountKind::Layers { lower, scratch, path: source.into() })
}

/// Returns the directory of a cache mount, made with its first content if it is new.
fn cache_directory(
    solver: &Solver<'_>,
    cache: &CacheMount,
    value: Option<&Value>,
    cancel: &Cancel,
    mounted: &mut Mounted,
) -> Result<PathBuf, StepError> {
    let start = value.map(|value| solver.tree(value)).transpose()?;
    let name = cache_name(cache, start.as_ref())?;
    let name = match cache.sharing {
        Sharing::Shared => name,
        Sharing::Locked => {
            let lock = solver.store.lock(&format!("mount-{name}"), &|| cancel.is_canceled())?;
            mounted.locks.push(lock.ok_or(StepError::Canceled)?);
            name
        }
        Sharing::Private => {
            let mut number = 0_u32;
            loop {
                let candidate = if number == 0 { name.clone() } else { format!("{name}-{number}") };
                if let Some(lock) = solver.store.try_lock(&format!("mount-{candidate}"))? {
                    mounted.locks.push(lock);
                    break candidate;
                }
                number += 1;
            }
        }
    };
    let place = solver.store.mount_dir(&name);
    if !solver.store.has_mount(&name) {
        make_cache(solver, cache, start.as_ref(), &name)?;
    }
    Ok(place)
}

/// A cache mount is known by its id and by what it starts with.
fn cache_name(cache: &CacheMount, start: Option<&Tree>) -> Result<String, StepError> {
    let mut hasher = crate::digest::ContentHasher::new();
    hasher.field(cache.id.as_bytes());
    if let Some(tree) = start {
        hasher.field(super::keys::subtree(tree, &cache.source)?.as_bytes());
    } else {
        hasher.field(cache.source.as_bytes());
    }
    if let Some(access) = &cache.access {
        hasher.field(format!("{:o} {} {}", access.mode, access.uid, access.gid).as_bytes());
    }
    Ok(hasher.content().hex())
}

fn make_cache(
    solver: &Solver<'_>,
    cache: &CacheMount,
    start: Option<&Tree>,
    name: &str,
) -> Result<(), StepError> {
    use crate::layer::materialise;
    let mut edit = Edit::new(Tree::empty());
    let mut meta = plain_directory();
    if let Some(tree) = start {
        let source = TreePath::clean(&cache.source).unwrap_or_default();
        let source = tree.resolve(&source, LastLink::Follow)?;
        edit.graft(tree, &source, &TreePath::root())?;
        meta = tree.get(&source).map_or(meta, |node| node.meta().clone());
    }
    if let Some(access) = &cache.access {
        (meta.mode, meta.uid, meta.gid) = (access.mode, access.uid, access.gid);
    }
    let (tree, changes) = edit.finish();
    let made = Upper::new(solver.store, &meta)?;
    materialise(&changes, &TreeContents(tree), &made.files, crate::snapshot::flavour())?;
    let place = solver.store.mount_dir(name);
    solver.store.place(&format!("mounts/{name}"), || keep_first(&made.files, &place))?;
    made.discard();
    Ok(())
}

/// Puts a new directory in its place unless another step was faster: then that one counts. A plain rename would
/// replace it as long as it is empty, under the feet of whoever has it mounted already.
fn keep_first(made: &Path, place: &Path) -> Result<(), StepError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, made, CWD, place, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(SourceError::from(PathError::of("create", place)(errno)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_directory_is_never_replaced() {
        let top = tempfile::tempdir().unwrap();
        let [first, second, place] = ["first", "second", "place"].map(|name| top.path().join(name));
        for made in [&first, &second] {
            std::fs::create_dir(made).unwrap();
        }
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        let expected = inode(&first);
        keep_first(&first, &place).unwrap();
        keep_first(&second, &place).unwrap();
        assert_eq!((inode(&place), second.exists()), (expected, true));
    }
}
