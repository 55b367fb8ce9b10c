//! Who is at the other end of a socket: servers such as PostgreSQL let in whoever the kernel says it is.

use super::caller::Caller;
use super::identity::Identities;
use super::{Answer, Outcome, marked};
use crate::sandbox::sys;

/// `getsockopt` with `SO_PEERCRED`. Whoever connected and has become somebody else since is said to be that one.
pub(super) fn tell(
    identities: &Identities,
    caller: &Caller<'_>,
    socket: i32,
    (into, length): (u64, u64),
) -> Outcome {
    let peer = caller.descriptor(socket).ok().and_then(|socket| sys::peer_of(socket).ok());
    // Nobody, or somebody outside.
    let Some(pid) = peer.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0) else {
        return Ok(Answer::Proceed);
    };
    let Ok(number) = marked(pid) else { return Ok(Answer::Proceed) };
    let who = identities.get(number);
    let told = [pid, who.user.effective, who.group.effective].map(u32::to_ne_bytes).concat();
    let mut room = [0; 4];
    caller.read(length, &mut room)?;
    let Ok(room) = usize::try_from(i32::from_ne_bytes(room)) else { return Ok(Answer::Proceed) };
    let told = &told[..told.len().min(room)];
    caller.write(into, told)?;
    caller.write(length, &(told.len() as u32).to_ne_bytes())?;
    Ok(Answer::Value(0))
}
