//! What the sandbox's processes tell each other: kiln its order, pid 1 its notes, the keeper its report.
//!
//! Only kiln's own processes speak this, always of one and the same program, so there is no version.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use super::spec::Spec;
use super::target::{CopiedUp, Stub};
use super::{Ended, Exit};
use crate::ownership::{Origin, Owned};

/// From kiln to the keeper.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    /// What to make.
    pub(super) spec: Spec,
    /// The rest.
    pub(super) setting: Setting,
    /// The control groups that it runs in, one of each hierarchy, which the keeper removes.
    pub(super) groups: Vec<PathBuf>,
}

/// Facts that kiln knows and the keeper would have to find out again each time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Setting {
    /// Whether the command shares kiln's terminal.
    pub(super) foreground: bool,
    /// Whether kiln is root only within a user namespace.
    pub(super) user_namespace: bool,
    /// What the kernel cannot do there and a supervisor does in its place.
    pub(super) scope: Scope,
}

/// What a supervisor answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scope {
    /// There is none.
    Nothing,
    /// The making of devices, and files of users who do not exist.
    Beyond,
    /// Whatever has to do with owners, and devices.
    Everything,
}

/// [`Order`] as it is sent, without copying the spec.
#[derive(Debug, Serialize)]
pub(super) struct OrderRef<'a> {
    /// What to make.
    pub(super) spec: &'a Spec,
    /// The rest.
    pub(super) setting: Setting,
    /// The control groups.
    pub(super) groups: &'a [PathBuf],
}

/// From pid 1, or the command before it is one, to the keeper; one line each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Note {
    /// A mount point was made that is to be removed.
    Made(Stub),
    /// A directory will have been copied up only because a mount point was made beneath it.
    CopiedUp(CopiedUp),
    /// A link or a pipe belongs to somebody; the last word on a file counts.
    Owned(Owned),
    /// The sandbox could not be made.
    Failed(Failure),
    /// The command ended.
    Exited(Exit),
}

/// Sends a note.
pub(super) fn send(notes: &mut File, note: &Note) -> io::Result<()> {
    let mut line = serde_json::to_vec(note)?;
    line.push(b'\n');
    notes.write_all(&line)
}

/// What the notes say so far. It takes no more room than that, however often something is said.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The mount points that were made.
    pub(super) made: Vec<Stub>,
    /// Directories that were copied up.
    pub(super) copied_up: Vec<CopiedUp>,
    /// Whose links and pipes are.
    pub(super) owned: HashMap<Origin, Owned>,
    /// Why the sandbox could not be made.
    pub(super) failed: Option<Failure>,
    /// How the command ended.
    pub(super) exited: Option<Exit>,
    /// The beginning of a line; of the last one, if its writer was killed.
    begun: Vec<u8>,
}

impl Told {
    /// Takes note of more.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(line);
            if line.ends_with(b"\n") {
                let note = serde_json::from_slice(&self.begun);
                self.begun.clear();
                match note {
                    Ok(Note::Made(stub)) => self.made.push(stub),
                    Ok(Note::CopiedUp(dir)) => self.copied_up.push(dir),
                    Ok(Note::Owned(it)) => drop(self.owned.insert(it.origin, it)),
                    Ok(Note::Failed(failure)) => self.failed = Some(failure),
                    Ok(Note::Exited(exit)) => self.exited = Some(exit),
                    Err(_) => {}
                }
            }
        }
    }
}

/// Sends a few bytes, and a descriptor with them.
pub(super) fn send_descriptor(
    socket: &UnixStream,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &descriptor {
        control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`send_descriptor`] sent; fails if the other side has closed the socket instead.
pub(super) fn receive_descriptor(
    socket: &UnixStream,
    bytes: &mut [u8],
) -> io::Result<Option<OwnedFd>> {
    let wanted = bytes.len();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let got = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes != wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// From the keeper to kiln: the last thing that it says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The command ran and ended.
    Exited(Ended),
    /// It did not run.
    Failed(Failure),
    /// The namespace ended before its first process could say how.
    Vanished,
}

/// Why a sandbox could not be made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failure {
    /// An operation was refused.
    Refused {
        /// A verb phrase that fits after "cannot".
        operation: String,
        /// The error number; 0 if there is none.
        errno: i32,
    },
    /// What is to be mounted is not there.
    Source {
        /// Where it was to be mounted.
        target: PathBuf,
        /// The path beneath its root.
        path: PathBuf,
        /// The error number.
        errno: i32,
    },
    /// The spec asks for something that does not exist.
    Invalid(String),
    /// The spec names a user or group that has no id in kiln's user namespace.
    Unmapped(String),
    /// A process outside holds a file of the root open for writing.
    StillWritten,
}

impl Failure {
    /// Returns the error number of what was refused.
    pub(super) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } | Self::Source { errno, .. } => Some(*errno),
            Self::Invalid(_) | Self::Unmapped(_) | Self::StillWritten => None,
        }
    }
}

/// A result whose error says what was being done.
pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Names the operation that failed; `operation` fits after "cannot".
pub(super) fn refused<E: Into<io::Error>>(
    operation: impl FnOnce() -> String,
) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Refused { operation: operation(), errno: errno(error) }
}

/// [`refused`] for an operation on a path.
pub(super) fn refused_at<E: Into<io::Error>>(verb: &str, path: &Path) -> impl FnOnce(E) -> Failure {
    refused(move || format!("{verb} `{}`", path.display()))
}

/// The number of an error; 0 if it has none.
pub(super) fn errno<E: Into<io::Error>>(error: E) -> i32 {
    error.into().raw_os_error().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_and_again_takes_no_more_room() {
        let origin = Origin { inode: 7, birth: (1, 2) };
        let note = |uid| serde_json::to_vec(&Note::Owned(Owned { origin, uid, gid: 0 })).unwrap();
        let mut told = Told::default();
        for uid in 0..10_000 {
            let line = [&note(uid)[..], b"\n"].concat();
            let (begin, end) = line.split_at(uid as usize % line.len());
            told.read(begin);
            told.read(end);
        }
        told.read(b"{\"Exited\":{\"Code\":3}}\nno note\n{\"Exited\":{\"Code\":4");
        assert_eq!(told.owned.into_values().map(|it| it.uid).collect::<Vec<_>>(), [9_999]);
        assert_eq!(told.exited, Some(Exit::Code(3)));
        assert!(told.begun.capacity() < 1000, "{}", told.begun.capacity());
    }
}
