//! A private /dev: six devices, the pseudo-terminals, shared memory, message queues, and the usual links.
//!
//! The directory itself is `nodev`: the devices in it work because each is a mount of its own, and those that a
//! command makes there do not. As root they are made afresh, so that changing their mode does not change the host's;
//! in a user namespace, where none can be made, they are the host's.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, fstat, makedev, mkdirat, mknodat, openat, readlinkat, symlinkat,
};
use rustix::mount::MountAttrFlags;

use super::root::{NewFilesystem, attach, attach_at, clone_entry, clone_tree};
use super::spec::{Security, Spec};
use super::sys;
use super::target::Targets;
use super::userns::{GID_MAP, is_mapped};
use super::wire::{Result, Setting, refused};

const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// What an unrestricted command gets besides, as far as the host has them.
const INSECURE_NODES: [&str; 7] =
    ["kmsg", "cuse", "fuse", "kvm", "net/tun", "loop-control", "vhost-net"];

const QUIET: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

const DEFAULT_SHM: u64 = 64 << 20;

/// Mounts it.
pub(super) fn mount_dev(targets: &mut Targets, spec: &Spec, setting: Setting) -> Result<()> {
    let at = targets.open_lasting("/dev".as_ref())?;
    let fail = || "make /dev".to_owned();
    let dev = NewFilesystem::open("tmpfs")?
        .set(&[("mode", "0755"), ("size", "65536k")])?
        .mount(MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    attach(&dev, &at).map_err(refused(fail))?;
    let dir = openat(&dev, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let dir = dir.map_err(refused(fail))?;
    fill(&dir, spec, setting).map_err(refused(fail))?;
    if setting.foreground {
        mount_console(&dir).map_err(refused(|| "make /dev/console".to_owned()))?;
    }
    mount_beneath(&dir, spec, setting)
}

fn fill(dev: &OwnedFd, spec: &Spec, setting: Setting) -> std::io::Result<()> {
    for (link, to) in LINKS {
        symlinkat(to, dev, link)?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    }
    if spec.security == Security::Insecure && !setting.user_namespace {
        insecure_nodes(dev)?;
    }
    let mut nodes = Vec::with_capacity(NODES.len());
    for (name, major, minor) in NODES {
        nodes.push((name, node(dev, name, (major, minor), setting)?));
    }
    if spec.security == Security::Default {
        // The copies of the devices were made before and stay usable.
        sys::restrict_mount(dev, sys::MOUNT_NODEV)?;
    }
    for (name, copy) in nodes {
        attach_at(copy, dev, name)?;
    }
    Ok(())
}

/// Makes one device and returns a mount of it that is attached nowhere yet.
fn node(
    dev: &OwnedFd,
    name: &str,
    (major, minor): (u32, u32),
    setting: Setting,
) -> std::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o666);
    if setting.user_namespace {
        make_file(dev, name)?;
        return Ok(clone_entry(CWD, &format!("/dev/{name}"))?);
    }
    mknodat(dev, name, FileType::CharacterDevice, mode, makedev(major, minor))?;
    Ok(clone_entry(dev, name)?)
}

fn insecure_nodes(dev: &OwnedFd) -> std::io::Result<()> {
    mkdirat(dev, "net", Mode::from_raw_mode(0o755))?;
    let loops = (0..8).map(|number| format!("loop{number}"));
    for name in INSECURE_NODES.map(str::to_owned).into_iter().chain(loops) {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let Ok(host) = openat(CWD, format!("/dev/{name}"), flags, Mode::empty()) else { continue };
        let stat = fstat(host)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o777);
        mknodat(dev, name, FileType::from_raw_mode(stat.st_mode), mode, stat.st_rdev)?;
    }
    Ok(())
}

fn make_file(dev: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    openat(dev, name, flags, Mode::from_raw_mode(0o666)).map(drop)
}

/// The terminal that the command shares with kiln, if there is one and it has a name. A name inside lets programs
/// find out that it is a terminal.
fn mount_console(dev: &OwnedFd) -> rustix::io::Result<()> {
    let stdin = std::io::stdin();
    if !rustix::termios::isatty(stdin.as_fd()) {
        return Ok(());
    }
    // The descriptor belongs to a mount of the host's namespace; only a path leads to this one's copy of it.
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let host = readlinkat(CWD, "/proc/self/fd/0", Vec::new())
        .and_then(|path| openat(CWD, path, flags, Mode::empty()));
    let Ok(host) = host else { return Ok(()) };
    let (shown, shared) = (fstat(&host)?, fstat(stdin.as_fd())?);
    if (shown.st_dev, shown.st_ino) != (shared.st_dev, shared.st_ino) {
        return Ok(());
    }
    make_file(dev, "console")?;
    attach_at(clone_tree(host)?, dev, "console")
}

fn mount_beneath(dev: &OwnedFd, spec: &Spec, setting: Setting) -> Result<()> {
    let size = if spec.shm_size == 0 { DEFAULT_SHM } else { spec.shm_size };
    let nodev = MountAttrFlags::MOUNT_ATTR_NODEV;
    let shm = NewFilesystem::open("tmpfs")?
        .set(&[("mode", "1777"), ("size", &size.to_string())])?
        .mount(QUIET | nodev)?;
    let queues = NewFilesystem::open("mqueue")?.mount(QUIET | nodev)?;
    let mut pts = NewFilesystem::open("devpts")?.set(&[("mode", "0620"), ("ptmxmode", "0666")])?;
    if !setting.user_namespace || is_mapped(GID_MAP, 5) {
        pts = pts.set(&[("gid", "5")])?;
    }
    let pts = pts.mount(QUIET)?;
    for (mount, name) in [(shm, "shm"), (queues, "mqueue"), (pts, "pts")] {
        // Of two mounts at one place the one that was asked for counts.
        let place = std::path::Path::new("/dev").join(name);
        if spec.mounts.iter().any(|mount| mount.target == place) {
            continue;
        }
        attach_at(mount, dev, name).map_err(refused(|| format!("mount /dev/{name}")))?;
    }
    Ok(())
}
