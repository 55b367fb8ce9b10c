//! The system calls that are asked about, taken apart.
//!
//! Only those of the machine's own architecture: 32-bit programs get the kernel's answers.

use super::identity::{Change, Who};
use crate::sandbox::seccomp::{Rule, When};

/// What a path of a call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where relative paths start: a descriptor of the caller, or `AT_FDCWD`.
    pub(super) directory: i32,
    /// Where the path is in the caller's memory; `None`: the descriptor itself is meant.
    pub(super) path: Option<u64>,
    /// Whether an empty path means the descriptor itself.
    pub(super) may_be_empty: bool,
    /// Whether a link at the end is followed.
    pub(super) follow: bool,
}

impl Place {
    const fn here(path: u64) -> Self {
        Self::at(libc::AT_FDCWD, path)
    }

    const fn at(directory: i32, path: u64) -> Self {
        Self { directory, path: Some(path), may_be_empty: false, follow: true }
    }

    const fn open(descriptor: i32) -> Self {
        Self { directory: descriptor, path: None, may_be_empty: false, follow: true }
    }

    const fn itself(self) -> Self {
        Self { follow: false, ..self }
    }

    const fn flagged(self, flags: i32) -> Self {
        let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
        Self { follow, may_be_empty: flags & libc::AT_EMPTY_PATH != 0, ..self }
    }
}

/// A call that is asked about. Numbers that follow pointers are addresses in the caller's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Chown {
        place: Place,
        uid: u32,
        gid: u32,
    },
    Become(Who, Change),
    SetGroups {
        count: u64,
        list: u64,
    },
    GetGroups {
        room: i32,
        list: u64,
    },
    GetEffective(Who),
    GetReal(Who),
    GetThree(Who, [u64; 3]),
    Stat {
        place: Place,
        into: u64,
    },
    Statx {
        place: Place,
        flags: i32,
        mask: u32,
        into: u64,
    },
    Open {
        place: Place,
        flags: u32,
        mode: u32,
    },
    OpenHow {
        place: Place,
        how: u64,
        size: u64,
    },
    MakeDirectory {
        place: Place,
        mode: u32,
    },
    MakeNode {
        place: Place,
        mode: u32,
        device: u64,
    },
    MakeLink {
        target: u64,
        place: Place,
    },
    /// `access` that asks about writing; whether the effective ids count.
    Access {
        place: Place,
        effective: bool,
    },
    /// `listxattr` and its kin.
    ListAttributes {
        place: Place,
        into: u64,
        size: u64,
    },
    /// `setxattr` and its kin.
    SetAttribute {
        place: Place,
        name: u64,
        value: u64,
        size: u64,
        flags: u32,
    },
    /// Whoever is at the other end of a socket.
    Peer {
        socket: i32,
        into: u64,
        length: u64,
    },
    /// What a link or a pipe goes through that loses sight of whose it is: it gets another name or time.
    Disturb(Place),
    ChangeRoot,
    Execute(Place),
    KeepRights(bool),
    /// Reads, if there is somewhere to write it to, and perhaps sets the limit that marks processes.
    MarkedLimit {
        old: Option<u64>,
    },
}

/// The limit by which a process is known: what real-time scheduling may take, which no command has.
pub(super) const MARKED_LIMIT: u32 = libc::RLIMIT_RTTIME;

/// Flags of `open` with which a file may be made. `O_TMPFILE` without the bits that it shares with `O_DIRECTORY`.
const MAKES: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)).cast_unsigned();

/// Of a mode: a device, be it of characters or blocks, and nothing else has this bit.
const IS_DEVICE: u32 = 0o020_000;

const LISTS: [libc::c_long; 3] = [libc::SYS_listxattr, libc::SYS_llistxattr, libc::SYS_flistxattr];

/// Which calls make devices or give files away: all of the latter, so that no record outlives what it was about.
pub(in crate::sandbox) fn beyond() -> Vec<Rule> {
    let mut rules = vec![
        rule(libc::SYS_mknodat, When::Bits(2, IS_DEVICE)),
        rule(libc::SYS_fchownat, When::Always),
        rule(libc::SYS_fchown, When::Always),
    ];
    #[cfg(target_arch = "x86_64")]
    rules.extend([
        rule(libc::SYS_mknod, When::Bits(1, IS_DEVICE)),
        rule(libc::SYS_chown, When::Always),
        rule(libc::SYS_lchown, When::Always),
    ]);
    rules
}

/// Calls that are asked about each time.
const ALWAYS: [libc::c_long; 34] = [
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_getuid,
    libc::SYS_getgid,
    libc::SYS_geteuid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_mknodat,
    libc::SYS_mkdirat,
    libc::SYS_symlinkat,
    libc::SYS_openat2,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_chroot,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
];

/// Which calls have to do with owners.
pub(in crate::sandbox) fn everything() -> Vec<Rule> {
    let mut rules = vec![
        rule(libc::SYS_openat, When::Bits(2, MAKES)),
        rule(libc::SYS_prctl, When::Equal(0, libc::PR_SET_KEEPCAPS.cast_unsigned())),
        rule(libc::SYS_prlimit64, When::Equal(1, MARKED_LIMIT)),
        rule(libc::SYS_getrlimit, When::Equal(0, MARKED_LIMIT)),
        rule(libc::SYS_setrlimit, When::Equal(0, MARKED_LIMIT)),
        rule(libc::SYS_faccessat, When::Bits(2, libc::W_OK.cast_unsigned())),
        rule(libc::SYS_faccessat2, When::Bits(2, libc::W_OK.cast_unsigned())),
        rule(libc::SYS_getsockopt, When::Equal(2, libc::SO_PEERCRED.cast_unsigned())),
        rule(libc::SYS_utimensat, When::Bits(3, libc::AT_SYMLINK_NOFOLLOW.cast_unsigned())),
    ];
    rules.extend(LISTS.map(|number| rule(number, When::Always)));
    rules.extend(ALWAYS.map(|number| rule(number, When::Always)));
    #[cfg(target_arch = "x86_64")]
    {
        rules.push(rule(libc::SYS_open, When::Bits(1, MAKES)));
        rules.push(rule(libc::SYS_access, When::Bits(1, libc::W_OK.cast_unsigned())));
        let old = [
            libc::SYS_chown,
            libc::SYS_lchown,
            libc::SYS_mknod,
            libc::SYS_creat,
            libc::SYS_mkdir,
            libc::SYS_symlink,
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_link,
            libc::SYS_rename,
        ];
        rules.extend(old.map(|number| rule(number, When::Always)));
    }
    rules
}

fn rule(number: libc::c_long, when: When) -> Rule {
    Rule { number: u32::try_from(number).expect("numbers of calls are small"), when }
}

impl Call {
    /// Takes a call apart; `None` if it is none of those that are asked about.
    pub(super) fn of(number: i32, args: [u64; 6]) -> Option<Self> {
        let [a, b, c, d, e, _] = args;
        let (at, flags) = (Place::at(int(a), b), |flags: u64| int(flags));
        Some(match i64::from(number) {
            libc::SYS_fchown => {
                Self::Chown { place: Place::open(int(a)), uid: low(b), gid: low(c) }
            }
            libc::SYS_fchownat => {
                Self::Chown { place: at.flagged(flags(e)), uid: low(c), gid: low(d) }
            }
            libc::SYS_setuid => Self::Become(Who::User, Change::One(low(a))),
            libc::SYS_setgid => Self::Become(Who::Group, Change::One(low(a))),
            libc::SYS_setreuid => Self::Become(Who::User, Change::Two(low(a), low(b))),
            libc::SYS_setregid => Self::Become(Who::Group, Change::Two(low(a), low(b))),
            libc::SYS_setresuid => Self::Become(Who::User, Change::Three([a, b, c].map(low))),
            libc::SYS_setresgid => Self::Become(Who::Group, Change::Three([a, b, c].map(low))),
            libc::SYS_setfsuid => Self::Become(Who::User, Change::Filesystem(low(a))),
            libc::SYS_setfsgid => Self::Become(Who::Group, Change::Filesystem(low(a))),
            libc::SYS_setgroups => Self::SetGroups { count: a & 0xffff_ffff, list: b },
            libc::SYS_getgroups => Self::GetGroups { room: int(a), list: b },
            libc::SYS_getuid => Self::GetReal(Who::User),
            libc::SYS_getgid => Self::GetReal(Who::Group),
            libc::SYS_geteuid => Self::GetEffective(Who::User),
            libc::SYS_getegid => Self::GetEffective(Who::Group),
            libc::SYS_getresuid => Self::GetThree(Who::User, [a, b, c]),
            libc::SYS_getresgid => Self::GetThree(Who::Group, [a, b, c]),
            libc::SYS_fstat => Self::Stat { place: Place::open(int(a)), into: b },
            libc::SYS_newfstatat => Self::Stat { place: at.flagged(flags(d)), into: c },
            libc::SYS_statx => {
                // A path that is not there means the descriptor as well, since Linux 6.11.
                let place = if b == 0 { Place::open(int(a)) } else { at.flagged(flags(c)) };
                Self::Statx { place, flags: flags(c), mask: low(d), into: e }
            }
            libc::SYS_openat => Self::Open { place: at, flags: low(c), mode: low(d) },
            libc::SYS_openat2 => Self::OpenHow { place: at, how: c, size: d },
            libc::SYS_mkdirat => Self::MakeDirectory { place: at.itself(), mode: low(c) },
            libc::SYS_mknodat => {
                Self::MakeNode { place: at.itself(), mode: low(c), device: d & 0xffff_ffff }
            }
            libc::SYS_symlinkat => {
                Self::MakeLink { target: a, place: Place::at(int(b), c).itself() }
            }
            libc::SYS_chroot => Self::ChangeRoot,
            libc::SYS_execve => Self::Execute(Place::here(a)),
            libc::SYS_execveat => Self::Execute(at.flagged(flags(e))),
            libc::SYS_prlimit64 if low(b) == MARKED_LIMIT => {
                Self::MarkedLimit { old: (d != 0).then_some(d) }
            }
            libc::SYS_getrlimit if low(a) == MARKED_LIMIT => Self::MarkedLimit { old: Some(b) },
            libc::SYS_setrlimit if low(a) == MARKED_LIMIT => Self::MarkedLimit { old: None },
            libc::SYS_prctl if int(a) == libc::PR_SET_KEEPCAPS => Self::KeepRights(b != 0),
            _ => return Self::of_existing(number, args).or_else(|| Self::of_old(number, args)),
        })
    }

    /// Calls about what is there already: may it be written, what attributes has it, who else has it.
    fn of_existing(number: i32, [a, b, c, d, e, _]: [u64; 6]) -> Option<Self> {
        let at = Place::at(int(a), b);
        let attributed = match i64::from(number) {
            libc::SYS_listxattr | libc::SYS_setxattr => Place::here(a),
            libc::SYS_llistxattr | libc::SYS_lsetxattr => Place::here(a).itself(),
            _ => Place::open(int(a)),
        };
        Some(match i64::from(number) {
            number if LISTS.contains(&number) => {
                Self::ListAttributes { place: attributed, into: b, size: c }
            }
            libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr => {
                let flags = low(e);
                Self::SetAttribute { place: attributed, name: b, value: c, size: d, flags }
            }
            libc::SYS_faccessat => Self::Access { place: at, effective: false },
            libc::SYS_faccessat2 => {
                let effective = int(d) & libc::AT_EACCESS != 0;
                Self::Access { place: at.flagged(int(d)), effective }
            }
            libc::SYS_getsockopt if int(b) == libc::SOL_SOCKET => {
                Self::Peer { socket: int(a), into: d, length: e }
            }
            // What a link leads to gets the name then.
            libc::SYS_linkat if int(e) & libc::AT_SYMLINK_FOLLOW != 0 => return None,
            libc::SYS_linkat | libc::SYS_renameat | libc::SYS_renameat2 => {
                Self::Disturb(at.itself())
            }
            libc::SYS_utimensat if b != 0 => Self::Disturb(at.itself()),
            _ => return None,
        })
    }

    /// Calls that newer architectures do without.
    #[cfg(target_arch = "x86_64")]
    fn of_old(number: i32, [a, b, c, ..]: [u64; 6]) -> Option<Self> {
        let here = Place::here(a);
        const CREAT: i32 = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        Some(match i64::from(number) {
            libc::SYS_chown => Self::Chown { place: here, uid: low(b), gid: low(c) },
            libc::SYS_lchown => Self::Chown { place: here.itself(), uid: low(b), gid: low(c) },
            libc::SYS_stat => Self::Stat { place: here, into: b },
            libc::SYS_lstat => Self::Stat { place: here.itself(), into: b },
            libc::SYS_open => Self::Open { place: here, flags: low(b), mode: low(c) },
            libc::SYS_access => Self::Access { place: here, effective: false },
            libc::SYS_creat => {
                Self::Open { place: here, flags: CREAT.cast_unsigned(), mode: low(b) }
            }
            libc::SYS_mkdir => Self::MakeDirectory { place: here.itself(), mode: low(b) },
            libc::SYS_mknod => {
                Self::MakeNode { place: here.itself(), mode: low(b), device: c & 0xffff_ffff }
            }
            libc::SYS_symlink => Self::MakeLink { target: a, place: Place::here(b).itself() },
            libc::SYS_link | libc::SYS_rename => Self::Disturb(here.itself()),
            _ => return None,
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of_old(_: i32, _: [u64; 6]) -> Option<Self> {
        None
    }
}

/// The low half of an argument: all that the kernel reads of a 32-bit one.
const fn low(argument: u64) -> u32 {
    argument as u32
}

const fn int(argument: u64) -> i32 {
    low(argument).cast_signed()
}
