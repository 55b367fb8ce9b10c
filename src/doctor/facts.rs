//! What can be known of a machine.

use std::path::PathBuf;

use crate::sandbox::{Gateway, Level, Surroundings};

/// What was found on a machine.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The kernel's release: `6.1.0-18-amd64`.
    pub kernel: String,
    /// Whether the kernel can ask a process about another's system calls.
    pub notifies: bool,
    /// Who called.
    pub uid: u32,
    /// What kiln became, or why it did not.
    pub level: Result<Level, String>,
    /// What has a say in user namespaces.
    pub surroundings: Surroundings,
    /// The ranges and helpers of `/etc/subuid`.
    pub uids: Subordinate,
    /// The ranges and helpers of `/etc/subgid`.
    pub gids: Subordinate,
    /// A sandbox on a plain directory: why there is none.
    pub sandbox: Tried,
    /// A sandbox on an overlay on the state root.
    pub overlay: Tried,
    /// Whether parts of /proc are covered, so that a user namespace cannot have one of its own.
    pub proc_covered: bool,
    /// The state root.
    pub state: State,
    /// Control groups.
    pub control: Control,
    /// Programs for other CPUs; `None`: the kernel's list is not to be seen.
    pub foreign: Option<Vec<Foreign>>,
    /// A sandbox with a network namespace of its own.
    pub no_network: Tried,
    /// A sandbox with a network that the first of `gateways` connects.
    pub private: Tried,
    /// Programs that connect such a network.
    pub gateways: Vec<(Gateway, PathBuf)>,
    /// Files of credentials.
    pub credentials: Vec<Credentials>,
}

/// Whether something worked that was tried; if not, why not.
pub type Tried = Result<(), String>;

/// Subordinate ids.
#[derive(Debug, Clone)]
pub struct Subordinate {
    /// The user's name, or number.
    pub user: String,
    /// First and count.
    pub range: Option<(u32, u32)>,
    /// The program that maps them.
    pub helper: Helper,
}

/// A program that needs more rights than its user has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Helper {
    /// It is not there.
    Missing,
    /// It is neither setuid nor has it capabilities.
    Powerless(PathBuf),
    /// It may do what it is for.
    Ready,
}

/// The state root.
#[derive(Debug, Clone)]
pub struct State {
    /// Where it is.
    pub path: PathBuf,
    /// Why it cannot be used, if it cannot.
    pub usable: Tried,
    /// `ext4`, `xfs`, …
    pub file_system: String,
    /// In bytes.
    pub free: u64,
}

/// Control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// None, or the old kind.
    Old,
    /// The unified hierarchy: the controllers of kiln's own group, and whether kiln may make groups in it.
    Unified {
        /// `cpu`, `memory`, …
        controllers: Vec<String>,
        /// Whether kiln may make groups.
        writable: bool,
    },
}

/// Programs for another CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// As images call it.
    pub architecture: &'static str,
    /// Whether the kernel holds the emulator open (flag `F`).
    pub held: bool,
}

/// A file of credentials.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Where it is.
    pub path: PathBuf,
    /// What cannot be read of it.
    pub problem: Option<String>,
    /// The helpers that it names, and whether each is there.
    pub helpers: Vec<(String, bool)>,
}
