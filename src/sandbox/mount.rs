//! What is mounted beneath the root besides the kernel's own: the spec's mounts and the network's files.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use super::network;
use super::root::{NewFilesystem, Workbench, Writable, attach, clone_tree, open_directory};
use super::spec::{Mount, MountKind, NETWORK_FILES, Scratch, Security, Spec};
use super::sys;
use super::target::{Kind, Targets, kind_of, open_beneath};
use super::wire::{Failure, Result, errno, refused_at};

/// Where mounts go and what they are made with.
pub(super) struct Mounter<'a> {
    /// The mount points.
    pub(super) targets: &'a mut Targets,
    /// For what has to be put together first.
    pub(super) bench: &'a mut Workbench,
    /// `nodev`, unless the command is unrestricted.
    nodev: u64,
}

impl<'a> Mounter<'a> {
    /// Mounts for a command with these rights.
    pub(super) fn new(
        targets: &'a mut Targets,
        bench: &'a mut Workbench,
        security: Security,
    ) -> Self {
        Self { targets, bench, nodev: u64::from(nodev(security).bits()) }
    }

    /// Mounts [`NETWORK_FILES`].
    pub(super) fn network_files(&mut self, spec: &Spec) -> Result<()> {
        let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let systemd = std::fs::read_to_string(network::SYSTEMD_RESOLV_CONF).ok();
        let resolv = network::resolv_conf(spec.network, &host, systemd.as_deref());
        let hosts = network::hosts(&spec.hostname, &spec.extra_hosts);
        let closed = sys::MOUNT_RDONLY | sys::MOUNT_NOSUID | sys::MOUNT_NOEXEC | sys::MOUNT_NODEV;
        for (path, content) in NETWORK_FILES.into_iter().zip([resolv, hosts]) {
            let file = self.bench.file(content.as_bytes(), 0o644, (0, 0))?;
            self.put(&file, Path::new(path), closed)?;
        }
        Ok(())
    }

    /// Mounts one thing.
    pub(super) fn mount(&mut self, mount: &Mount) -> Result<()> {
        let target = &mount.target;
        if !target.components().any(|part| matches!(part, Component::Normal(_))) {
            return Err(Failure::Invalid(format!("cannot mount at `{}`", target.display())));
        }
        let readonly = if mount.readonly { sys::MOUNT_RDONLY } else { 0 };
        match &mount.kind {
            MountKind::Bind { root, path } => {
                let root = open_directory(root)?;
                let source = find(&root, path, target)?;
                self.put(&source, target, readonly | self.nodev)
            }
            MountKind::Layers { lower, scratch, path } => {
                let writable = scratch.as_ref().map(open_scratch).transpose()?;
                let none = MountAttrFlags::empty();
                let root = self.bench.stack(lower, writable.as_ref(), none)?;
                let source = find(&root, path, target)?;
                let readonly = if writable.is_some() { readonly } else { sys::MOUNT_RDONLY };
                self.put(&source, target, readonly | self.nodev)
            }
            MountKind::Tmpfs { size } => self.tmpfs(*size, target, readonly),
            MountKind::File { content, mode, uid, gid } => {
                let file = self.bench.file(content, *mode, (*uid, *gid))?;
                let noexec = if mode & 0o111 == 0 { sys::MOUNT_NOEXEC } else { 0 };
                let closed = sys::MOUNT_NOSUID | sys::MOUNT_NODEV;
                self.put(&file, target, readonly | noexec | closed)
            }
            MountKind::Agent { path, .. } => {
                let socket = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
                let socket = socket.map_err(|error| missing(target, path, error))?;
                let closed = sys::MOUNT_NOSUID | sys::MOUNT_NODEV | sys::MOUNT_NOEXEC;
                self.put(&socket, target, closed)
            }
        }
    }

    fn tmpfs(&mut self, size: u64, target: &Path, readonly: u64) -> Result<()> {
        let mut new = NewFilesystem::open("tmpfs")?;
        if size != 0 {
            new = new.set(&[("size", &size.to_string())])?;
        }
        let closed = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let tree = new.mount(closed)?;
        if readonly != 0 {
            sys::restrict_mount(&tree, readonly).map_err(refused_at("mount at", target))?;
        }
        let at = self.targets.open(target, Kind::Directory)?;
        attach(tree, at).map_err(refused_at("mount at", target))
    }

    fn put(&mut self, source: &OwnedFd, target: &Path, attributes: u64) -> Result<()> {
        let kind = kind_of(source, target)?;
        let copy = clone_tree(source).map_err(refused_at("mount at", target))?;
        if attributes != 0 {
            sys::restrict_mount(&copy, attributes).map_err(refused_at("mount at", target))?;
        }
        let at = self.targets.open(target, kind)?;
        attach(copy, at).map_err(refused_at("mount at", target))
    }
}

/// Device nodes of a tree that commands write to must not work: commands can make any.
pub(super) fn nodev(security: Security) -> MountAttrFlags {
    match security {
        Security::Default => MountAttrFlags::MOUNT_ATTR_NODEV,
        Security::Insecure => MountAttrFlags::empty(),
    }
}

fn open_scratch(scratch: &Scratch) -> Result<Writable> {
    Writable::open(&scratch.upper, &scratch.work)
}

fn find(root: &OwnedFd, path: &Path, target: &Path) -> Result<OwnedFd> {
    open_beneath(root, path).map_err(|error| missing(target, path, error))
}

fn missing(target: &Path, path: &Path, error: rustix::io::Errno) -> Failure {
    Failure::Source { target: target.to_owned(), path: path.to_owned(), errno: errno(error) }
}
