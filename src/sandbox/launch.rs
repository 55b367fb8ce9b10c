//! kiln's side of a sandbox: starts the keeper, passes output on, and asks it to stop.
//!
//! Only `std`'s process spawning is used here, because kiln has threads. The keeper holds the other end of one socket:
//! order and report travel over it, and closing it is the request to end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio, retry_on_intr};

use super::cgroup::{Group, kills_in};
use super::program::Program;
use super::ready::Ready;
use super::socket::StandIns;
use super::spec::Spec;
use super::wire::{Failure, OrderRef, Report, Setting, send_descriptor};
use super::{Ended, Error, Exit, Io, Sandbox, userns};
use crate::event::{Cancel, Stream};

/// How often a running command is interrupted to see whether it was canceled.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Sandboxes of the kernel's making.
#[derive(Debug)]
pub struct Namespaces {
    program: Program,
    scratch: PathBuf,
    ready: Ready,
}

impl Namespaces {
    /// Uses `init_program`, a kiln binary, for the processes that make sandboxes. What a run needs on disk besides its
    /// root is made in the directory `scratch`, and is garbage if kiln is killed.
    pub fn new(init_program: PathBuf, scratch: PathBuf) -> Self {
        Self { program: Program::new(init_program), scratch, ready: Ready::default() }
    }

    fn start(&self, piped: bool) -> Result<Keeper, Error> {
        let (socket, theirs) = UnixStream::pair().map_err(talking)?;
        let mut command = Command::new(self.program.executable());
        command.arg0("kiln").arg("sandbox-init").env_clear().stdin(OwnedFd::from(theirs));
        if piped {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let child = command.spawn().map_err(|source| {
            let program = self.program.path().to_owned();
            Error::Start { program, source }
        })?;
        Ok(Keeper { child, socket })
    }
}

impl Sandbox for Namespaces {
    fn expect(&self, commands: usize) {
        self.ready.expect(commands);
    }

    fn run(&self, spec: &Spec, io: Io<'_>, cancel: &Cancel) -> Result<(Ended, Remains), Error> {
        if cancel.is_canceled() {
            return Err(Error::Canceled);
        }
        userns::check()?;
        let setting = Setting {
            foreground: matches!(io, Io::Inherit),
            user_namespace: userns::is_inside(),
            scope: userns::scope(),
        };
        let group = Group::make(&spec.limits)?;
        let (spec, stand_ins) = StandIns::of(spec, &self.scratch)?;
        let piped = !setting.foreground;
        let mut keeper = match self.ready.take().filter(|_| piped) {
            Some(keeper) => keeper,
            None => self.start(piped)?,
        };
        let kills = memory_kills();
        let mut said = Vec::new();
        match keeper.send(OrderRef { spec: &spec, setting, groups: group.directories() }).and_then(
            |()| {
                self.ready.prepare(|| self.start(true));
                keeper.follow(io, cancel)
            },
        ) {
            Ok(report) => said = report,
            // It ended early; its status tells more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => return Err(talking(error)),
        }
        let report = serde_json::from_slice(&said);
        let mut parts = Parts { keeper, _group: group, _stand_ins: stand_ins };
        if cancel.is_canceled() {
            return Err(Error::Canceled);
        }
        match report {
            Ok(Report::Exited(mut ended)) => {
                if let Exit::Signal { number, out_of_memory } = &mut ended.exit {
                    *out_of_memory |= *number == libc::SIGKILL && memory_kills() > kills;
                }
                Ok((ended, Remains { _parts: Some(parts) }))
            }
            Ok(Report::Failed(failure)) => Err(failure.into()),
            Ok(Report::Vanished) => {
                Err(Error::Lost { status: "its first process was killed".to_owned() })
            }
            Err(_) => {
                let status = parts.keeper.child.wait().map_err(talking)?;
                Err(Error::Lost { status: status.to_string() })
            }
        }
    }
}

/// What is still there of a sandbox whose command has ended: a process of kiln's own, and mounts. Dropping it waits until
/// the kernel has taken them down; until then no directory of the root may become part of another one.
#[derive(Debug, Default)]
pub struct Remains {
    _parts: Option<Parts>,
}

/// In the order in which they go.
#[derive(Debug)]
struct Parts {
    keeper: Keeper,
    _group: Group,
    _stand_ins: StandIns,
}

/// A running keeper. Dropping it ends the sandbox.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    socket: UnixStream,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Only a panic or an error leaves something to end: otherwise it is about to, or has been waited for.
        let _ = self.socket.shutdown(Shutdown::Both);
        let _ = self.child.wait();
    }
}

impl Keeper {
    /// Whether its process runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn send(&mut self, order: OrderRef<'_>) -> io::Result<()> {
        let bytes = serde_json::to_vec(&order)?;
        let length = (bytes.len() as u64).to_le_bytes();
        let stdin = io::stdin();
        let shared = order.setting.foreground.then(|| stdin.as_fd());
        send_descriptor(&self.socket, &length, shared)?;
        self.socket.write_all(&bytes)
    }

    /// Passes output on until the keeper has reported, or is gone; returns what it reported.
    fn follow(&mut self, io: Io<'_>, cancel: &Cancel) -> io::Result<Vec<u8>> {
        let mut nothing = |_: Stream, _: &[u8]| {};
        let sink = match io {
            Io::Inherit => &mut nothing,
            Io::Piped(sink) => sink,
        };
        let mut outputs = self.outputs()?;
        let mut said = Vec::new();
        let mut asked = false;
        loop {
            if !asked && cancel.is_canceled() {
                asked = true;
                self.socket.shutdown(Shutdown::Write)?;
            }
            let ready = self.wait_for_any(&outputs)?;
            let mut open = Vec::with_capacity(outputs.len());
            for (mut output, ready) in outputs.into_iter().zip(&ready[1..]) {
                if !ready || output.pass_on(sink)? {
                    open.push(output);
                }
            }
            outputs = open;
            if ready[0] && read_some(&mut self.socket, &mut said)? == 0 {
                break;
            }
        }
        // The keeper keeps the pipes open, and so may a process outside to which a command has given them: only what is there.
        for output in &mut outputs {
            while output.pass_on(sink)? && output.is_ready()? {}
        }
        Ok(said)
    }

    fn outputs(&mut self) -> io::Result<Vec<Output>> {
        let stdout = self.child.stdout.take().map(|pipe| (Stream::Stdout, OwnedFd::from(pipe)));
        let stderr = self.child.stderr.take().map(|pipe| (Stream::Stderr, OwnedFd::from(pipe)));
        let open = |(stream, pipe): (Stream, OwnedFd)| {
            ioctl_fionbio(&pipe, true)?;
            Ok(Output { stream, pipe, buffer: vec![0; 64 << 10] })
        };
        stdout.into_iter().chain(stderr).map(open).collect()
    }

    /// Waits a moment; returns whether there is something to read, first for the socket, then for each output.
    fn wait_for_any(&self, outputs: &[Output]) -> io::Result<Vec<bool>> {
        let mut fds = vec![PollFd::new(&self.socket, PollFlags::IN)];
        fds.extend(outputs.iter().map(|output| PollFd::new(&output.pipe, PollFlags::IN)));
        match poll(&mut fds, Some(&GLANCE)) {
            Err(Errno::INTR) => Ok(vec![false; fds.len()]),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(fds.iter().map(|fd| !fd.revents().is_empty()).collect()),
        }
    }
}

/// One of a command's two outputs.
struct Output {
    stream: Stream,
    pipe: OwnedFd,
    buffer: Vec<u8>,
}

impl Output {
    /// Passes one piece on; returns whether more may come.
    fn pass_on(&mut self, sink: &mut dyn FnMut(Stream, &[u8])) -> io::Result<bool> {
        match rustix::io::read(&self.pipe, &mut self.buffer[..]) {
            Ok(0) => Ok(false),
            Ok(read) => {
                sink(self.stream, &self.buffer[..read]);
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn is_ready(&self) -> io::Result<bool> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut fds, Some(&now)))? > 0
            && fds[0].revents().contains(PollFlags::IN))
    }
}

fn read_some(socket: &mut UnixStream, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    match socket.read(&mut buffer) {
        Ok(read) => {
            into.extend_from_slice(&buffer[..read]);
            Ok(read)
        }
        // The keeper ended without reading all of its order.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        Err(error) => Err(error),
    }
}

fn talking(source: io::Error) -> Error {
    Error::Setup { operation: "talk to the sandbox process".to_owned(), source }
}

/// How many processes this machine has killed for lack of memory.
fn memory_kills() -> u64 {
    kills_in(&std::fs::read_to_string("/proc/vmstat").unwrap_or_default())
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { operation, errno } => {
                Error::Setup { operation, source: io::Error::from_raw_os_error(errno) }
            }
            Failure::Source { target, path, errno } => {
                Error::Source { target, path, source: io::Error::from_raw_os_error(errno) }
            }
            Failure::Invalid(message) => Error::Invalid(message),
            Failure::Unmapped(who) => Error::Unmapped { who },
            Failure::StillWritten => Error::StillWritten,
        }
    }
}
