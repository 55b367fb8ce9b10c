//! A network of one's own with a way out: pasta or slirp4netns, programs that carry the traffic of a network namespace
//! over ordinary sockets.
//!
//! The keeper starts one of them outside and only then leaves for a new network, which pid 1 inherits. The namespace is
//! handed over as the program's standard input, because pasta gives up the right to open another process's. The
//! program dies with the keeper, however that ends.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, memfd_create, openat};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process,
    set_parent_process_death_signal, setsid, waitid, waitpid,
};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::sys;
use super::userns::find_program;
use super::wire::{Failure, Result, refused};

/// A program that gives a network namespace a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gateway {
    /// pasta, of the package passt.
    Pasta,
    /// slirp4netns
    Slirp4netns,
}

/// No program is there that could connect a network.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("a private network needs {0}, which is not on this machine")]
pub struct GatewayMissing(&'static str);

impl GatewayMissing {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        let hint = "`apt install passt` or `apt install slirp4netns` (Fedora: dnf), or use --network=host or none";
        Some(hint.to_owned())
    }
}

/// How long a program may take to connect a network.
const LONGEST: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// Where pasta takes questions about names, to pass them to the host's first server; nobody's address.
const PASTA_NAMES: &str = "169.254.1.1";
/// The namespace, as the program is to open it.
const NAMESPACE: &str = "/proc/self/fd/0";

impl Gateway {
    /// Returns those that are on this machine, the preferred one first.
    pub fn available() -> Vec<(Self, PathBuf)> {
        let all = [Self::Pasta, Self::Slirp4netns];
        all.into_iter().filter_map(|it| Some((it, find_program(it.name())?))).collect()
    }

    /// Returns the one that is wanted, or any, if it is on this machine.
    pub fn find(wanted: Option<Self>) -> std::result::Result<Self, GatewayMissing> {
        let mut available = Self::available().into_iter().map(|(gateway, _)| gateway);
        let name = wanted.map_or("pasta or slirp4netns", Self::name);
        available.find(|it| wanted.is_none_or(|wanted| wanted == *it)).ok_or(GatewayMissing(name))
    }

    /// What the program is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    /// The server of names inside.
    pub(super) fn name_server(self) -> &'static str {
        match self {
            Self::Pasta => PASTA_NAMES,
            Self::Slirp4netns => "10.0.2.3",
        }
    }

    /// Nothing of the host's loopback is to be reached, and nothing inside from outside.
    fn arguments(self) -> Vec<&'static str> {
        match self {
            // As root it would become nobody, who may not enter the namespace.
            Self::Pasta => vec![
                "pasta",
                "--config-net",
                "--foreground",
                "--quiet",
                "--runas",
                "0",
                "--no-map-gw",
                "--tcp-ports",
                "none",
                "--udp-ports",
                "none",
                "--tcp-ns",
                "none",
                "--udp-ns",
                "none",
                "--dns-forward",
                PASTA_NAMES,
                "--netns",
                NAMESPACE,
            ],
            Self::Slirp4netns => vec![
                "slirp4netns",
                "--configure",
                "--mtu=65520",
                "--disable-host-loopback",
                "--enable-sandbox",
                "--enable-seccomp",
                "--netns-type=path",
                NAMESPACE,
                "tap0",
            ],
        }
    }
}

/// A program that carries traffic. Dropping it ends it.
pub(super) struct Connection {
    gateway: Gateway,
    program: Pid,
    /// What it writes on standard error.
    said: File,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = kill_process(self.program, Signal::KILL);
        let _ = waitpid(Some(self.program), WaitOptions::empty());
    }
}

/// Leaves this process's network for a new one, and waits until that is connected. `socket` becomes readable when the
/// sandbox is to end.
pub(super) fn connect(gateway: Gateway, socket: &UnixStream) -> Result<Connection> {
    let path = find_program(gateway.name())
        .ok_or_else(|| Failure::Invalid(GatewayMissing(gateway.name()).to_string()))?;
    let start = || -> io::Result<Connection> {
        let said = File::from(memfd_create("kiln-gateway", MemfdFlags::CLOEXEC)?);
        let (waiting, go) = pipe_with(PipeFlags::CLOEXEC)?;
        let keeper = getpid();
        match sys::fork()? {
            sys::Side::Child => {
                drop(go);
                let error = become_program(gateway, (&path, keeper), (&waiting, &said));
                let _ = io::Write::write_all(&mut &said, format!("{error}\n").as_bytes());
                sys::exit_now(127)
            }
            sys::Side::Parent(program) => {
                let connection = Connection { gateway, program, said };
                drop(waiting);
                sys::unshare(UnshareFlags::NEWNET)?;
                sys::bring_loopback_up()?;
                drop(go);
                Ok(connection)
            }
        }
    };
    let name = gateway.name();
    let mut connection =
        start().map_err(refused(|| format!("start {name} for a private network")))?;
    connection.wait(socket)?;
    Ok(connection)
}

/// Waits for the namespace, which the end of the pipe tells, and becomes the program; returns why it did not.
fn become_program(
    gateway: Gateway,
    (path, keeper): (&Path, Pid),
    (waiting, said): (&OwnedFd, &File),
) -> io::Error {
    let prepare = || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Keys pressed in kiln's terminal are for the command.
        setsid()?;
        rustix::io::read(waiting, &mut [0])?;
        let namespace = format!("/proc/{}/ns/net", keeper.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        sys::replace_standard(openat(CWD, namespace, flags, Mode::empty())?, 0)?;
        let null = openat(CWD, "/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        sys::replace_standard(null, 1)?;
        sys::replace_standard(said, 2)?;
        sys::reset_signals()
    };
    if let Err(error) = prepare() {
        return error;
    }
    let terminated = |text: &[u8]| CString::new(text).unwrap_or_default();
    let args: Vec<CString> =
        gateway.arguments().into_iter().map(|text| terminated(text.as_bytes())).collect();
    sys::execute(&terminated(path.as_os_str().as_bytes()), &args, &[])
}

impl Connection {
    /// Waits until there is a way out.
    fn wait(&mut self, socket: &UnixStream) -> Result<()> {
        let begun = Instant::now();
        let name = self.gateway.name();
        let fail = |why: &str| {
            Err(Failure::Invalid(format!("cannot make a private network: {name}: {why}")))
        };
        loop {
            if has_way_out("/proc/self/net") {
                return Ok(());
            }
            // It stays a process until this is dropped: its number must not be another's by then.
            let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            let ended = waitid(WaitId::Pid(self.program), how);
            if !matches!(ended, Ok(None)) {
                return fail(&self.last_words());
            }
            if begun.elapsed() > LONGEST {
                return fail("it takes too long");
            }
            let mut asked = [PollFd::new(socket, PollFlags::IN)];
            if poll(&mut asked, Some(&GLANCE)).is_ok_and(|ready| ready > 0) {
                return fail("the command was canceled");
            }
        }
    }

    /// The last line that the program wrote of its own trouble.
    fn last_words(&mut self) -> String {
        let mut text = String::new();
        let _ = self.said.rewind().and_then(|()| self.said.read_to_string(&mut text));
        // pasta's trouble with the log is not the user's.
        let of_its_own =
            |line: &&str| !line.trim().is_empty() && !line.starts_with("Failed to send ");
        let lines: Vec<&str> = text.lines().filter(of_its_own).collect();
        let last = lines.iter().rev().find(|line| !line.starts_with("child failed")).copied();
        last.unwrap_or("it ended without a word").trim().to_owned()
    }
}

/// Whether a network has a default route over something other than the loopback device.
fn has_way_out(folder: &str) -> bool {
    let read = |name| fs::read_to_string(Path::new(folder).join(name)).unwrap_or_default();
    let four = read("route").lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"));
    let six = read("ipv6_route").lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.first().is_some_and(|to| to.bytes().all(|digit| digit == b'0'))
            && words.get(1) == Some(&"00")
            && words.last().is_some_and(|device| *device != "lo")
    });
    four || six
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_a_default_route() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let with = |four: &str, six: &str| {
            fs::write(folder.path().join("route"), four).unwrap();
            fs::write(folder.path().join("ipv6_route"), six).unwrap();
            has_way_out(path)
        };
        let zero = "0".repeat(32);
        let lonely = format!("{zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\n");
        assert!(!with("Iface\tDestination\n", &lonely));
        assert!(!with("Iface\tDestination\neth0\t0000A8C0\n", ""));
        assert!(with("Iface\tDestination\ntap0\t00000000\t0202000A\n", &lonely));
        let way = format!("{zero} 00 {zero} 00 fd{} 400 1 0 3 eth0\n", &zero[2..]);
        assert!(with("", &way));
    }

    #[test]
    fn one_that_is_missing_says_what_to_install() {
        let missing = GatewayMissing("pasta");
        assert_eq!(
            missing.to_string(),
            "a private network needs pasta, which is not on this machine"
        );
        assert!(missing.hint().unwrap().contains("apt install passt"));
    }
}
