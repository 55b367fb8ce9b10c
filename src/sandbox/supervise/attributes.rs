//! Extended attributes: the record of owners is not to be seen, and access lists name only users who exist.

use rustix::fs::{XattrFlags, listxattr, llistxattr, setxattr};
use rustix::io::Errno;

use super::call::Place;
use super::caller::Caller;
use super::{Answer, Outcome};
use crate::ownership::ATTRIBUTE;

/// The kernel has no longer lists and values.
const LONGEST: usize = 1 << 16;

/// `listxattr` and its kin: whoever copies all attributes that it finds would copy owners as well.
pub(super) fn list(caller: &Caller<'_>, place: Place, (into, size): (u64, u64)) -> Outcome {
    let Ok(spot) = caller.spot(place, false) else { return Ok(Answer::Proceed) };
    let mut names = vec![0_u8; LONGEST];
    let listed = match spot.follow {
        true => listxattr(&spot.path, &mut names[..]),
        false => llistxattr(&spot.path, &mut names[..]),
    };
    let Ok(length) = listed else { return Ok(Answer::Proceed) };
    let is_own = |name: &[u8]| name.strip_suffix(b"\0") == Some(ATTRIBUTE.as_bytes());
    let all = || names[..length].split_inclusive(|byte| *byte == 0);
    if !all().any(is_own) {
        return Ok(Answer::Proceed);
    }
    let shown: Vec<u8> = all().filter(|name| !is_own(name)).flatten().copied().collect();
    let length = shown.len() as u64;
    if size != 0 && size < length {
        return Err(Errno::RANGE);
    }
    if size != 0 && length != 0 {
        caller.write(into, &shown)?;
    }
    Ok(Answer::Value(length.cast_signed()))
}

/// `setxattr` and its kin: of an access list, what others may who do not exist here is kept as root's, because it decides
/// on the modes of files. The rest is as the kernel has it.
pub(super) fn set(
    caller: &Caller<'_>,
    place: Place,
    (name, flags): (u64, u32),
    (value, size): (u64, u64),
) -> Outcome {
    let name = caller.path(name)?;
    let is_list = ["system.posix_acl_access", "system.posix_acl_default"];
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > LONGEST || !is_list.iter().any(|list| name.as_os_str() == *list) {
        return Ok(Answer::Proceed);
    }
    let mut list = vec![0; size];
    caller.read(value, &mut list)?;
    if !make_roots(&mut list) {
        return Ok(Answer::Proceed);
    }
    let spot = caller.spot(place, false)?;
    setxattr(&spot.path, &name, &list, XattrFlags::from_bits_retain(flags))?;
    Ok(Answer::Value(0))
}

/// Puts root in the place of users and groups; returns whether there were any.
fn make_roots(list: &mut [u8]) -> bool {
    const VERSION: usize = 4;
    const USER: u16 = 2;
    const GROUP: u16 = 8;
    let mut is_changed = false;
    // Tag, rights, and who.
    for entry in list.get_mut(VERSION..).unwrap_or_default().chunks_exact_mut(8) {
        let names_somebody = [USER, GROUP].contains(&u16::from_le_bytes([entry[0], entry[1]]));
        if names_somebody && entry[4..] != [0; 4] {
            entry[4..].fill(0);
            is_changed = true;
        }
    }
    is_changed
}
