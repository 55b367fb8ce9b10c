//! What a sandbox is to be: plain data, made by `solve` and `kiln run`, performed only by this folder.
//!
//! Host paths are absolute. Paths inside are absolute paths of the new root; the sandbox resolves them beneath
//! that root, whatever links the root contains.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::gateway::Gateway;

/// The files that describe the network, over which every sandbox mounts its own: they are made where a root lacks them,
/// and removed again.
pub const NETWORK_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// One process in its own world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// What `/` is.
    pub root: Root,
    /// Whose links and pipes in the layers below are that are not root's: path, user, group. Needed only where the layers'
    /// files cannot say it; may be empty.
    pub owned_below: Vec<(PathBuf, u32, u32)>,
    /// What is mounted beneath it, besides /proc, /dev, /sys and the network's files; parents before children.
    pub mounts: Vec<Mount>,
    /// What runs.
    pub process: Process,
    /// Which network it sees.
    pub network: Network,
    /// How much it may do.
    pub security: Security,
    /// The UTS host name.
    pub hostname: String,
    /// `/etc/hosts` lines besides the standard ones: (address, name).
    pub extra_hosts: Vec<(String, String)>,
    /// Size of /dev/shm in bytes; 0: 64 MiB.
    pub shm_size: u64,
    /// What it may use of the machine, all its processes together; of no interest to those who make the sandbox.
    #[serde(skip)]
    pub limits: Limits,
}

/// What the processes of one run may use together, by a control group; `None`: as much as kiln itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// How much there may be with swap; counts only with `memory`.
    pub swap: Option<Swap>,
    /// Share of the processors' time beside others who want it; 1024 is the usual one.
    pub cpu_shares: Option<u64>,
    /// Microseconds in which `cpu_quota` is used up; 100000 if it is missing.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time in each period.
    pub cpu_quota: Option<u64>,
    /// Which processors, `0-2,7`.
    pub cpus: Option<String>,
    /// Which memory nodes.
    pub memory_nodes: Option<String>,
    /// Number of processes and threads, with the sandbox's own first one.
    pub pids: Option<u64>,
    /// The group in which the run's own is made: a path, or the name of a slice of systemd's.
    pub parent: Option<String>,
}

/// How much memory and swap there may be together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// This many bytes.
    With(u64),
    /// As much swap as the machine has.
    Unlimited,
}

impl Limits {
    /// The kernel's names of what has to be limited.
    pub(super) fn controllers(&self) -> Vec<&'static str> {
        let cpu = self.cpu_shares.or(self.cpu_period).or(self.cpu_quota).is_some();
        let needed = [
            ("memory", self.memory.is_some()),
            ("cpu", cpu),
            ("cpuset", self.cpus.is_some() || self.memory_nodes.is_some()),
            ("pids", self.pids.is_some()),
        ];
        needed.into_iter().filter(|(_, needed)| *needed).map(|(name, _)| name).collect()
    }
}

/// What `/` is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// An overlay: `lower` from the uppermost to the lowest; may be empty.
    Overlay {
        /// Read-only directories, uppermost first.
        lower: Vec<PathBuf>,
        /// The writable directory: the diff. Its own mode and owner are those of `/` inside.
        upper: PathBuf,
        /// The overlay's work directory, on the same file system as `upper`, empty. It serves one run and is to be
        /// removed afterwards: the kernel refuses to mount it again.
        work: PathBuf,
    },
    /// A directory as it is.
    Directory(PathBuf),
}

/// Something mounted beneath the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside. A missing target is created as a stub and removed again if it is still empty.
    pub target: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Whether writes are refused.
    pub readonly: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// `path` (which may be `/`) beneath the host directory `root`, resolved without ever leaving it. Both files
    /// and directories; links and `..` are taken as if `root` were `/`, and what is then not there is an error.
    Bind {
        /// A host directory.
        root: PathBuf,
        /// A path beneath it.
        path: PathBuf,
    },
    /// `path` beneath a tree stacked from layers. A writable one takes `upper` and `work` and is thrown away.
    Layers {
        /// Read-only directories, uppermost first.
        lower: Vec<PathBuf>,
        /// Where writes go; `None`: read-only.
        scratch: Option<Scratch>,
        /// A path beneath the stack.
        path: PathBuf,
    },
    /// Memory.
    Tmpfs {
        /// Bytes; 0: the kernel's default.
        size: u64,
    },
    /// A file that exists only in memory: a secret, a script.
    File {
        /// The content.
        #[serde(with = "serde_bytes_base64")]
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// The socket of an SSH agent of the host, through one of kiln's own: it has the mode and owner that are wanted, and
    /// lets a command list keys and sign with them, nothing else.
    Agent {
        /// The host's path.
        path: PathBuf,
        /// Permission bits that it should have inside.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Where the writes to a throw-away mount go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scratch {
    /// The writable directory.
    pub upper: PathBuf,
    /// The overlay's work directory.
    pub work: PathBuf,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The command; `args[0]` without a slash is looked up in the PATH of `env`.
    pub args: Vec<String>,
    /// `NAME=value`; of equal names the last wins. HOME is added from /etc/passwd if it is missing.
    pub env: Vec<String>,
    /// The working directory, inside; created with mode 0755 and the user as owner if it is missing.
    pub cwd: PathBuf,
    /// Who.
    pub user: User,
    /// Limits besides the inherited ones.
    pub rlimits: Vec<Rlimit>,
}

/// Numeric ids of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A resource limit, `--ulimit name=soft:hard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile`, `nproc`, … as docker names them.
    pub name: String,
    /// Soft limit; `u64::MAX`: unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX`: unlimited.
    pub hard: u64,
}

/// The limits that there are, and what the kernel calls them.
const RESOURCES: [(&str, u32); 15] = [
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("rttime", libc::RLIMIT_RTTIME),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

impl Rlimit {
    /// Returns the names that limits can have.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RESOURCES.into_iter().map(|(name, _)| name)
    }

    pub(super) fn resource(&self) -> Option<u32> {
        RESOURCES.into_iter().find(|(name, _)| *name == self.name).map(|(_, resource)| resource)
    }
}

/// Which network a process sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    Host,
    /// Its own, with nothing but a loopback device that is up.
    None,
    /// Its own, connected by a program of this machine. Neither the host's loopback addresses nor its abstract sockets
    /// can be reached.
    Private(Gateway),
}

/// How much a process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// The default capabilities, seccomp filter, masked and read-only paths.
    Default,
    /// Everything that kiln itself may do.
    Insecure,
}

mod serde_bytes_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}
