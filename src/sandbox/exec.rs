//! The last steps before a command is itself: directory, environment, limits, identity, filter, and its file.

use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fchown, mkdir, open};
use rustix::io::Errno;
use rustix::process::{Uid, chdir, setsid};

use super::capability::{Becoming, drop_to_default, keep_all};
use super::foreign::{Remedy, foreign_cpu};
use super::seccomp::{asking_filter, default_filter};
use super::spec::{Process, Rlimit, Security, Spec, User};
use super::userns::{GID_MAP, UID_MAP, is_mapped};
use super::wire::{Failure, Result, Scope, Setting, refused, refused_at};
use super::{supervise, sys};
use crate::fs::words;
use crate::ownership::Ownership;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a shell answers for a command that is not there.
const NOT_FOUND: u8 = 127;
/// What a shell answers for a command that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// A command with everything that can be worked out before its process exists.
pub(super) struct Prepared<'a> {
    spec: &'a Spec,
    setting: Setting,
    args: Vec<CString>,
    env: Vec<CString>,
    candidates: Vec<CString>,
    becoming: Becoming,
}

/// Works everything out; the root is the new one already.
pub(super) fn prepare(spec: &Spec, setting: Setting) -> Result<Prepared<'_>> {
    let process = &spec.process;
    if setting.user_namespace && setting.scope != Scope::Everything {
        check_ids(process)?;
    }
    enter_directory(process)?;
    let env = environment(process);
    let Some(command) = process.args.first() else {
        return Err(Failure::Invalid("the command is empty".to_owned()));
    };
    let becoming = if setting.user_namespace
        && std::fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
    {
        Becoming::ButGroups
    } else {
        Becoming::Whole
    };
    Ok(Prepared {
        spec,
        setting,
        candidates: candidates(command, &env)?,
        args: terminated(&process.args)?,
        env: terminated(&env)?,
        becoming,
    })
}

/// Returns the setting for a command of this user: who is not in the range is served as where there is no range.
pub(super) fn for_user(setting: Setting, user: &User) -> Setting {
    match setting.scope {
        Scope::Beyond if unmapped(user).is_some() => {
            Setting { scope: Scope::Everything, ..setting }
        }
        _ => setting,
    }
}

/// Refuses ids that a user namespace does not have, in words that say so.
fn check_ids(process: &Process) -> Result<()> {
    unmapped(&process.user).map_or(Ok(()), |who| Err(Failure::Unmapped(who)))
}

fn unmapped(user: &User) -> Option<String> {
    if !is_mapped(UID_MAP, user.uid) {
        return Some(format!("user {}", user.uid));
    }
    let mut groups = [&user.gid].into_iter().chain(&user.groups);
    groups.find(|&&gid| !is_mapped(GID_MAP, gid)).map(|gid| format!("group {gid}"))
}

/// Becomes the command; behind `door` waits a supervisor, if there is one. Returns how it failed before that; a command
/// that cannot be executed ends the process.
pub(super) fn become_command(command: &Prepared<'_>, door: Option<UnixStream>) -> Failure {
    match give_up_rights(command, door) {
        Ok(()) => sys::exit_now(execute(command)),
        Err(failure) => failure,
    }
}

fn give_up_rights(command: &Prepared<'_>, door: Option<UnixStream>) -> Result<()> {
    let process = &command.spec.process;
    if !command.setting.foreground {
        // A group of its own: signals that it sends to its group reach nobody else.
        setsid().map_err(refused(|| "make a session".to_owned()))?;
        if process.user.uid != 0 {
            own_output(process.user.uid);
        }
    }
    sys::join_new_keyring().map_err(refused(|| "join a new session keyring".to_owned()))?;
    for limit in &process.rlimits {
        set_limit(limit)?;
    }
    // Before the rights to install it are gone; everything that follows is allowed by it.
    let becoming = match install_filter(command, door)? {
        true if command.setting.scope == Scope::Everything => Becoming::Supervised,
        _ => command.becoming,
    };
    match command.spec.security {
        Security::Default => drop_to_default(&process.user, becoming)?,
        Security::Insecure => keep_all(&process.user, becoming)?,
    }
    sys::reset_signals().map_err(refused(|| "reset the signals".to_owned()))
}

/// Installs the filter that the command is to have, if any; returns whether there is a supervisor now.
fn install_filter(command: &Prepared<'_>, door: Option<UnixStream>) -> Result<bool> {
    let fail = || "install the system call filter".to_owned();
    let rules = supervise::rules(command.setting.scope);
    let filter = |rules| match command.spec.security {
        Security::Default => default_filter(rules),
        Security::Insecure => asking_filter(rules),
    };
    if let Some(door) = door {
        match sys::install_asking_filter(&filter(&rules)) {
            Ok(listener) => {
                let given = supervise::hand_over(&listener, &door);
                given.map_err(refused(|| "reach the supervisor".to_owned()))?;
                return Ok(true);
            }
            // An old kernel, or a supervisor around kiln: there can be only one.
            Err(_) => check_ids(&command.spec.process)?,
        }
    }
    if command.spec.security == Security::Default {
        sys::install_filter(&filter(&[])).map_err(refused(fail))?;
    }
    Ok(false)
}

/// Lets the user open /dev/stdout and /dev/stderr again by name. Refused for ids that are not mapped: no loss.
fn own_output(uid: u32) {
    let _ = fchown(io::stdout().as_fd(), Some(Uid::from_raw(uid)), None);
    let _ = fchown(io::stderr().as_fd(), Some(Uid::from_raw(uid)), None);
}

/// Tries each place in turn, as a shell does; returns the code to end with.
fn execute(command: &Prepared<'_>) -> u8 {
    let mut worst = Errno::NOENT;
    for path in &command.candidates {
        let error = sys::execute(path, &command.args, &command.env);
        match Errno::from_io_error(&error).unwrap_or(Errno::INVAL) {
            Errno::NOENT if Path::new(OsStr::from_bytes(path.to_bytes())).exists() => {
                let why = "its interpreter or loader is missing";
                return complain(path, NOT_EXECUTABLE, &foreign(path, why));
            }
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            Errno::NOEXEC => {
                return complain(path, NOT_EXECUTABLE, &foreign(path, &words(&error)));
            }
            _ => return complain(path, NOT_EXECUTABLE, &words(&error)),
        }
    }
    let name = &command.args[0];
    if worst == Errno::ACCESS {
        return complain(name, NOT_EXECUTABLE, "permission denied");
    }
    let place = if name.to_bytes().contains(&b'/') { "no such file" } else { "not found in PATH" };
    complain(name, NOT_FOUND, place)
}

/// Adds to a failure what is known of a program for another CPU.
fn foreign(path: &CString, why: &str) -> String {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    let mut begin = Vec::new();
    let file = std::fs::File::open(path).map(|file| file.take(64).read_to_end(&mut begin));
    match file.ok().and_then(|_| foreign_cpu(&begin)) {
        None => why.to_owned(),
        Some(cpu) => format!(
            "{why}; it is a program for {cpu}, and the machine has no emulator that works in here: {}",
            Remedy(cpu)
        ),
    }
}

fn complain(what: &CString, code: u8, why: &str) -> u8 {
    let line = format!("kiln: cannot execute `{}`: {why}\n", what.to_string_lossy());
    let _ = io::stderr().write_all(line.as_bytes());
    code
}

fn terminated(strings: &[String]) -> Result<Vec<CString>> {
    let one = |string: &String| {
        CString::new(string.as_str())
            .map_err(|_| Failure::Invalid(format!("`{string:?}` contains a zero byte")))
    };
    strings.iter().map(one).collect()
}

/// The files that `command` may mean.
fn candidates(command: &str, env: &[String]) -> Result<Vec<CString>> {
    if command.contains('/') || command.is_empty() {
        return terminated(&[command.to_owned()]);
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let files: Vec<String> = path
        .split(':')
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .map(|dir| format!("{dir}/{command}"))
        .collect();
    terminated(&files)
}

/// The environment with one entry for each name and a HOME.
fn environment(process: &Process) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut env: Vec<String> = Vec::with_capacity(process.env.len() + 1);
    for entry in &process.env {
        match env.iter_mut().find(|earlier| name(earlier) == name(entry)) {
            Some(earlier) => earlier.clone_from(entry),
            None => env.push(entry.clone()),
        }
    }
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", home(process.user.uid).unwrap_or_else(|| "/".to_owned())));
    }
    env
}

/// The home directory that /etc/passwd gives a user. The file is the image's: it may be anything.
fn home(uid: u32) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = std::fs::File::from(open("/etc/passwd", flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(16 << 20).read_to_end(&mut bytes).ok()?;
    home_in(&String::from_utf8_lossy(&bytes), uid)
}

fn home_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() > 5 && fields[2].parse() == Ok(uid) && !fields[5].is_empty())
            .then(|| fields[5].to_owned())
    })
}

/// Goes to the working directory, making it and its parents for the user.
fn enter_directory(process: &Process) -> Result<()> {
    let cwd = &process.cwd;
    let fail = || refused_at::<Errno>("enter the working directory", cwd);
    match chdir(cwd) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(fail()),
    }
    let owner = Ownership { uid: process.user.uid, gid: process.user.gid, device: None };
    let mut path = PathBuf::from("/");
    for part in cwd.components() {
        path.push(part);
        match mkdir(&path, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                owner.give(&path).map_err(refused_at("make the working directory", &path))?;
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(refused_at("make the working directory", &path)(error)),
        }
    }
    chdir(cwd).map_err(fail())
}

fn set_limit(limit: &Rlimit) -> Result<()> {
    let Some(resource) = limit.resource() else {
        return Err(Failure::Invalid(format!("there is no limit `{}`", limit.name)));
    };
    sys::set_limit(resource, limit.soft, limit.hard).map_err(refused(|| {
        format!("set the limit `{}` to {}:{}", limit.name, limit.soft, limit.hard)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(env: &[&str]) -> Process {
        Process {
            args: Vec::new(),
            env: env.iter().map(|&entry| entry.to_owned()).collect(),
            cwd: PathBuf::from("/"),
            user: super::super::spec::User::default(),
            rlimits: Vec::new(),
        }
    }

    #[test]
    fn the_last_of_equal_names_wins() {
        let env = environment(&process(&["A=1", "HOME=/h", "A=2", "AB=3"]));
        assert_eq!(env, ["A=2", "HOME=/h", "AB=3"]);
    }

    #[test]
    fn commands_are_looked_up_in_path() {
        let found = |command, env: &[&str]| {
            let env: Vec<String> = env.iter().map(|&entry| entry.to_owned()).collect();
            candidates(command, &env).ok().unwrap()
        };
        assert_eq!(
            found("a", &["PATH=/x::/y"]),
            [c"/x/a".into(), c"./a".into(), c"/y/a".into()] as [CString; 3]
        );
        assert_eq!(found("./a", &["PATH=/x"]), [CString::from(c"./a")]);
        assert_eq!(found("a", &[]).len(), 6);
    }

    #[test]
    fn home_comes_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\nme:x:7:7::/home/me:/bin/sh\n";
        assert_eq!(home_in(passwd, 7).as_deref(), Some("/home/me"));
        assert_eq!(home_in(passwd, 8), None);
    }
}
