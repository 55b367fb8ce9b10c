//! The system calls that neither std nor rustix offers safely: the only `unsafe` of kiln.
//!
//! Each function is one call with its arguments made safe; decisions belong to the callers. All of them are meant for
//! the single-threaded processes of the sandbox.
#![allow(unsafe_code, reason = "the one door to calls that have no safe wrapper")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Which side of a fork this is.
pub(super) enum Side {
    /// The new process.
    Child,
    /// The old process, and who its child is.
    Parent(Pid),
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Splits the process in two. Only for processes with one thread: the child continues with ordinary code.
pub(super) fn fork() -> io::Result<Side> {
    // SAFETY: the callers have one thread, so no lock can be left held in the child.
    let pid = check(i64::from(unsafe { libc::fork() }))?;
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(Pid::from_raw(pid).map_or(Side::Child, Side::Parent))
}

/// Leaves the namespaces named by `flags`; never used with shared descriptor tables.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: the descriptor table is not unshared, which is the only hazard that the call names.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Ends the process at once, without running what others registered for its end.
pub(super) fn exit_now(code: u8) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Attributes of a mount, as `mount_setattr` knows them.
pub(super) const MOUNT_RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// See [`MOUNT_RDONLY`].
pub(super) const MOUNT_NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// See [`MOUNT_RDONLY`].
pub(super) const MOUNT_NODEV: u64 = libc::MOUNT_ATTR_NODEV;
/// See [`MOUNT_RDONLY`].
pub(super) const MOUNT_NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Adds attributes to the mount that `mount` refers to, and to all mounts beneath it.
pub(super) fn restrict_mount(mount: impl AsFd, attributes: u64) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is a terminated string and `attr` outlives the call with its true size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Closes every descriptor but the standard three. Only at the very start of a process, before it owns any.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: called before this process has made any descriptor of its own, so nothing owned is closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) })?;
    Ok(())
}

/// Makes descriptor `number`, one of the standard three, refer to what `file` refers to.
pub(super) fn replace_standard(file: impl AsFd, number: i32) -> io::Result<()> {
    debug_assert!((0..3).contains(&number));
    // SAFETY: the standard descriptors are never owned by an `OwnedFd` here.
    check(i64::from(unsafe { libc::dup2(file.as_fd().as_raw_fd(), number) }))?;
    Ok(())
}

/// The signals that the sandbox's processes take by waiting instead of by handlers.
const WAITED: [i32; 9] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGHUP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
];

fn waited_set() -> libc::sigset_t {
    // SAFETY: a zeroed set is a valid argument for `sigemptyset`, and every number is a signal's.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in WAITED {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// Keeps the waited signals pending until they are asked for.
pub(super) fn block_signals() -> io::Result<()> {
    let set = waited_set();
    // SAFETY: `set` is initialised and the old mask is not wanted.
    check(i64::from(unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())
    }))?;
    Ok(())
}

/// Gives all signals their default action and blocks none: what a new program expects.
pub(super) fn reset_signals() -> io::Result<()> {
    // The kernel's own structure, all zero: the default action, no flags, an empty mask. The C library's function
    // refuses the two signals that it keeps for itself, and its spawn leaves those ignored.
    let default_action = [0_u64; 4];
    // SAFETY: default actions run no code of this process; signals that refuse are left as they are.
    unsafe {
        for signal in 1..=64 {
            let none = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default_action.as_ptr(), none, 8);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(i64::from(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut())))?;
    }
    Ok(())
}

/// A signal that arrived.
pub(super) struct Arrived {
    /// Its number.
    pub(super) number: i32,
    /// Whether a process sent it, as opposed to the kernel (a terminal sends to the whole group by itself).
    pub(super) from_process: bool,
}

/// Waits for one of the blocked signals.
pub(super) fn next_signal() -> io::Result<Arrived> {
    let set = waited_set();
    // SAFETY: both pointers are to initialised values of the right type.
    let (number, code) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let number = libc::sigwaitinfo(&raw const set, &raw mut info);
        (number, info.si_code)
    };
    check(i64::from(number))?;
    Ok(Arrived { number, from_process: code <= 0 })
}

/// A descriptor that becomes readable when a blocked signal arrives.
pub(super) fn signal_descriptor() -> io::Result<OwnedFd> {
    let set = waited_set();
    // SAFETY: `set` is initialised; the new descriptor is owned by nobody else.
    unsafe {
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(i64::from(fd))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Reads the next signal from a [`signal_descriptor`], if one is there.
pub(super) fn read_signal(from: &OwnedFd) -> Option<Arrived> {
    let mut bytes = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let read = rustix::io::read(from, &mut bytes).ok()?;
    if read != bytes.len() {
        return None;
    }
    let word = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at..at + 4]);
        i32::from_ne_bytes(word)
    };
    // The first three words are the number, an unused errno, and the code.
    Some(Arrived { number: word(0), from_process: word(8) <= 0 })
}

/// Sends a signal to a process of this namespace; one that is gone is no error.
pub(super) fn send_signal(to: Pid, signal: i32) {
    // SAFETY: `kill` has no memory preconditions.
    unsafe { libc::kill(to.as_raw_nonzero().get(), signal) };
}

/// Leaves the session keyring of the caller for a new, empty one. A kernel without keyrings has none to leave,
/// and the filter of a container that refuses this refuses it to the command as well, as it does all use of keyrings.
pub(super) fn join_new_keyring() -> io::Result<()> {
    const JOIN_SESSION: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result = unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION, ptr::null::<libc::c_char>(), 0, 0, 0)
    };
    match check(result) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Installs a filter for this thread and all that it becomes.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions and writes none of them.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(0_u8),
            &raw const program,
        )
    })?;
    Ok(())
}

/// Becomes another program; returns only if that failed.
pub(super) fn execute(path: &CString, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: all three are terminated and outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Brings up the loopback device of this network namespace.
pub(super) fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: the request is a zeroed `ifreq` with a short name, which outlives both calls; the socket is owned
    // by nobody else.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        check(i64::from(fd))?;
        let socket = OwnedFd::from_raw_fd(fd);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l'.cast_signed() as libc::c_char;
        request.ifr_name[1] = b'o'.cast_signed() as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(i64::from(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)))?;
    }
    Ok(())
}

/// Sets a limit of this process.
pub(super) fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call and the old one is not wanted.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            ptr::null_mut::<libc::rlimit64>(),
        )
    })?;
    Ok(())
}
