//! Runs one process in namespaces of its own.
//!
//! ```text
//! kiln ── exec kiln sandbox-init ── fork, new namespaces ── fork ── the command
//!         the keeper: waits outside,  pid 1: mounts, pivots,
//!         clears up, reports          reaps, forwards signals
//! ```
//!
//! What a command sees: its root file system, what its mounts name, fresh /proc, /dev, /sys, two files that describe
//! the network, and its own processes. With [`spec::Security::Default`] it has the fourteen usual capabilities, the
//! default system call filter, and no way to open a device other than the few harmless ones: every mount that it
//! can write to is `nodev`. What it cannot do: see or signal processes of the host, reach files by links or `..` out
//! of what a mount names, leave processes behind, or leave anything of the sandbox's own making in the root.
//!
//! What is not claimed: with [`spec::Network::Host`] it reaches everything that kiln can reach over the network,
//! abstract Unix sockets included; memory and processor time are limited only as [`spec::Limits`] says; and
//! [`spec::Security::Insecure`] protects from accidents only.

mod agent;
mod attempt;
mod capability;
mod cgroup;
mod dev;
mod exec;
mod foreign;
mod gateway;
mod heap;
mod init;
mod kernel;
mod launch;
mod mount;
mod network;
mod program;
mod ready;
mod recording;
mod root;
mod seccomp;
mod seccomp_table;
mod socket;
pub mod spec;
mod supervise;
mod surroundings;
mod sys;
mod target;
mod userns;
mod wire;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::event::{Cancel, Stream};
use crate::fs;
use crate::ownership::Owned;

pub use attempt::try_root;
pub use foreign::{Emulators, ForeignError, Lack};
pub use gateway::{Gateway, GatewayMissing};
pub use heap::one_heap;
pub use init::init_main;
pub use kernel::kernel_version;
pub use launch::{Namespaces, Remains};
pub use recording::{Output, Recording};
pub use surroundings::{Container, Surroundings};
pub use userns::{Level, enter, find_program, is_possible, subordinate_range};

use spec::Spec;

/// Runs commands; several threads may do so at once.
pub trait Sandbox: Send + Sync {
    /// Runs one command to its end. No process of it is left when this returns, and its root can be written to by
    /// nobody; no mount is left once [`Remains`] is dropped.
    ///
    /// A command that cannot be found ends with code 127, one that cannot be executed with 126, both with a line
    /// on its standard error, as with a shell.
    fn run(&self, spec: &Spec, io: Io<'_>, cancel: &Cancel) -> Result<(Ended, Remains), Error>;

    /// Hears how many more commands will be run whose output is piped, perhaps: it may prepare for them.
    fn expect(&self, _commands: usize) {}
}

/// Where a command's input comes from and its output goes.
pub enum Io<'a> {
    /// kiln's own standard input, output and error; the command may use the terminal.
    Inherit,
    /// No input; the output is given away in the pieces in which it was written, on the calling thread.
    Piped(&'a mut dyn FnMut(Stream, &[u8])),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal {
        /// The signal's number.
        number: i32,
        /// Whether the kernel killed something for lack of memory while the command ran: it may have been this.
        out_of_memory: bool,
    },
}

/// A command that ran to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended.
    pub exit: Exit,
    /// Whose links and pipes are that it left, as far as their inodes cannot say.
    pub owned: Vec<Owned>,
}

impl Exit {
    /// Returns whether the command ended well.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// Returns the code that a shell would show: 128 and the signal's number for a killed command.
    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal { number, .. } => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

/// Why a command did not run, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was stopped because the caller asked.
    #[error("the command was canceled")]
    Canceled,
    /// kiln's helper process could not be started.
    #[error("cannot start the sandbox process `{}`", program.display())]
    Start {
        /// What was to be executed.
        program: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// kiln and its helper process lost each other.
    #[error("the sandbox process ended without a report: {status}")]
    Lost {
        /// How it ended.
        status: String,
    },
    /// The kernel refused a part of the sandbox.
    #[error("cannot {operation}")]
    Setup {
        /// A verb phrase that fits after "cannot".
        operation: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What a mount names is not there, or lies outside its root.
    #[error("cannot find `{}` to mount it at `{}`", path.display(), target.display())]
    Source {
        /// Where it was to be mounted.
        target: PathBuf,
        /// The path beneath its root.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The spec asks for something that does not exist.
    #[error("{0}")]
    Invalid(String),
    /// The spec names an id that kiln's user namespace does not have.
    #[error("the {who} does not exist in kiln's user namespace")]
    Unmapped {
        /// `user 33` or `group 33`.
        who: String,
    },
    /// The command sent a descriptor of a file of its root away, through which it can still be written to.
    #[error("the command gave a file that it was writing to a process outside of the sandbox")]
    StillWritten,
    /// A limit that was asked for could not be set.
    #[error("cannot {operation}")]
    Limit {
        /// A verb phrase that fits after "cannot".
        operation: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// newuidmap or newgidmap did not do as asked; they have said why themselves.
    #[error("cannot map the ids of /etc/subuid and /etc/subgid: newuidmap or newgidmap refused")]
    Mapping,
    /// A user namespace could not be entered.
    #[error("cannot {operation}")]
    UserNamespace {
        /// A verb phrase that fits after "cannot".
        operation: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Canceled | Error::Lost { .. } | Error::Invalid(_) => return None,
            Error::Start { source, .. }
            | Error::Limit { source, .. }
            | Error::UserNamespace { source, .. }
                if fs::is_out_of_descriptors(source) =>
            {
                return fs::remedy(self);
            }
            Error::Start { .. } => "kiln executes itself through /proc/self/exe: is /proc mounted?",
            Error::StillWritten => {
                "what it made cannot be kept as long as it can change: let the other process close the file \
                 first"
            }
            Error::Source { .. } => {
                "links are resolved beneath the mount's source, never outside it"
            }
            Error::Limit { .. } => {
                "limits need a control group that kiln may divide: run it as root, or by `systemd-run --user \
                 --scope --property=Delegate=yes kiln …`, or name a group with `--cgroup-parent`"
            }
            Error::Unmapped { .. } => {
                "give this account a range of ids in /etc/subuid and /etc/subgid, \
                 or run kiln as root"
            }
            Error::Mapping => {
                "compare both files with what `id` prints: the ranges must be this account's, and its \
                 group the one it logs in with"
            }
            Error::UserNamespace { .. } => return Some(Surroundings::look().fix()),
            Error::Setup { source, operation } => match source.raw_os_error() {
                Some(libc::EINVAL) if operation.contains("overlay") => {
                    "kiln's state must lie on a file system that overlays can write to, \
                     not itself an overlay: inside a container, on a volume; or build with --snapshotter=copy"
                }
                Some(libc::EPERM | libc::EACCES) => {
                    "the kernel refused this to kiln: a container around it needs more privileges \
                     (for instance --privileged, or --security-opt systempaths=unconfined), \
                     or user namespaces must be allowed"
                }
                Some(libc::ENODEV) => {
                    "the kernel lacks this file system: try `modprobe overlay`, or --snapshotter=copy"
                }
                Some(libc::ENOSYS) => "this needs Linux 5.12 or newer",
                Some(libc::ENOSPC) => "a limit in /proc/sys/user or the disk is exhausted",
                Some(libc::EOVERFLOW) => "an owner in the image has no id in this user namespace",
                _ => return None,
            },
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_descriptors_says_so_wherever_it_is() {
        let too_many = || io::Error::from_raw_os_error(libc::EMFILE);
        let errors = [
            Error::Start { program: PathBuf::from("/proc/self/exe"), source: too_many() },
            Error::Limit { operation: "open a group".to_owned(), source: too_many() },
            Error::UserNamespace { operation: "enter one".to_owned(), source: too_many() },
        ];
        for error in errors {
            assert_eq!(error.hint().as_deref(), Some("raise the limit of open files: `ulimit -n`"));
        }
    }
}
