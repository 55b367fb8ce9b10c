//! The kernel's own file systems, /proc and /sys, and which parts of them a command cannot see or change.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::system::uname;

use super::root::{NewFilesystem, Workbench, attach, clone_tree};
use super::spec::{Network, Security, Spec};
use super::sys;
use super::target::{Kind, Targets, kind_of, open_beneath};
use super::wire::{Result, Setting, refused, refused_at};

/// Shown empty.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Shown, but not to be written to.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// How many processes and threads a command may have: what all of Linux had for decades. A machine's own limit is
/// some millions today, which a loop that forks can use up for everybody.
const MOST_PROCESSES: u32 = 32_768;

const CGROUP2_MAGIC: i64 = 0x6367_7270;

const CLOSED: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// Mounts /proc.
///
/// A container hides parts of its own, and the kernel gives a user namespace in it none that shows more: there the
/// container's is mounted as it is. It shows the container's processes, which a command can neither signal nor look into.
pub(super) fn mount_proc(targets: &mut Targets, setting: Setting) -> Result<()> {
    let at = targets.open_lasting("/proc".as_ref())?;
    let proc = match NewFilesystem::open("proc").and_then(|new| new.mount(CLOSED)) {
        Err(failure) if setting.user_namespace && failure.errno() == Some(libc::EPERM) => {
            around("/proc", CLOSED).map_err(|_| failure)?
        }
        proc => proc?,
    };
    if has_own_process_limit() {
        // Where it is refused, an outer container has decided.
        let _ = limit_processes(&proc);
    }
    attach(proc, at).map_err(refused(|| "mount /proc".to_owned()))
}

/// Whether the limit is the pid namespace's own; before Linux 6.14 it is the machine's.
fn has_own_process_limit() -> bool {
    kernel_version(&uname().release().to_string_lossy()).is_some_and(|version| version >= (6, 14))
}

/// Returns the first two numbers of a kernel's release: 6 and 1 of `6.1.0-18-amd64`.
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn limit_processes(proc: &OwnedFd) -> std::io::Result<()> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mut file = File::from(openat(proc, "sys/kernel/pid_max", flags, Mode::empty())?);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    if text.trim().parse().is_ok_and(|limit: u32| limit > MOST_PROCESSES) {
        file.rewind()?;
        file.write_all(MOST_PROCESSES.to_string().as_bytes())?;
    }
    Ok(())
}

/// Mounts /sys and, where the host has the unified hierarchy, /sys/fs/cgroup, with no more than the command's own group.
pub(super) fn mount_sys(targets: &mut Targets, spec: &Spec, setting: Setting) -> Result<()> {
    let fail = || "mount /sys".to_owned();
    let attributes = match spec.security {
        Security::Default => CLOSED | MountAttrFlags::MOUNT_ATTR_RDONLY,
        Security::Insecure => CLOSED,
    };
    let at = targets.open_lasting("/sys".as_ref())?;
    // A user namespace may mount this file system only for a network that is its own.
    let own = match setting.user_namespace && spec.network == Network::Host {
        true => None,
        false => match NewFilesystem::open("sysfs").and_then(|new| new.mount(attributes)) {
            // A container that covers parts of its own: see `mount_proc`.
            Err(failure) if setting.user_namespace && failure.errno() == Some(libc::EPERM) => None,
            own => Some(own?),
        },
    };
    let copied = own.is_none();
    let sys = match own {
        Some(own) => own,
        None => around("/sys", attributes).map_err(refused(fail))?,
    };
    attach(sys, at).map_err(refused(fail))?;
    mount_groups(targets, copied, attributes)
}

fn mount_groups(targets: &Targets, copied: bool, attributes: MountAttrFlags) -> Result<()> {
    let unified = statfs("/sys/fs/cgroup").is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC);
    let path = Path::new("/sys/fs/cgroup");
    let Some(at) = open_if_present(targets, path)? else { return Ok(()) };
    let groups = match (unified, copied) {
        (true, _) => match NewFilesystem::open("cgroup2").and_then(|new| new.mount(attributes)) {
            Err(failure) if copied && failure.errno() == Some(libc::EPERM) => {
                NewFilesystem::open("tmpfs")?.mount(attributes)?
            }
            groups => groups?,
        },
        // The copy shows the host's hierarchies, whole.
        (false, true) => NewFilesystem::open("tmpfs")?.mount(attributes)?,
        (false, false) => return Ok(()),
    };
    attach(groups, at).map_err(refused_at("mount", path))
}

/// Copies the mounts of one of the kernel's file systems as they are around the sandbox.
fn around(path: &str, attributes: MountAttrFlags) -> std::io::Result<OwnedFd> {
    let place = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let copy = clone_tree(place)?;
    sys::restrict_mount(&copy, u64::from(attributes.bits()))?;
    Ok(copy)
}

/// Hides and protects what a command has no business with.
pub(super) fn restrict(targets: &Targets, bench: &mut Workbench) -> Result<()> {
    let null = open_beneath(targets.root(), "/dev/null".as_ref());
    let null = null.map_err(refused(|| "open /dev/null".to_owned()))?;
    let empty = bench.directory()?;
    for path in MASKED.map(Path::new) {
        let Some(at) = open_if_present(targets, path)? else { continue };
        let (source, attributes) = match kind_of(&at, path)? {
            Kind::Directory => (&empty, sys::MOUNT_RDONLY | sys::MOUNT_NODEV),
            Kind::File => (&null, 0),
        };
        cover(source, attributes, &at).map_err(refused_at("hide", path))?;
    }
    for path in READ_ONLY.map(Path::new) {
        let Some(at) = open_if_present(targets, path)? else { continue };
        cover(&at, sys::MOUNT_RDONLY, &at).map_err(refused_at("protect", path))?;
    }
    Ok(())
}

fn cover(source: &OwnedFd, attributes: u64, at: &OwnedFd) -> std::io::Result<()> {
    let copy = clone_tree(source)?;
    if attributes != 0 {
        sys::restrict_mount(&copy, attributes)?;
    }
    Ok(attach(copy, at)?)
}

fn open_if_present(targets: &Targets, path: &Path) -> Result<Option<OwnedFd>> {
    match open_beneath(targets.root(), path) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        other => other.map(Some).map_err(refused_at("open", path)),
    }
}
