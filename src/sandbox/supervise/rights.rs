//! Where processes may write that believe to be somebody else than root.
//!
//! Programs ask that before they decide where to install something, and steps go on after what they could not make. So
//! it is answered where a file is made and where it is asked (`access(2)`). All else is permitted to everybody.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs, getxattr, lstat, open};
use rustix::io::Errno;

use super::call::Place;
use super::caller::{Caller, Spot};
use super::identity::Identity;
use super::ledger::Ledger;
use super::{Answer, Outcome};
use crate::fs::descriptor_path;

/// `access` and its kin, with `W_OK`: what the kernel says, unless it says yes too easily.
pub(super) fn tell(
    ledger: &Ledger,
    caller: &Caller<'_>,
    identity: &Identity,
    place: Place,
    effective: bool,
) -> Outcome {
    let mut who = identity.clone();
    if !effective {
        who.user.filesystem = who.user.real;
        who.group.filesystem = who.group.real;
    }
    match caller.spot(place, false).and_then(|spot| spot.open()) {
        Ok(file) if !may_write(ledger, &who, &file)? => Err(Errno::ACCESS),
        _ => Ok(Answer::Proceed),
    }
}

/// Refuses to make something where it may not be made. What is there already is for the kernel to complain about.
pub(super) fn check_making(
    ledger: &Ledger,
    identity: &Identity,
    directory: &Path,
    spot: &Spot,
) -> Result<(), Errno> {
    if is_root(identity) || lstat(&spot.path).is_ok() {
        return Ok(());
    }
    check(ledger, identity, directory)
}

/// Refuses to open for writing what may not be written, or to make it where it may not be made.
pub(super) fn check_opening(
    ledger: &Ledger,
    identity: &Identity,
    (directory, spot): (&Path, &Spot),
    flags: OFlags,
) -> Result<(), Errno> {
    if is_root(identity) {
        return Ok(());
    }
    let is_nameless = flags.contains(OFlags::TMPFILE);
    match lstat(&spot.path) {
        Err(_) => check(ledger, identity, directory),
        Ok(_) if is_nameless => check(ledger, identity, directory),
        Ok(_) if flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC) => {
            check(ledger, identity, &spot.path)
        }
        Ok(_) => Ok(()),
    }
}

fn check(ledger: &Ledger, identity: &Identity, path: &Path) -> Result<(), Errno> {
    match open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) if !may_write(ledger, identity, &file)? => Err(Errno::ACCESS),
        _ => Ok(()),
    }
}

fn is_root(identity: &Identity) -> bool {
    identity.user.filesystem == 0 || identity.is_privileged()
}

/// Whether owner and mode of a file let somebody write it, or make something in it. Where they are not the whole truth,
/// the answer is yes.
fn may_write(ledger: &Ledger, identity: &Identity, file: &OwnedFd) -> Result<bool, Errno> {
    let found = fstat(file)?;
    let wanted = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => 0o2,
        FileType::Directory => 0o3,
        _ => return Ok(true),
    };
    // There a process owns what is about itself.
    let is_proc = fstatfs(file)?.f_type == PROC_SUPER_MAGIC;
    let mut list = [0_u8; 0];
    let mut has_list = || getxattr(descriptor_path(file), "system.posix_acl_access", &mut list[..]);
    if is_proc || identity.user.filesystem == 0 || identity.rights || has_list().is_ok() {
        return Ok(true);
    }
    let owned = ledger.of(file)?.map(|owned| (owned.uid, owned.gid));
    let (uid, gid) = owned.unwrap_or((found.st_uid, found.st_gid));
    let shift = match () {
        () if uid == identity.user.filesystem => 6,
        () if identity.is_in(gid) => 3,
        () => 0,
    };
    Ok(found.st_mode >> shift & wanted == wanted)
}
