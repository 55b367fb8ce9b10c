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

/// Long lists have pages of their own from so many bytes on.
#[cfg(target_env = "gnu")]
const LONG: std::ffi::c_int = 1 << 20;

/// Makes all threads take memory from one heap, where the C library has several (mallopt(3)), and long lists give theirs
/// back.
pub(super) fn one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number that no other thread reads yet: the callers have one thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LONG);
    }
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
    set_attributes(mount, attributes, libc::AT_RECURSIVE)
}

/// Makes the mount that `mount` refers to read-only, whoever uses it; fails with EBUSY if a file is open for writing.
pub(super) fn close_mount(mount: impl AsFd) -> io::Result<()> {
    set_attributes(mount, MOUNT_RDONLY, 0)
}

fn set_attributes(mount: impl AsFd, attributes: u64, depth: libc::c_int) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | depth;
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

/// Installs a filter as [`install_filter`] does, and returns where its questions are asked and answered. While one is
/// being answered nothing but a deadly signal reaches who asked.
pub(super) fn install_asking_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    const WAIT_KILLABLE: libc::c_ulong = 1 << 5;
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions and writes none of them; the new descriptor is owned by nobody else.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE,
            &raw const program,
        ))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?))
    }
}

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// Names it when it is answered.
    pub(super) id: u64,
    /// The thread that called, as seen from here.
    pub(super) thread: u32,
    /// Which call, by the number that its architecture has for it.
    pub(super) number: i32,
    /// Its arguments.
    pub(super) args: [u64; 6],
}

/// What a question is answered with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    /// The call returns this.
    Value(i64),
    /// The call fails with this number.
    Errno(i32),
    /// The kernel does as was asked.
    Proceed,
}

fn ask(listener: &OwnedFd, request: libc::c_ulong, argument: *mut libc::c_void) -> io::Result<i32> {
    // SAFETY: each caller passes a value of the type that its request is about, which outlives the call.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), request as _, argument) };
    check(i64::from(result))?;
    Ok(result)
}

/// Lets whoever answers run where the question was asked, which saves half of the way (Linux 6.6).
pub(super) fn answer_nearby(listener: &OwnedFd) -> io::Result<()> {
    const SET_FLAGS: libc::c_ulong = 0x4008_2104;
    // The argument is no pointer but the flag itself: wake up synchronously.
    ask(listener, SET_FLAGS, ptr::without_provenance_mut(1)).map(drop)
}

/// Waits for a question. `None`: who asked is gone, or nobody is left who could ask.
pub(super) fn next_question(listener: &OwnedFd) -> io::Result<Option<Question>> {
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    // SAFETY: the structure is all numbers, for which zeros are valid; the kernel wants zeros.
    let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    match ask(listener, RECEIVE, (&raw mut question).cast()) {
        Ok(_) => Ok(Some(Question {
            id: question.id,
            thread: question.pid,
            number: question.data.nr,
            args: question.data.args,
        })),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether a question still waits: if so, what was read of its thread was that thread's.
pub(super) fn is_waiting(listener: &OwnedFd, id: u64) -> bool {
    const ID_VALID: libc::c_ulong = 0x4008_2102;
    let mut id = id;
    ask(listener, ID_VALID, (&raw mut id).cast()).is_ok()
}

/// Answers a question. Who asked may be gone by now, which is no error.
pub(super) fn reply(listener: &OwnedFd, id: u64, reply: Reply) {
    const SEND: libc::c_ulong = 0xc018_2101;
    const CONTINUE: u32 = 1;
    let (val, error, flags) = match reply {
        Reply::Value(value) => (value, 0, 0),
        Reply::Errno(errno) => (0, -errno, 0),
        Reply::Proceed => (0, 0, CONTINUE),
    };
    let mut answer = libc::seccomp_notif_resp { id, val, error, flags };
    let _ = ask(listener, SEND, (&raw mut answer).cast());
}

/// Answers a question with a descriptor of a file, which the call returns.
pub(super) fn reply_with_file(
    listener: &OwnedFd,
    id: u64,
    file: impl AsFd,
    close_on_exec: bool,
) -> io::Result<()> {
    const ADD: libc::c_ulong = 0x4018_2103;
    const AND_SEND: u32 = 2;
    let source = u32::try_from(file.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    let newfd_flags = if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 };
    let mut added =
        libc::seccomp_notif_addfd { id, flags: AND_SEND, srcfd: source, newfd: 0, newfd_flags };
    ask(listener, ADD, (&raw mut added).cast()).map(drop)
}

/// Reads another process's memory; returns how much of `into` could be filled.
pub(super) fn read_memory(of: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let (of, remote) = remote(of, address, into.len())?;
    // SAFETY: the kernel writes at most `into.len()` bytes to `into`; the other address is checked by the kernel.
    let read = unsafe { libc::process_vm_readv(of, &raw const local, 1, &raw const remote, 1, 0) };
    Ok(check(read as i64)?.cast_unsigned() as usize)
}

/// Writes another process's memory, all of `bytes` or nothing that counts.
pub(super) fn write_memory(of: u32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let (of, remote) = remote(of, address, bytes.len())?;
    // SAFETY: the kernel only reads `bytes`; the other address is checked by the kernel.
    let written =
        unsafe { libc::process_vm_writev(of, &raw const local, 1, &raw const remote, 1, 0) };
    match check(written as i64)?.cast_unsigned() as usize == bytes.len() {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EFAULT)),
    }
}

fn remote(of: u32, address: u64, len: usize) -> io::Result<(libc::pid_t, libc::iovec)> {
    let of = i32::try_from(of).map_err(io::Error::other)?;
    let base = ptr::without_provenance_mut(usize::try_from(address).map_err(io::Error::other)?);
    Ok((of, libc::iovec { iov_base: base, iov_len: len }))
}

/// The bytes of the kernel's `struct stat`.
pub(super) const STAT_SIZE: usize = size_of::<libc::stat>();

/// What `fstat` writes.
pub(super) fn stat_bytes(of: impl AsFd) -> io::Result<[u8; STAT_SIZE]> {
    let mut bytes = [0; STAT_SIZE];
    // SAFETY: the kernel writes one `struct stat` to a place that has its size, and cares for no alignment.
    check(unsafe {
        libc::syscall(
            libc::SYS_newfstatat,
            of.as_fd().as_raw_fd(),
            c"".as_ptr(),
            bytes.as_mut_ptr(),
            libc::AT_EMPTY_PATH,
        )
    })?;
    Ok(bytes)
}

/// The bytes of the kernel's `struct statx`.
pub(super) const STATX_SIZE: usize = 256;

/// What `statx` writes.
pub(super) fn statx_bytes(of: impl AsFd, flags: i32, mask: u32) -> io::Result<[u8; STATX_SIZE]> {
    let mut bytes = [0; STATX_SIZE];
    // SAFETY: the kernel writes one `struct statx` to a place that has its size, and cares for no alignment.
    check(unsafe {
        libc::syscall(
            libc::SYS_statx,
            of.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            mask,
            bytes.as_mut_ptr(),
        )
    })?;
    Ok(bytes)
}

/// Returns the process at the other end of a socket; 0: none that has a number here.
pub(super) fn peer_of(socket: impl AsFd) -> io::Result<libc::pid_t> {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `peer`.
    check(i64::from(unsafe {
        let (socket, into) = (socket.as_fd().as_raw_fd(), (&raw mut peer).cast());
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERCRED, into, &raw mut length)
    }))?;
    Ok(peer.pid)
}

/// Returns the soft and the hard limit of a process, this one if it is 0.
pub(super) fn limit_of(process: u32, resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one limit to `limit`.
    check(unsafe {
        let none = ptr::null::<libc::rlimit64>();
        libc::syscall(libc::SYS_prlimit64, process, resource, none, &raw mut limit)
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
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
    set_limit_of(0, resource, soft, hard)
}

/// Sets a limit of a process, this one if it is 0.
pub(super) fn set_limit_of(process: u32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` outlives the call and the old one is not wanted.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            process,
            resource,
            &raw const limit,
            ptr::null_mut::<libc::rlimit64>(),
        )
    })?;
    Ok(())
}
