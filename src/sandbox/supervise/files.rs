//! What is asked about files: whose they become, what they are said to be, and whose what is made will be.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fstat, major, minor, mkdir,
    mknodat, open, stat, symlink,
};
use rustix::io::Errno;
use rustix::process::umask;

use super::call::Place;
use super::caller::{Caller, Spot};
use super::identity::Identity;
use super::ledger::Ledger;
use super::rights::{check_making, check_opening};
use super::{Answer, Outcome};
use crate::fs::descriptor_path;
use crate::ownership::{Device, Ownership};
use crate::sandbox::sys::{stat_bytes, statx_bytes};

/// `chown` and its kin. What the kernel does besides is left to it: setuid bits and capabilities go.
pub(super) fn chown(
    ledger: &mut Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    (uid, gid): (u32, u32),
) -> Outcome {
    // Whatever is wrong with the path, the kernel says it best.
    let Ok(file) = caller.spot(place, false).and_then(|spot| spot.open()) else {
        return Ok(Answer::Proceed);
    };
    let found = fstat(&file)?;
    let old = ledger.of(&file)?.unwrap_or(Ownership {
        uid: found.st_uid,
        gid: found.st_gid,
        device: None,
    });
    let new = Ownership {
        uid: if uid == u32::MAX { old.uid } else { uid },
        gid: if gid == u32::MAX { old.gid } else { gid },
        ..old
    };
    let owns = identity.user.filesystem == old.uid && new.uid == old.uid;
    if !identity.is_privileged() && !(owns && (new.gid == old.gid || identity.is_in(new.gid))) {
        return Err(Errno::PERM);
    }
    let change = |owner, group| chownat(&file, c"", owner, group, AtFlags::EMPTY_PATH);
    match change(Some(Uid::from_raw(new.uid)), Some(Gid::from_raw(new.gid))) {
        // Not both of them exist here: the file becomes root's, and is said to be theirs.
        Err(Errno::INVAL) => {
            change((uid != u32::MAX).then_some(Uid::ROOT), (gid != u32::MAX).then_some(Gid::ROOT))?;
            ledger.set(&file, new)?;
        }
        changed => {
            changed?;
            ledger.correct(&file, new)?;
        }
    }
    Ok(Answer::Value(0))
}

/// Returns who a process is once it has become a program: setuid and setgid bits count, scripts' do not.
pub(super) fn executed(
    ledger: &Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
) -> Result<Identity, Errno> {
    let file = caller.spot(place, false)?.open()?;
    let found = fstat(&file)?;
    let bits = found.st_mode;
    let mut new = identity.as_program();
    if bits & 0o6000 != 0 && bits & 0o111 != 0 && !is_script(&file) {
        let owned = ledger.of(&file)?;
        let (uid, gid) = owned.map_or((found.st_uid, found.st_gid), |owned| (owned.uid, owned.gid));
        if bits & 0o4000 != 0 {
            new.user = new.user.lent(uid);
        }
        if bits & 0o2010 == 0o2010 {
            new.group = new.group.lent(gid);
        }
    }
    Ok(new)
}

fn is_script(file: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut start = [0; 2];
    let read = open(descriptor_path(file), flags, Mode::empty())
        .and_then(|file| rustix::io::read(file, &mut start));
    read == Ok(2) && start == *b"#!"
}

/// Where the kernel's structures keep what is changed: mode, user, group, device.
#[cfg(target_arch = "x86_64")]
const STAT: [usize; 4] = [24, 28, 32, 40];
#[cfg(not(target_arch = "x86_64"))]
const STAT: [usize; 4] = [16, 24, 28, 32];
const STATX: [usize; 4] = [28, 20, 24, 128];

/// `stat` and its kin.
pub(super) fn tell(ledger: &Ledger, caller: &Caller<'_>, place: Place, into: u64) -> Outcome {
    let Ok(Some((file, owned))) = recorded(ledger, caller, place) else {
        return Ok(Answer::Proceed);
    };
    let mut bytes = stat_bytes(&file).map_err(|_| Errno::IO)?;
    let [mode, uid, gid, device] = STAT;
    put(&mut bytes, uid, &owned.uid.to_ne_bytes());
    put(&mut bytes, gid, &owned.gid.to_ne_bytes());
    if let Some(it) = owned.device {
        put_mode(&mut bytes, mode, it);
        put(&mut bytes, device, &rustix::fs::makedev(it.major, it.minor).to_ne_bytes());
    }
    caller.write(into, &bytes)?;
    Ok(Answer::Value(0))
}

/// `statx`.
pub(super) fn tell_more(
    ledger: &Ledger,
    caller: &Caller<'_>,
    place: Place,
    (flags, mask, into): (i32, u32, u64),
) -> Outcome {
    let Ok(Some((file, owned))) = recorded(ledger, caller, place) else {
        return Ok(Answer::Proceed);
    };
    let mut bytes = statx_bytes(&file, flags & libc::AT_STATX_DONT_SYNC, mask)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let [mode, uid, gid, device] = STATX;
    put(&mut bytes, uid, &owned.uid.to_ne_bytes());
    put(&mut bytes, gid, &owned.gid.to_ne_bytes());
    if let Some(it) = owned.device {
        // Only two bytes wide here; what follows them is padding.
        put_mode(&mut bytes, mode, it);
        put(&mut bytes, device, &it.major.to_ne_bytes());
        put(&mut bytes, device + 4, &it.minor.to_ne_bytes());
    }
    caller.write(into, &bytes)?;
    Ok(Answer::Value(0))
}

fn recorded(
    ledger: &Ledger,
    caller: &Caller<'_>,
    place: Place,
) -> Result<Option<(OwnedFd, Ownership)>, Errno> {
    let spot = caller.spot(place, false)?;
    match ledger.at(&spot)? {
        Some(owned) => Ok(Some((spot.open()?, owned))),
        None => Ok(None),
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn put_mode(bytes: &mut [u8], at: usize, device: Device) {
    let permissions = u16::from_ne_bytes([bytes[at], bytes[at + 1]]) & 0o7777;
    let kind = if device.is_block { 0o060_000 } else { 0o020_000 };
    put(bytes, at, &(permissions | kind).to_ne_bytes());
}

/// Returns to whom something belongs that is made in a directory; `None`: to root, as the kernel has it anyway.
fn maker(identity: &Identity, directory: &std::path::Path) -> Option<Ownership> {
    let (uid, mut gid) = (identity.user.filesystem, identity.group.filesystem);
    let carried = Ownership::read(directory).ok().flatten();
    if (carried.is_some() || gid != 0)
        && let Ok(parent) = stat(directory)
        && parent.st_mode & 0o2000 != 0
    {
        gid = carried.map_or(parent.st_gid, |parent| parent.gid);
    }
    let owned = Ownership { uid, gid, device: None };
    (owned != Ownership::default()).then_some(owned)
}

/// Before a link or a pipe, or what holds some, gets another name or time: later nothing leads back to whose they were.
pub(super) fn disturb(ledger: &mut Ledger, caller: &Caller<'_>, place: Place) -> Outcome {
    if ledger.knows_below()
        && let Ok(file) = caller.spot(place, false).and_then(|spot| spot.open())
    {
        ledger.settle(&file)?;
    }
    Ok(Answer::Proceed)
}

/// The directory that a spot lies in.
fn parent(spot: &Spot) -> &std::path::Path {
    spot.path.parent().unwrap_or("/".as_ref())
}

/// Does something with the caller's mask for modes.
fn masked<T>(caller: &Caller<'_>, action: impl FnOnce() -> T) -> T {
    let old = umask(caller.umask());
    let done = action();
    umask(old);
    done
}

/// How a file is to be opened, as `openat2(2)` has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
}

impl How {
    /// How `open` does it, which takes no notice of bits that it does not know.
    pub(super) fn of_open(flags: u32, mode: u32) -> Self {
        let mode = Mode::from_raw_mode(mode & 0o7777);
        Self { flags: OFlags::from_bits_retain(flags), mode, resolve: ResolveFlags::empty() }
    }

    /// Reads it from the caller's memory; `None`: it may ask for what is not known here.
    pub(super) fn read(
        caller: &Caller<'_>,
        address: u64,
        size: u64,
    ) -> Result<Option<Self>, Errno> {
        let mut bytes = [0_u8; 24];
        if size != bytes.len() as u64 {
            return Ok(None);
        }
        caller.read(address, &mut bytes)?;
        let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map(u64::from_ne_bytes));
        let mut word = || words.next().and_then(Result::ok).unwrap_or_default();
        let (flags, mode, resolve) = (word(), word(), word());
        let (Ok(flags), Ok(mode @ 0..=0o7777)) = (u32::try_from(flags), u32::try_from(mode)) else {
            return Ok(None);
        };
        Ok(Some(Self {
            resolve: ResolveFlags::from_bits_retain(resolve),
            ..Self::of_open(flags, mode)
        }))
    }
}

/// `open` and its kin with a flag that may make a file. What is there already is for the kernel to open.
pub(super) fn create(
    ledger: &mut Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    How { flags, mode, resolve }: How,
) -> Outcome {
    let is_nameless = flags.contains(OFlags::TMPFILE);
    if flags.contains(OFlags::PATH) || !(is_nameless || flags.contains(OFlags::CREATE)) {
        return Ok(Answer::Proceed);
    }
    let Ok(mut spot) = caller.spot(place, !is_nameless) else { return Ok(Answer::Proceed) };
    let follows = resolve.is_empty() && !flags.intersects(OFlags::EXCL | OFlags::NOFOLLOW);
    if follows && !is_nameless {
        caller.pass_dangling(&mut spot);
    }
    let directory = if is_nameless { &*spot.path } else { parent(&spot) };
    check_opening(ledger, identity, (directory, &spot), flags)?;
    let Some(owned) = maker(identity, directory) else { return Ok(Answer::Proceed) };
    let exclusive = if is_nameless { OFlags::empty() } else { OFlags::EXCL };
    let made = masked(caller, || {
        let flags = flags | exclusive | OFlags::CLOEXEC;
        match resolve.is_empty() {
            true => open(&spot.path, flags, mode),
            false => caller.open_resolved(place, flags, mode, resolve),
        }
    });
    let Ok(file) = made else { return Ok(Answer::Proceed) };
    ledger.set(&file, owned)?;
    Ok(Answer::File(file, flags.contains(OFlags::CLOEXEC)))
}

/// `mkdir`.
pub(super) fn make_directory(
    ledger: &mut Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    mode: u32,
) -> Outcome {
    make(ledger, caller, identity, place, |spot| mkdir(&spot.path, Mode::from_raw_mode(mode)))
}

/// `symlink`.
pub(super) fn make_link(
    ledger: &mut Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    target: u64,
) -> Outcome {
    make(ledger, caller, identity, place, |spot| symlink(caller.path(target)?, &spot.path))
}

/// `mknod`. A device is an empty file that is said to be one.
pub(super) fn make_node(
    ledger: &mut Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    (mode, device): (u32, u64),
) -> Outcome {
    let kind = match FileType::from_raw_mode(mode) {
        // No type means a regular file.
        FileType::Unknown if mode & 0o170_000 == 0 => FileType::RegularFile,
        kind => kind,
    };
    let permissions = Mode::from_raw_mode(mode & 0o7777);
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    // A character device 0:0 is overlayfs's whiteout, which anybody may make.
    let is_whiteout = kind == FileType::CharacterDevice && device == 0;
    if !is_device || is_whiteout {
        return make(ledger, caller, identity, place, |spot| {
            mknodat(rustix::fs::CWD, &spot.path, kind, permissions, device)
        });
    }
    if !identity.is_privileged() {
        return Err(Errno::PERM);
    }
    let spot = caller.spot(place, true)?;
    let device = Device {
        is_block: kind == FileType::BlockDevice,
        major: major(device),
        minor: minor(device),
    };
    let owned = maker(identity, parent(&spot)).unwrap_or_default();
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = masked(caller, || open(&spot.path, flags, permissions))?;
    ledger.set(&file, Ownership { device: Some(device), ..owned })?;
    Ok(Answer::Value(0))
}

/// Makes something that belongs to the caller; what goes wrong goes wrong again for the kernel.
fn make(
    ledger: &mut Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    action: impl FnOnce(&Spot) -> Result<(), Errno>,
) -> Outcome {
    let Ok(mut spot) = caller.spot(place, true) else { return Ok(Answer::Proceed) };
    check_making(ledger, identity, parent(&spot), &spot)?;
    let Some(owned) = maker(identity, parent(&spot)) else { return Ok(Answer::Proceed) };
    if masked(caller, || action(&spot)).is_err() {
        return Ok(Answer::Proceed);
    }
    spot.follow = false;
    ledger.set(&spot.open()?, owned)?;
    Ok(Answer::Value(0))
}
