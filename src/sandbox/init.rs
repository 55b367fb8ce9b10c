//! What `kiln sandbox-init` does: the keeper outside of the namespaces and pid 1 inside.
//!
//! The keeper gets its order through the socket that is its standard input, forks pid 1 and waits, in the host's mount
//! namespace. It ends everything when kiln asks or dies: both close the socket. Pid 1 tells how the command ended once
//! every other process is gone and the root is closed to writing; the keeper then removes what was made in the root, and
//! reports. It ends when pid 1 is gone, and with it every mount: what the kernel does for that, a moment for every file
//! that the command has made, it does while kiln reads them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group,
    set_dumpable_behavior, set_parent_process_death_signal, setsid, umask, wait, waitpid,
};
use rustix::thread::UnshareFlags;

use super::exec::{Prepared, become_command, for_user, prepare};
use super::gateway::Connection;
use super::mount::{Mounter, nodev};
use super::root::{Workbench, Writable, change_root, copy_of, make_private, open_directory};
use super::spec::{Network, Root, Security, Spec};
use super::supervise::Supervisor;
use super::target::{CopiedUp, Stub, Targets, remove_made};
use super::wire::{
    Failure, Note, Order, Report, Result, Scope, Setting, Told, receive_descriptor, refused, send,
};
use super::{Ended, Exit, cgroup, dev, gateway, kernel, sys};

/// Is `kiln sandbox-init`: to be called first thing in `main`, before there is a thread. Returns the exit code.
pub fn init_main() -> u8 {
    // A message in the command's output would help nobody; kiln reports that the process ended.
    std::panic::set_hook(Box::new(|_| {}));
    match start() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn start() -> io::Result<()> {
    sys::close_inherited()?;
    // The file that was executed has no name.
    rustix::thread::set_name(c"kiln")?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let (order, stdin) = receive(&mut socket)?;
    let (report, remains) = match keep(order, stdin, &socket) {
        Ok((report, remains)) => (report, Some(remains)),
        Err(failure) => (Report::Failed(failure), None),
    };
    // In one piece: kiln wakes up for each.
    let bytes = serde_json::to_vec(&report)?;
    let reported = socket.write_all(&bytes).and_then(|()| socket.shutdown(Shutdown::Write));
    remains.map_or(Ok(()), Remains::clear)?;
    reported
}

fn receive(socket: &mut UnixStream) -> io::Result<(Order, Option<OwnedFd>)> {
    let mut length = [0; 8];
    let stdin = receive_descriptor(socket, &mut length)?;
    let length = usize::try_from(u64::from_le_bytes(length)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok((serde_json::from_slice(&bytes)?, stdin))
}

/// What is still there of a sandbox when the keeper reports.
struct Remains {
    /// Pid 1, unless it has been waited for.
    first: Option<Pid>,
    groups: Vec<PathBuf>,
    _connection: Option<Connection>,
}

impl Remains {
    /// Waits until nothing of it is there.
    fn clear(self) -> io::Result<()> {
        if let Some(first) = self.first {
            waitpid(Some(first), WaitOptions::empty())?;
        }
        cgroup::remove(&self.groups);
        Ok(())
    }
}

fn keep(order: Order, stdin: Option<OwnedFd>, socket: &UnixStream) -> Result<(Report, Remains)> {
    // Until the end, and from before there is a pid namespace, of which it would be the first process.
    let connection = match order.spec.network {
        Network::Private(gateway) => Some(gateway::connect(gateway, socket)?),
        Network::Host | Network::None => None,
    };
    let begin = || -> io::Result<(OwnedFd, OwnedFd, OwnedFd)> {
        let stdin = match stdin {
            Some(fd) => fd,
            None => openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?,
        };
        sys::replace_standard(&stdin, 0)?;
        umask(Mode::empty());
        if !order.setting.foreground {
            // Keys pressed in kiln's terminal are for kiln.
            setsid()?;
        }
        sys::block_signals()?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        sys::unshare(UnshareFlags::NEWPID)?;
        Ok((read, write, sys::signal_descriptor()?))
    };
    let (read, write, signals) = begin().map_err(refused(|| "make a pid namespace".to_owned()))?;
    match sys::fork().map_err(refused(|| "start the first process".to_owned()))? {
        sys::Side::Child => be_first(&order, File::from(write)),
        sys::Side::Parent(first) => {
            drop(write);
            let told = attend(first, &mut File::from(read), socket, &signals)
                .map_err(refused(|| "wait for the first process".to_owned()))?;
            let first = told.exited.is_some().then_some(first);
            let report = conclude(&order.spec, told).unwrap_or_else(Report::Failed);
            let report = blame_memory(report, cgroup::memory_kills(&order.groups));
            Ok((report, Remains { first, groups: order.groups, _connection: connection }))
        }
    }
}

/// Waits until pid 1 has told all that it has to tell: how the command ended, or nothing of that, and it is gone.
fn attend(
    first: Pid,
    notes: &mut File,
    socket: &UnixStream,
    signals: &OwnedFd,
) -> io::Result<Told> {
    let mut told = Told::default();
    let mut watched = true;
    loop {
        let mut fds = [
            PollFd::new(&*notes, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(socket, PollFlags::IN),
        ];
        let count = if watched { 3 } else { 2 };
        match poll(&mut fds[..count], None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let [noted, signaled, asked] = fds.map(|fd| !fd.revents().is_empty());
        if watched && asked {
            watched = false;
            let _ = kill_process(first, Signal::KILL);
        }
        if signaled
            && let Some(signal) = sys::read_signal(signals)
            && signal.from_process
        {
            sys::send_signal(first, signal.number);
        }
        if noted {
            let mut buffer = [0; 4096];
            match notes.read(&mut buffer)? {
                0 => break,
                read => told.read(&buffer[..read]),
            }
        }
    }
    if told.exited.is_none() {
        waitpid(Some(first), WaitOptions::empty())?;
    }
    Ok(told)
}

fn conclude(spec: &Spec, told: Told) -> Result<Report> {
    remove_made(changes(spec), &told.made, &told.copied_up)?;
    Ok(match (told.failed, told.exited) {
        (Some(failure), _) => Report::Failed(failure),
        (None, Some(exit)) => {
            Report::Exited(Ended { exit, owned: told.owned.into_values().collect() })
        }
        (None, None) => Report::Vanished,
    })
}

/// What ended a command, or the namespace, when its memory was used up: a shell tells that a command of its was killed
/// by a code.
fn blame_memory(report: Report, memory_kills: u64) -> Report {
    const KILLED: u8 = 128 + libc::SIGKILL as u8;
    let killed = Exit::Signal { number: libc::SIGKILL, out_of_memory: true };
    match report {
        Report::Exited(Ended {
            exit: Exit::Code(KILLED) | Exit::Signal { number: libc::SIGKILL, .. },
            ..
        })
        | Report::Vanished
            if memory_kills > 0 =>
        {
            Report::Exited(Ended { exit: killed, owned: Vec::new() })
        }
        report => report,
    }
}

/// The host's directory in which changes to the root appear.
fn changes(spec: &Spec) -> &Path {
    match &spec.root {
        Root::Overlay { upper, .. } => upper,
        Root::Directory(dir) => dir,
    }
}

fn be_first(order: &Order, mut notes: File) -> ! {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        cgroup::join(&order.groups).map_err(refused(|| "join the control group".to_owned()))?;
        first(&order.spec, order.setting, &mut notes)
    }));
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Failure::Invalid("the sandbox's first process panicked".to_owned()))
    });
    let note = match outcome {
        Ok(exit) => Note::Exited(exit),
        Err(failure) => Note::Failed(failure),
    };
    let sent = send(&mut notes, &note);
    // The keeper reports now: whatever the notes say, it does not before the root is closed to writing.
    drop(notes);
    // This ends every process of the namespace and unmounts everything.
    sys::exit_now(u8::from(sent.is_err()))
}

fn first(spec: &Spec, setting: Setting, notes: &mut File) -> Result<Exit> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(refused(|| "tie the first process to the keeper".to_owned()))?;
    let mut apart =
        UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    if spec.network == Network::None {
        apart |= UnshareFlags::NEWNET;
    }
    sys::unshare(apart).map_err(refused(|| "make namespaces".to_owned()))?;
    if spec.network == Network::None {
        sys::bring_loopback_up().map_err(refused(|| "bring the loopback device up".to_owned()))?;
    }
    let noted = |error: io::Error| refused::<io::Error>(|| "note a mount point".to_owned())(error);
    let (root, upper, stubs, copied_up) = furnish(spec, setting)?;
    for stub in stubs {
        send(notes, &Note::Made(stub)).map_err(noted)?;
    }
    for dir in copied_up {
        send(notes, &Note::CopiedUp(dir)).map_err(noted)?;
    }
    change_root(&root)?;
    drop(root);
    match rustix::system::sethostname(spec.hostname.as_bytes()) {
        // podman's filter knows no user namespaces: the container's name stays.
        Err(Errno::PERM) if setting.user_namespace => {}
        set => set.map_err(refused(|| format!("set the host name `{}`", spec.hostname)))?,
    }
    let setting = for_user(setting, &spec.process.user);
    let command = prepare(spec, setting)?;
    let supervisor = supervisor(spec, setting, upper, notes)?;
    // Keeps kiln's memory and its program file out of the command's reach.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(refused(|| "protect the first process".to_owned()))?;
    run(&command, supervisor, notes)
}

/// Prepares what does the kernel's part where the kernel cannot.
fn supervisor(
    spec: &Spec,
    setting: Setting,
    upper: Option<OwnedFd>,
    notes: &File,
) -> Result<Option<Supervisor>> {
    if setting.scope == Scope::Nothing {
        return Ok(None);
    }
    let below = spec.owned_below.iter().map(|(path, uid, gid)| (path.clone(), (*uid, *gid)));
    let below: HashMap<_, _> = below.collect();
    let made = notes
        .try_clone()
        .and_then(|notes| Supervisor::new(setting.scope, &spec.process.user, below, upper, notes));
    made.map(Some).map_err(refused(|| "prepare the supervisor".to_owned()))
}

/// Makes the new root with everything in it.
fn furnish(spec: &Spec, setting: Setting) -> Result<Furnished> {
    make_private()?;
    let (mut bench, root, upper) = make_root(spec, setting)?;
    let changes = upper.as_ref().map(|upper| upper.try_clone()).transpose();
    let changes = changes.map_err(refused(|| "look at the new root".to_owned()))?;
    let targets = Targets::new(root, upper);
    let mut targets = targets.map_err(refused(|| "look at the new root".to_owned()))?;
    kernel::mount_proc(&mut targets, setting)?;
    dev::mount_dev(&mut targets, spec, setting)?;
    kernel::mount_sys(&mut targets, spec, setting)?;
    if spec.security == Security::Default {
        kernel::restrict(&targets, &mut bench)?;
    }
    let mut mounter = Mounter::new(&mut targets, &mut bench, spec.security);
    mounter.network_files(spec)?;
    for mount in &spec.mounts {
        mounter.mount(mount)?;
    }
    let (root, stubs, copied_up) =
        targets.finish().map_err(refused(|| "look at the mount points".to_owned()))?;
    Ok((root, changes, stubs, copied_up))
}

/// The new root, where changes to it appear if that is elsewhere, and what has to be removed later.
type Furnished = (OwnedFd, Option<OwnedFd>, Vec<Stub>, Vec<CopiedUp>);

fn make_root(spec: &Spec, setting: Setting) -> Result<(Workbench, OwnedFd, Option<OwnedFd>)> {
    let attributes: MountAttrFlags = nodev(spec.security);
    match &spec.root {
        Root::Overlay { lower, upper, work } if !lower.is_empty() => {
            let writable = Writable::open(upper, work)?;
            let mut bench = Workbench::new(&writable.upper, setting.user_namespace)?;
            let root = bench.stack(lower, Some(&writable), attributes)?;
            Ok((bench, root, Some(writable.upper)))
        }
        Root::Overlay { upper: dir, .. } | Root::Directory(dir) => {
            let dir = open_directory(dir)?;
            let root = copy_of(&dir, attributes)?;
            let mut bench = Workbench::new(&dir, setting.user_namespace)?;
            bench.put(&root)?;
            Ok((bench, root, None))
        }
    }
}

fn run(command: &Prepared<'_>, supervisor: Option<Supervisor>, notes: &mut File) -> Result<Exit> {
    umask(Mode::from_raw_mode(0o022));
    let door = supervisor.map(supervise).transpose();
    let door = door.map_err(refused(|| "start the supervisor".to_owned()))?;
    match sys::fork().map_err(refused(|| "start the command".to_owned()))? {
        sys::Side::Child => {
            let failure = become_command(command, door);
            let sent = send(notes, &Note::Failed(failure));
            sys::exit_now(u8::from(sent.is_err()))
        }
        sys::Side::Parent(child) => {
            drop(door);
            let exit = reap(child).map_err(refused(|| "wait for the command".to_owned()))?;
            seal()?;
            Ok(exit)
        }
    }
}

/// Starts the supervisor; returns how it is given what it supervises. Who kills it has calls refused (ENOSYS) from then on.
fn supervise(supervisor: Supervisor) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    match sys::fork()? {
        sys::Side::Child => {
            drop(ours);
            let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                supervisor.serve(&theirs)
            }));
            sys::exit_now(u8::from(!matches!(served, Ok(Ok(())))))
        }
        sys::Side::Parent(_) => Ok(ours),
    }
}

/// Ends what is left and closes the root to writing: descriptors may have been sent to processes outside, through a
/// socket in a cache or of the host's network, and kiln is about to read what the command has made and to keep it.
fn seal() -> Result<()> {
    let fail = || "end what the command has left".to_owned();
    // -1 is everything that this process can see, but itself.
    match kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => return Err(refused(fail)(error)),
    }
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => break,
            Err(error) => return Err(refused(fail)(error)),
        }
    }
    let root = open_directory(Path::new("/"))?;
    sys::close_mount(&root).map_err(|error| match error.raw_os_error() {
        Some(libc::EBUSY) => Failure::StillWritten,
        _ => refused::<io::Error>(|| "close the root to writing".to_owned())(error),
    })
}

/// Waits for everything, passes signals on, and returns how the command ended.
fn reap(command: Pid) -> io::Result<Exit> {
    loop {
        while let Some((pid, status)) = wait(WaitOptions::NOHANG)? {
            if pid == command
                && let Some(exit) = exit_of(status)
            {
                return Ok(exit);
            }
        }
        let signal = sys::next_signal()?;
        if signal.from_process && signal.number != libc::SIGCHLD {
            sys::send_signal(command, signal.number);
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    let signal = || {
        let number = status.terminating_signal()?;
        Some(Exit::Signal { number, out_of_memory: false })
    };
    match status.exit_status() {
        Some(code) => u8::try_from(code).ok().map(Exit::Code),
        None => signal(),
    }
}
