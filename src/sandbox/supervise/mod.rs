//! Owners that the kernel cannot give: who a command's processes are, and whose the files are that they make.
//!
//! Without a range of subordinate ids a user namespace has one user. A process of the sandbox, the *supervisor*, then
//! answers in the kernel's place what has to do with others (seccomp's user notification, `seccomp_unotify(2)`): chown
//! succeeds and is recorded, set*id changes who a process believes to be, stat tells what is recorded, what such a
//! process makes belongs to whom it believes to be, and mknod makes an empty file that is said to be a device. All else
//! the kernel does as ever: rights are those of the namespace's root, whoever a process believes to be.
//!
//! A process carries the number of its identity in a limit that has no effect on it (`RLIMIT_RTTIME`), because limits
//! are inherited exactly as identities are.
//!
//! The supervisor has the sandbox's file system and the rights of its pid 1, and is no part of what confines a command.

mod attributes;
mod call;
mod caller;
mod files;
mod identity;
mod ledger;
mod peers;
mod rights;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::thread::CapabilitySet;

use super::seccomp::Rule;
use super::spec::User;
use super::sys::{self, Question, Reply};
use super::wire::{Scope, receive_descriptor, send_descriptor};
use call::{Call, MARKED_LIMIT};
use caller::{Caller, is_proc_elsewhere};
use files::How;
use identity::{Change, Identities, Identity, Ids};
use ledger::Ledger;

/// Which calls are asked about.
pub(super) fn rules(scope: Scope) -> Vec<Rule> {
    match scope {
        Scope::Nothing => Vec::new(),
        Scope::Beyond => call::beyond(),
        Scope::Everything => call::everything(),
    }
}

/// What a call is answered with.
enum Answer {
    Value(i64),
    /// A new descriptor for the caller; whether it is closed when the caller becomes another program.
    File(OwnedFd, bool),
    /// The kernel does it.
    Proceed,
}

/// An error is the call's.
type Outcome = Result<Answer, Errno>;

/// The supervisor before it has anything to supervise.
pub(super) struct Supervisor {
    scope: Scope,
    ledger: Ledger,
    identities: Identities,
    /// Whether some process may have another root.
    changed_root: bool,
    /// Whether /proc is that of a container around the sandbox; `None`: nobody has looked yet.
    proc_is_elsewhere: Option<bool>,
}

impl Supervisor {
    /// Prepares one for a command of this user. `below` has the owners of links and pipes in the layers below, `upper` is
    /// where changes to the root appear, if not in the root itself; what the layer's reader must know goes to `notes`.
    pub(super) fn new(
        scope: Scope,
        user: &User,
        below: HashMap<PathBuf, (u32, u32)>,
        upper: Option<OwnedFd>,
        notes: File,
    ) -> io::Result<Self> {
        let user = match scope {
            // Users are real there: who may ask for what was seen to by then.
            Scope::Beyond => User::default(),
            Scope::Everything | Scope::Nothing => user.clone(),
        };
        let (uid, gid) = (Ids::all(user.uid), Ids::all(user.gid));
        let groups = user.groups;
        let first = Identity { user: uid, group: gid, groups, keeps_rights: false, rights: false };
        Ok(Self {
            scope,
            ledger: Ledger::new(below, upper, notes)?,
            identities: Identities::new(first),
            changed_root: false,
            proc_is_elsewhere: None,
        })
    }

    /// Answers until nobody is left who could ask; fails if nobody ever will.
    pub(super) fn serve(mut self, door: &UnixStream) -> io::Result<()> {
        let Some(listener) = receive_descriptor(door, &mut [0])? else { return Ok(()) };
        // Older kernels wake up whoever answers wherever it likes.
        let _ = sys::answer_nearby(&listener);
        loop {
            match sys::next_question(&listener)? {
                Some(question) => self.reply(&listener, question),
                None if is_deserted(&listener)? => return Ok(()),
                None => {}
            }
        }
    }

    fn reply(&mut self, listener: &OwnedFd, question: Question) {
        let reply = match self.answer(listener, question) {
            Ok(Answer::File(file, close_on_exec)) => {
                match sys::reply_with_file(listener, question.id, file, close_on_exec) {
                    Ok(()) => return,
                    Err(error) => Reply::Errno(error.raw_os_error().unwrap_or(libc::EMFILE)),
                }
            }
            Ok(Answer::Value(value)) => Reply::Value(value),
            Ok(Answer::Proceed) => Reply::Proceed,
            Err(error) => Reply::Errno(error.raw_os_error()),
        };
        sys::reply(listener, question.id, reply);
    }

    fn answer(&mut self, listener: &OwnedFd, question: Question) -> Outcome {
        let Some(call) = Call::of(question.number, question.args) else {
            return Ok(Answer::Proceed);
        };
        let elsewhere = *self.proc_is_elsewhere.get_or_insert_with(is_proc_elsewhere);
        // Who cannot be looked at is about to be gone.
        let Ok(caller) = Caller::new(listener, &question, self.changed_root, elsewhere) else {
            return Ok(Answer::Proceed);
        };
        if let Some(outcome) = self.answer_anybody(&caller, call) {
            return outcome;
        }
        let number = marked(caller.thread())?;
        if !caller.is_waiting() {
            return Ok(Answer::Proceed);
        }
        if self.scope == Scope::Beyond && !is_permitted(&caller, call) {
            return Ok(Answer::Proceed);
        }
        let identity = self.identities.get(number);
        let ledger = &mut self.ledger;
        match call {
            Call::Chown { place, uid, gid } => {
                files::chown(ledger, &caller, identity, place, (uid, gid))
            }
            Call::Access { place, effective } => {
                rights::tell(ledger, &caller, identity, place, effective)
            }
            Call::Open { place, flags, mode } => {
                files::create(ledger, &caller, identity, place, How::of_open(flags, mode))
            }
            Call::OpenHow { place, how, size } => match How::read(&caller, how, size)? {
                Some(how) => files::create(ledger, &caller, identity, place, how),
                None => Ok(Answer::Proceed),
            },
            Call::MakeDirectory { place, mode } => {
                files::make_directory(ledger, &caller, identity, place, mode)
            }
            Call::MakeNode { place, mode, device } => {
                files::make_node(ledger, &caller, identity, place, (mode, device))
            }
            Call::MakeLink { target, place } => {
                files::make_link(ledger, &caller, identity, place, target)
            }
            Call::ChangeRoot => {
                self.changed_root = true;
                Ok(Answer::Proceed)
            }
            Call::Execute(place) => {
                // Whatever is wrong with the program, the kernel says it best.
                if let Ok(new) = files::executed(ledger, &caller, identity, place)
                    && new != *identity
                {
                    self.mark(&caller, new)?;
                }
                Ok(Answer::Proceed)
            }
            call => self.answer_who(&caller, number, call),
        }
    }

    /// Answers what is the same whoever asks.
    fn answer_anybody(&mut self, caller: &Caller<'_>, call: Call) -> Option<Outcome> {
        Some(match call {
            // Asked most often by far, and nobody's business but the file's.
            Call::Stat { place, into } => files::tell(&self.ledger, caller, place, into),
            Call::Statx { place, flags, mask, into } => {
                files::tell_more(&self.ledger, caller, place, (flags, mask, into))
            }
            Call::ListAttributes { place, into, size } => {
                attributes::list(caller, place, (into, size))
            }
            Call::SetAttribute { place, name, value, size, flags } => {
                attributes::set(caller, place, (name, flags), (value, size))
            }
            Call::Disturb(place) => files::disturb(&mut self.ledger, caller, place),
            Call::Peer { socket, into, length } => {
                peers::tell(&self.identities, caller, socket, (into, length))
            }
            _ => return None,
        })
    }

    /// Answers what is about the caller itself.
    fn answer_who(&mut self, caller: &Caller<'_>, number: u64, call: Call) -> Outcome {
        let identity = self.identities.get(number);
        match call {
            Call::GetReal(who) => Ok(Answer::Value(identity.ids(who).real.into())),
            Call::GetEffective(who) => Ok(Answer::Value(identity.ids(who).effective.into())),
            Call::GetThree(who, into) => {
                let ids = identity.ids(who);
                for (address, id) in into.into_iter().zip([ids.real, ids.effective, ids.saved]) {
                    caller.write(address, &id.to_ne_bytes())?;
                }
                Ok(Answer::Value(0))
            }
            Call::GetGroups { room, list } => {
                let count = i32::try_from(identity.groups.len()).map_err(|_| Errno::INVAL)?;
                if room < 0 || (room > 0 && room < count) {
                    return Err(Errno::INVAL);
                }
                if room > 0 && count > 0 {
                    let bytes: Vec<u8> =
                        identity.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
                    caller.write(list, &bytes)?;
                }
                Ok(Answer::Value(count.into()))
            }
            Call::SetGroups { count, list } => {
                let groups = read_groups(caller, count, list)?;
                let identity = identity.with_groups(groups)?;
                self.mark(caller, identity)?;
                Ok(Answer::Value(0))
            }
            Call::MarkedLimit { old } => {
                // Sessions are opened with all limits set anew, which is not to change who somebody is.
                if let Some(address) = old {
                    caller.write(address, &[0xff; 16])?;
                }
                Ok(Answer::Value(0))
            }
            Call::KeepRights(keep) => {
                self.mark(caller, Identity { keeps_rights: keep, ..identity.clone() })?;
                Ok(Answer::Proceed)
            }
            Call::Become(who, change) => {
                let old = identity.ids(who).filesystem;
                let identity = identity.changed(who, change)?;
                self.mark(caller, identity)?;
                let says_old = matches!(change, Change::Filesystem(_));
                Ok(Answer::Value(if says_old { old.into() } else { 0 }))
            }
            _ => Ok(Answer::Proceed),
        }
    }

    fn mark(&mut self, caller: &Caller<'_>, identity: Identity) -> Result<(), Errno> {
        let number = self.identities.number(identity)?;
        let failed = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let (_, hard) = sys::limit_of(caller.thread(), MARKED_LIMIT).map_err(failed)?;
        sys::set_limit_of(caller.thread(), MARKED_LIMIT, MARK + number, hard).map_err(failed)
    }
}

/// Where users are real, nobody gets more done than the kernel would let it do.
fn is_permitted(caller: &Caller<'_>, call: Call) -> bool {
    match call {
        Call::MakeNode { .. } => caller.may(CapabilitySet::MKNOD),
        _ => caller.may(CapabilitySet::CHOWN),
    }
}

/// So many microseconds of real-time scheduling are as good as no limit.
const MARK: u64 = 1 << 62;

/// Returns the number of a process's identity; unmarked ones have the first.
fn marked(thread: u32) -> Result<u64, Errno> {
    let (soft, _) = sys::limit_of(thread, MARKED_LIMIT).map_err(|_| Errno::SRCH)?;
    Ok(soft.saturating_sub(MARK))
}

fn read_groups(caller: &Caller<'_>, count: u64, list: u64) -> Result<Vec<u32>, Errno> {
    /// Far more than programs use, far less than could fill the memory.
    const MOST: u64 = 1024;
    if count > MOST {
        return Err(Errno::INVAL);
    }
    let mut bytes = vec![0; usize::try_from(count).map_err(|_| Errno::INVAL)? * 4];
    if !bytes.is_empty() {
        caller.read(list, &mut bytes)?;
    }
    let groups = bytes.chunks_exact(4).map(|id| u32::from_ne_bytes([id[0], id[1], id[2], id[3]]));
    Ok(groups.collect())
}

/// Gives the place where questions are asked to the supervisor.
pub(super) fn hand_over(listener: &OwnedFd, door: &UnixStream) -> io::Result<()> {
    send_descriptor(door, b"!", Some(listener.as_fd()))
}

fn is_deserted(listener: &OwnedFd) -> io::Result<bool> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&now)))?;
    Ok(fds[0].revents().contains(PollFlags::HUP))
}
