//! Which system calls the default filter refuses, by number, per architecture: data, resolved from moby's default
//! profile for the default capabilities (github.com/moby/profiles, June 2026).
//!
//! The profile lists what is allowed; nearly everything is, so this lists what is not. `x86` is for 32-bit programs on
//! x86-64, which moby allows as well. Numbers above `last` are newer than the profile.

/// What an architecture refuses.
pub(super) struct Table {
    /// The kernel's name for the architecture in a filter's data.
    pub(super) audit_arch: u32,
    /// The highest number that the profile knows.
    pub(super) last: u32,
    /// Refused with EPERM: first and last number of a run, ascending.
    pub(super) refused: &'static [(u32, u32)],
    /// `clone3`: answered ENOSYS so that the C library falls back to `clone`, whose flags a filter can see.
    pub(super) clone3: u32,
    /// Allowed for some arguments only.
    pub(super) clone: u32,
    /// See `clone`.
    pub(super) socket: u32,
    /// See `clone`.
    pub(super) personality: u32,
    /// See `clone`.
    pub(super) ioctl: u32,
}

/// The tables of the architecture that kiln is built for: its own, then those of other programs it can execute.
pub(super) fn tables() -> &'static [Table] {
    if cfg!(target_arch = "x86_64") {
        &[X86_64, X86]
    } else if cfg!(target_arch = "aarch64") {
        &[AARCH64]
    } else {
        &[]
    }
}

const X86_64: Table = Table {
    audit_arch: 0xc000_003e,
    last: 466,
    refused: &[
        (103, 103), // syslog
        (134, 134), // uselib
        (136, 136), // ustat
        (139, 139), // sysfs
        (153, 153), // vhangup
        (155, 156), // pivot_root, _sysctl
        (163, 185), // acct, settimeofday, mount, umount2, swapon, swapoff, reboot, sethostname, …, modules, quotactl
        (212, 212), // lookup_dcookie
        (227, 227), // clock_settime
        (236, 239), // vserver, mbind, set_mempolicy, get_mempolicy
        (246, 246), // kexec_load
        (248, 250), // add_key, request_key, keyctl
        (256, 256), // migrate_pages
        (272, 272), // unshare
        (279, 279), // move_pages
        (298, 298), // perf_event_open
        (300, 300), // fanotify_init
        (304, 304), // open_by_handle_at
        (308, 308), // setns
        (312, 313), // kcmp, finit_module
        (320, 321), // kexec_file_load, bpf
        (323, 323), // userfaultfd
        (336, 423), // uprobe, numbers not in use
        (425, 433), // io_uring_*, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
        (438, 438), // pidfd_getfd
        (440, 440), // process_madvise
        (442, 443), // mount_setattr, quotactl_fd
        (450, 450), // set_mempolicy_home_node
        (459, 461), // lsm_*
    ],
    clone3: 435,
    clone: 56,
    socket: 41,
    personality: 135,
    ioctl: 16,
};

const X86: Table = Table {
    audit_arch: 0x4000_0003,
    last: 466,
    refused: &[
        (17, 18),   // break, oldstat
        (21, 22),   // mount, umount
        (25, 25),   // stime
        (28, 28),   // oldfstat
        (31, 32),   // stty, gtty
        (34, 35),   // nice, ftime
        (44, 44),   // prof
        (48, 48),   // signal
        (51, 53),   // acct, umount2, lock
        (56, 56),   // mpx
        (58, 59),   // ulimit, oldolduname
        (62, 62),   // ustat
        (67, 69),   // sigaction, sgetmask, ssetmask
        (72, 74),   // sigsuspend, sigpending, sethostname
        (79, 79),   // settimeofday
        (84, 84),   // oldlstat
        (86, 89),   // uselib, swapon, reboot, readdir
        (98, 98),   // profil
        (101, 101), // ioperm
        (103, 103), // syslog
        (109, 113), // olduname, iopl, vhangup, idle, vm86old
        (115, 115), // swapoff
        (121, 121), // setdomainname
        (127, 131), // modules, quotactl
        (134, 135), // bdflush, sysfs
        (137, 137), // afs_syscall
        (149, 149), // _sysctl
        (166, 167), // vm86, query_module
        (169, 169), // nfsservctl
        (188, 189), // getpmsg, putpmsg
        (217, 217), // pivot_root
        (222, 223), // numbers not in use
        (251, 251), // number not in use
        (253, 253), // lookup_dcookie
        (264, 264), // clock_settime
        (273, 276), // vserver, mbind, get_mempolicy, set_mempolicy
        (283, 283), // kexec_load
        (285, 288), // number not in use, add_key, request_key, keyctl
        (294, 294), // migrate_pages
        (310, 310), // unshare
        (317, 317), // move_pages
        (336, 336), // perf_event_open
        (338, 338), // fanotify_init
        (342, 342), // open_by_handle_at
        (346, 346), // setns
        (349, 350), // kcmp, finit_module
        (357, 357), // bpf
        (374, 374), // userfaultfd
        (387, 392), // numbers not in use
        (404, 404), // clock_settime64
        (415, 415), // number not in use
        (425, 433), // io_uring_*, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
        (438, 438), // pidfd_getfd
        (440, 440), // process_madvise
        (442, 443), // mount_setattr, quotactl_fd
        (450, 450), // set_mempolicy_home_node
        (459, 461), // lsm_*
    ],
    clone3: 435,
    clone: 120,
    socket: 359,
    personality: 136,
    ioctl: 54,
};

const AARCH64: Table = Table {
    audit_arch: 0xc000_00b7,
    last: 466,
    refused: &[
        (18, 18),   // lookup_dcookie
        (39, 42),   // umount2, mount, pivot_root, nfsservctl
        (58, 58),   // vhangup
        (60, 60),   // quotactl
        (89, 89),   // acct
        (97, 97),   // unshare
        (104, 106), // kexec_load, init_module, delete_module
        (112, 112), // clock_settime
        (116, 116), // syslog
        (142, 142), // reboot
        (161, 162), // sethostname, setdomainname
        (170, 170), // settimeofday
        (217, 219), // add_key, request_key, keyctl
        (224, 225), // swapon, swapoff
        (235, 239), // mbind, get_mempolicy, set_mempolicy, migrate_pages, move_pages
        (241, 241), // perf_event_open
        (244, 259), // numbers not in use
        (262, 262), // fanotify_init
        (265, 265), // open_by_handle_at
        (268, 268), // setns
        (272, 273), // kcmp, finit_module
        (280, 280), // bpf
        (282, 282), // userfaultfd
        (294, 423), // kexec_file_load, numbers not in use
        (425, 433), // io_uring_*, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
        (438, 438), // pidfd_getfd
        (440, 440), // process_madvise
        (442, 443), // mount_setattr, quotactl_fd
        (450, 450), // set_mempolicy_home_node
        (459, 461), // lsm_*
    ],
    clone3: 435,
    clone: 220,
    socket: 198,
    personality: 92,
    ioctl: 29,
};
