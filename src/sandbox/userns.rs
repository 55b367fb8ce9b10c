//! Being root without being root: one user namespace for the whole of kiln, entered once at its start.
//!
//! As root nothing happens. As an ordinary user, kiln becomes root of a namespace in which either a range of
//! subordinate ids is mapped (with newuidmap and newgidmap, which read /etc/subuid and /etc/subgid) or, failing that,
//! the user's own id alone. No second execution is needed: a process with one thread can change its own namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Uid, WaitOptions, getgid, getpid, getuid, waitpid};
use rustix::thread::{CapabilitySet, UnshareFlags, set_thread_res_gid, set_thread_res_uid};

use super::wire::Scope;
use super::{Error, sys};

/// Which rights kiln has, and so what a command can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// All of root's.
    Root,
    /// Root of a user namespace with many ids.
    Range,
    /// Root of a user namespace in which only root exists: no other user can be taken or given files.
    Single,
    /// None: there can be no namespace, and so no sandbox. What runs no command works all the same.
    Outside,
}

/// Why there is no namespace: what was being done, and the number of the error.
static REFUSED: OnceLock<(String, i32)> = OnceLock::new();

/// Returns whether [`enter`] was not refused a namespace.
pub fn is_possible() -> bool {
    check().is_ok()
}

/// Fails if [`enter`] was refused a namespace.
pub(super) fn check() -> Result<(), Error> {
    match REFUSED.get() {
        None => Ok(()),
        Some((operation, errno)) => Err(failed(operation, io::Error::from_raw_os_error(*errno))),
    }
}

/// Makes this process root, if need be of a namespace. To be called at the program's start, before there is a thread.
pub fn enter() -> Result<Level, Error> {
    match try_to_enter() {
        Err(Error::UserNamespace { operation, source }) => {
            let errno = source.raw_os_error().unwrap_or(0);
            let _ = REFUSED.set((operation, errno));
            Ok(Level::Outside)
        }
        entered => entered,
    }
}

fn try_to_enter() -> Result<Level, Error> {
    let held = rustix::thread::capabilities(None)
        .map_err(|error| failed("read capabilities", error.into()))?;
    if getuid().is_root() && held.effective.contains(CapabilitySet::SYS_ADMIN) {
        return Ok(if is_inside() { mapped_level() } else { Level::Root });
    }
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    let maker = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
    if uid == 0 && held.effective.contains(maker) {
        // Root of a container, who may give the namespace every id that the container has.
        enter_mapped(map_identically)?;
        return Ok(mapped_level());
    }
    let ranges = subordinate("/etc/subuid", uid).zip(subordinate("/etc/subgid", uid));
    if let Some((uids, gids)) = ranges
        && enter_with_ranges((uid, uids), (gid, gids))?
    {
        return Ok(Level::Range);
    }
    enter_alone(uid, gid)?;
    Ok(Level::Single)
}

/// Whether this process is root of a namespace only.
pub(super) fn is_inside() -> bool {
    static INSIDE: OnceLock<bool> = OnceLock::new();
    *INSIDE.get_or_init(|| {
        let map = fs::read_to_string(UID_MAP).unwrap_or_default();
        !map.split_whitespace().eq(["0", "0", "4294967295"])
    })
}

/// What has to be done in the kernel's place.
pub(super) fn scope() -> Scope {
    static SCOPE: OnceLock<Scope> = OnceLock::new();
    *SCOPE.get_or_init(|| match is_inside().then(mapped_level) {
        None | Some(Level::Root | Level::Outside) => Scope::Nothing,
        Some(Level::Range) => Scope::Beyond,
        Some(Level::Single) => Scope::Everything,
    })
}

/// Which users this process's namespace has.
pub(super) const UID_MAP: &str = "/proc/self/uid_map";
/// Which groups it has.
pub(super) const GID_MAP: &str = "/proc/self/gid_map";

/// Whether an id stands for one of the host.
pub(super) fn is_mapped(map: &str, id: u32) -> bool {
    maps(&fs::read_to_string(map).unwrap_or_default(), id)
}

fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| end_of(line, id).is_some())
}

/// The end of a line's range, if the range has this id.
fn end_of(line: &str, id: u32) -> Option<u32> {
    let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [first, _, count] = numbers[..] else { return None };
    let end = first.saturating_add(count);
    (first..end).contains(&id).then_some(end)
}

fn mapped_level() -> Level {
    let map = fs::read_to_string(UID_MAP).unwrap_or_default();
    let single = map.lines().count() == 1 && map.split_whitespace().nth(2) == Some("1");
    if single { Level::Single } else { Level::Range }
}

/// First id and number of ids.
type Range = (u32, u32);

/// Finds the range that `file` gives a user, by name or number.
fn subordinate(file: &str, uid: u32) -> Option<Range> {
    subordinate_range(Path::new(file), uid).1
}

/// Returns what a user is called, by number where there is no name, and the first and the number of the ids that a file
/// such as `/etc/subuid` gives it.
pub fn subordinate_range(file: &Path, uid: u32) -> (String, Option<(u32, u32)>) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let name = user_name(uid);
    let range = range_in(&text, &[name.clone().unwrap_or_default(), uid.to_string()]);
    (name.unwrap_or_else(|| uid.to_string()), range)
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn range_in(text: &str, names: &[String]) -> Option<Range> {
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (names.iter().any(|own| own == name) && range.1 > 0).then_some(range)
    })
}

/// Enters with the user's own id as root and the range from 1 upwards. Returns whether the helpers did their part; if
/// not, nothing has changed for this process.
fn enter_with_ranges(uids: (u32, Range), gids: (u32, Range)) -> Result<bool, Error> {
    let Some(programs) = find_program("newuidmap").zip(find_program("newgidmap")) else {
        return Ok(false);
    };
    let maps = [(programs.0, uids), (programs.1, gids)];
    enter_mapped(|target| map_by_programs(target, maps))?;
    Ok(true)
}

/// Enters a namespace whose ids `map` gives it from outside; it returns whether it could.
fn enter_mapped(map: impl FnOnce(Pid) -> bool) -> Result<(), Error> {
    let pipe =
        || pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("make a pipe", error.into()));
    let (waiting, go) = pipe()?;
    let target = getpid();
    // The helpers must run outside of the namespace, so their parent must exist before it.
    match sys::fork().map_err(|error| failed("start a helper", error))? {
        sys::Side::Child => {
            drop(go);
            // Nothing comes if there is no namespace, and so nothing to map.
            let exists = rustix::io::read(&waiting, &mut [0]) == Ok(1);
            sys::exit_now(u8::from(!(exists && map(target))))
        }
        sys::Side::Parent(helper) => {
            drop(waiting);
            let made = sys::unshare(UnshareFlags::NEWUSER)
                .and_then(|()| Ok(rustix::io::write(&go, b"!").map(drop)?));
            drop(go);
            let ended = waitpid(Some(helper), WaitOptions::empty())
                .map_err(|error| failed("wait for newuidmap", error.into()))?;
            made.map_err(|error| failed("make a user namespace", error))?;
            if ended.is_none_or(|(_, status)| status.exit_status() != Some(0)) {
                return Err(Error::Mapping);
            }
            become_root()
        }
    }
}

/// Where helpers are looked for; not in PATH, which anyone may set.
const HELPER_DIRECTORIES: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];

/// Finds a program of the system.
pub fn find_program(program: &str) -> Option<PathBuf> {
    HELPER_DIRECTORIES.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.is_file())
}

/// Gives a namespace the ids of this one, each standing for itself.
fn map_identically(target: Pid) -> bool {
    // All ids at once are what tells the host's own namespace from others.
    const MOST: u32 = u32::MAX - 1;
    [("uid_map", UID_MAP), ("gid_map", GID_MAP)].into_iter().all(|(file, own)| {
        let own = fs::read_to_string(own).unwrap_or_default();
        let lines = own.lines().filter_map(|line| {
            let mut words = line.split_whitespace().map(|word| word.parse::<u32>().ok());
            let (first, _, count) = (words.next()??, words.next(), words.next()??);
            Some(format!("{first} {first} {}\n", count.min(MOST)))
        });
        let path = format!("/proc/{}/{file}", target.as_raw_nonzero());
        fs::write(path, lines.collect::<String>()).is_ok()
    })
}

/// Runs both helpers.
fn map_by_programs(target: Pid, maps: [(PathBuf, (u32, Range)); 2]) -> bool {
    maps.into_iter().all(|(program, (own, (first, count)))| {
        let numbers = [0, own, 1, 1, first, count].map(|number| number.to_string());
        let mut command = Command::new(program);
        command.arg(target.as_raw_nonzero().to_string()).args(numbers).stdin(Stdio::null());
        // What it says on standard error is the only explanation there is.
        command.status().is_ok_and(|status| status.success())
    })
}

fn enter_alone(uid: u32, gid: u32) -> Result<(), Error> {
    sys::unshare(UnshareFlags::NEWUSER).map_err(|error| failed("make a user namespace", error))?;
    let write = |file: &str, text: &str| {
        fs::write(file, text).map_err(|error| failed("map the user's own id", error))
    };
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    become_root()
}

fn become_root() -> Result<(), Error> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    set_thread_res_gid(gid, gid, gid)
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .map_err(|error| failed("become root of the user namespace", error.into()))
}

fn failed(operation: &str, source: io::Error) -> Error {
    Error::UserNamespace { operation: operation.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let map = "         0       1000          1\n         1     100000        100\n";
        assert_eq!([0, 1, 100, 101].map(|id| maps(map, id)), [true, true, true, false]);
    }

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let names = ["me".to_owned(), "1000".to_owned()];
        assert_eq!(range_in("you:1:2\nme:100000:65536\n", &names), Some((100_000, 65536)));
        assert_eq!(range_in("1000:5:6", &names), Some((5, 6)));
        assert_eq!(range_in("me:1:0\n:1:1\nbad", &names), None);
    }
}
