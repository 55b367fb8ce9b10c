//! A host worth escaping to, and builds by one of its accounts.

use std::ffi::OsStr;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::users::User;
use crate::support::{Ended, ended, tool};

/// Whose rights kiln has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Root,
    /// A user with subordinate ids.
    Range,
    /// A user without.
    Single,
}

/// The compiled attempts, static, so that they run in an image of nothing else.
pub(crate) fn attempts() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("attempt");
        let making = to.with_extension(std::process::id().to_string());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/escape/attempt.c");
        let making_text = making.to_str().unwrap();
        tool("build-essential", "cc", &["-static", "-O1", "-Wall", "-o", making_text, source]);
        fs::rename(&making, &to).unwrap();
        to
    };
    MADE.get_or_init(make).clone()
}

/// An account's home with a copy of kiln and a context, and things of the host's that no step may reach.
pub(crate) struct World {
    pub(crate) level: Level,
    user: Option<User>,
    directory: tempfile::TempDir,
    /// What says that something of the host's was reached.
    pub(crate) token: String,
    pub(crate) sentinel: Child,
    _listener: UnixListener,
}

impl World {
    pub(crate) fn new(level: Level) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let user = match level {
            Level::Root => None,
            Level::Range => Some(User::new(&format!("r{number}")).with_range()),
            Level::Single => Some(User::new(&format!("s{number}"))),
        };
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        let token = format!("token-of{}", name.replace('.', "-"));
        let mut sentinel = Command::new("tail");
        sentinel.args(["-f", "/dev/null"]).arg0(&token).stdin(Stdio::null());
        let sentinel = sentinel.spawn().unwrap();
        let address = SocketAddr::from_abstract_name(&token).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let world = Self { level, user, directory, token, sentinel, _listener: listener };
        fs::create_dir(world.context()).unwrap();
        fs::create_dir(world.path("cage")).unwrap();
        fs::write(world.marker(), &world.token).unwrap();
        let made = Command::new(attempts()).args(["--segment", &world.segment()]).status();
        assert!(made.unwrap().success());
        // By another process: as long as this one has it open for writing, no child that another thread starts can run it.
        let kiln = world.path("kiln");
        tool("coreutils", "cp", &[env!("CARGO_BIN_EXE_kiln"), kiln.to_str().unwrap()]);
        for (from, name) in [(Path::new("/bin/busybox"), "busybox"), (&attempts(), "attempt")] {
            fs::copy(from, world.context().join(name)).unwrap();
        }
        world
    }

    pub(crate) fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.directory.path().join(Path::new(name.as_ref()))
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.path("context")
    }

    /// A file that everyone on the host can read.
    pub(crate) fn marker(&self) -> PathBuf {
        self.path("marker")
    }

    /// The key of a memory segment of the host.
    pub(crate) fn segment(&self) -> String {
        self.sentinel.id().to_string()
    }

    /// Who builds: user and group.
    pub(crate) fn account(&self) -> (u32, u32) {
        self.user.as_ref().map_or((0, 0), |user| (user.uid, user.gid))
    }

    /// What the attempts are told.
    pub(crate) fn arguments(&self) -> Vec<(&'static str, String)> {
        let namespaces = ["mnt", "pid", "ipc", "uts", "cgroup"].map(|kind| {
            let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            link.to_str().unwrap().to_owned()
        });
        vec![
            ("MARKER", self.marker().to_str().unwrap().to_owned()),
            ("TOKEN", self.token.clone()),
            ("SENTINEL", self.sentinel.id().to_string()),
            ("SOCKET", self.token.clone()),
            ("SHM", self.segment()),
            ("NAMESPACES", namespaces.join(" ")),
            ("CAGE", self.path("cage").to_str().unwrap().to_owned()),
        ]
    }

    /// Runs kiln as the world's account.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let home = self.directory.path();
        let mut command = Command::new(home.join("kiln"));
        command.arg("--root").arg(home.join("state")).args(args);
        command.current_dir(self.context()).env("HOME", home).stdin(Stdio::null());
        command.env_remove("BUILDKIT_PROGRESS").env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
        if let Some(user) = &self.user {
            for entry in walkdir::WalkDir::new(self.context()) {
                lchown(entry.unwrap().path(), Some(user.uid), Some(user.gid)).unwrap();
            }
            chown(home, Some(user.uid), Some(user.gid)).unwrap();
            // This also gives up root's further groups.
            command.uid(user.uid).gid(user.gid);
        } else {
            fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
        }
        command
    }

    /// Builds the context with this Dockerfile.
    pub(crate) fn build(&self, dockerfile: &str, args: &[&str]) -> Ended {
        fs::write(self.context().join("Dockerfile"), dockerfile).unwrap();
        let all = [&["build", "--progress", "plain"], args, &["."]].concat();
        ended(self.command(&all).output().unwrap())
    }

    /// The same, whose success is expected.
    pub(crate) fn built(&self, dockerfile: &str, args: &[&str]) -> Ended {
        let ended = self.build(dockerfile, args);
        assert_eq!(ended.code, Some(0), "as {:?}: {}", self.level, ended.stderr);
        ended
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = Command::new(attempts()).args(["--no-segment", &self.segment()]).status();
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}
