//! What a command may do as root: the default capability set, and the change from kiln's rights to the user's.

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::spec::User;
use super::wire::{Result, refused};

/// The capabilities that builders agree on.
const DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Becomes `user` with the default capabilities: all of them for root, none for anyone else, and no program that the
/// command starts can get more.
pub(super) fn drop_to_default(user: &User, becoming: Becoming) -> Result<()> {
    let fail = || "drop capabilities".to_owned();
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if !capability_is_in_bounding_set(capability).unwrap_or(false) {
            // Unknown numbers come after the last known one.
            if bit > 40 {
                break;
            }
        } else if !DEFAULT.contains(capability) {
            remove_capability_from_bounding_set(capability).map_err(refused(fail))?;
        }
    }
    clear_ambient_capability_set().map_err(refused(fail))?;
    let held = rustix::thread::capabilities(None).map_err(refused(fail))?.permitted;
    become_user(user, becoming)?;
    let wanted = if user.uid == 0 { held & DEFAULT } else { CapabilitySet::empty() };
    set(wanted, CapabilitySet::empty()).map_err(refused(fail))
}

/// Becomes `user` with everything that kiln itself may do, for it and all that it starts.
pub(super) fn keep_all(user: &User, becoming: Becoming) -> Result<()> {
    let fail = || "keep capabilities".to_owned();
    let held = rustix::thread::capabilities(None).map_err(refused(fail))?.permitted;
    set_keep_capabilities(true).map_err(refused(fail))?;
    become_user(user, becoming)?;
    set(held, held).map_err(refused(fail))?;
    for capability in held {
        configure_capability_in_ambient_set(capability, true).map_err(refused(fail))?;
    }
    Ok(())
}

/// How a process becomes a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becoming {
    /// As everywhere.
    Whole,
    /// Without supplementary groups, which a user namespace with a single id does not let anybody set.
    ButGroups,
    /// It stays who it is: a supervisor tells it otherwise.
    Supervised,
}

fn set(held: CapabilitySet, inheritable: CapabilitySet) -> rustix::io::Result<()> {
    set_capabilities(None, CapabilitySets { effective: held, permitted: held, inheritable })
}

fn become_user(user: &User, becoming: Becoming) -> Result<()> {
    if becoming == Becoming::Supervised {
        return Ok(());
    }
    let groups: Vec<Gid> = user.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    // A list of nothing but the group itself changes nothing that a command could tell.
    let redundant = user.groups.iter().all(|gid| *gid == user.gid);
    if becoming == Becoming::Whole || !redundant {
        let fail = || format!("set the supplementary groups {:?}", user.groups);
        set_thread_groups(&groups).map_err(refused(fail))?;
    }
    let gid = Gid::from_raw(user.gid);
    set_thread_res_gid(gid, gid, gid)
        .map_err(refused(|| format!("become the group {}", user.gid)))?;
    let uid = Uid::from_raw(user.uid);
    set_thread_res_uid(uid, uid, uid).map_err(refused(|| format!("become the user {}", user.uid)))
}
