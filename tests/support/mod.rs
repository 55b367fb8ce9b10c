//! The kiln binary with a state root and a context of its own.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod debian;
pub(crate) mod docker;
pub(crate) mod left;
pub(crate) mod podman;
pub(crate) mod tars;
pub(crate) mod users;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A state root and a context, both thrown away at the end.
pub(crate) struct Kiln {
    directory: tempfile::TempDir,
}

/// How a run of kiln ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The error report: what follows the progress lines.
    pub(crate) fn error(&self) -> String {
        let lines = self.stderr.lines().skip_while(|line| !line.starts_with("error: "));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// How many steps were found in the cache.
    pub(crate) fn cached(&self) -> usize {
        self.stderr.lines().filter(|line| line.ends_with(" CACHED")).count()
    }
}

/// The beginning of every Dockerfile here: busybox and nothing else.
pub(crate) const BASE: &str = "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

impl Kiln {
    pub(crate) fn new() -> Self {
        let kiln = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(kiln.context()).unwrap();
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "`/bin/busybox` is missing: apt-get install busybox-static");
        std::fs::copy(busybox, kiln.context().join("busybox")).unwrap();
        kiln
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: &str) {
        let path = self.context().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Puts perl and its libraries into the context as `perl/`, for what busybox cannot do.
    pub(crate) fn add_perl(&self) {
        let libraries = Command::new("ldd").arg("/usr/bin/perl").output().unwrap().stdout;
        let libraries = String::from_utf8(libraries).unwrap();
        let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
        for path in paths.chain(["/usr/bin/perl"]) {
            let to = self.context().join("perl").join(&path[1..]);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(path, to).unwrap();
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.arg("--root").arg(self.path("state")).args(args).current_dir(self.context());
        command
            .env_remove("BUILDKIT_PROGRESS")
            .env_remove("SOURCE_DATE_EPOCH")
            .env("CONTAINERS_REGISTRIES_CONF", "/dev/null")
            .stdin(Stdio::null());
        command
    }

    /// Takes this machine's configuration from a command, and gives it a home that is the test's own.
    pub(crate) fn isolate(&self, command: &mut Command) {
        for name in ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "SSL_CERT_FILE"] {
            command.env_remove(name);
        }
        command.env("HOME", self.path("home")).env("XDG_RUNTIME_DIR", self.path("runtime"));
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        ended(self.command(args).output().unwrap())
    }

    /// Builds the context with this Dockerfile.
    pub(crate) fn build(&self, dockerfile: &str, args: &[&str]) -> Ended {
        self.file("Dockerfile", dockerfile);
        let all: Vec<&str> =
            ["build", "--progress", "plain"].iter().chain(args).chain(&["."]).copied().collect();
        self.run(&all)
    }

    /// Builds on busybox, and returns the root file system as a directory.
    pub(crate) fn rootfs(&self, rest: &str, args: &[&str]) -> PathBuf {
        let out = self.path("rootfs");
        let dest = format!("type=local,dest={}", out.display());
        let ended = self.build(&format!("{BASE}{rest}"), &[&["--output", &dest], args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        out
    }

    /// Builds this Dockerfile, and returns its root file system as a tar's entries.
    pub(crate) fn tree(&self, dockerfile: &str, args: &[&str]) -> Vec<tars::Entry> {
        let out = self.path("tree.tar");
        let dest = format!("type=tar,dest={}", out.display());
        let ended = self.build(dockerfile, &[&["--output", &dest], args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        tars::entries(std::fs::File::open(out).unwrap())
    }

    /// Builds this Dockerfile, and returns the image with uncompressed layers.
    pub(crate) fn image(&self, dockerfile: &str, args: &[&str]) -> tars::Layout {
        let out = self.path("image.tar");
        let dest = format!("type=oci,compression=uncompressed,dest={}", out.display());
        let ended = self.build(dockerfile, &[&["--output", &dest], args].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        tars::Layout::read(&out)
    }
}

pub(crate) fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a tool of a Debian package and returns what it prints.
pub(crate) fn tool(package: &str, name: &str, arguments: &[&str]) -> String {
    printed(package, Command::new(name).args(arguments))
}

/// Runs a command of a Debian package, whose success is expected, and returns what it prints.
pub(crate) fn printed(package: &str, command: &mut Command) -> String {
    let output = on_path(command).stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; this test needs it: apt-get install {package}")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Lets a command be found, and find, what is in /usr/sbin: root's PATH may lack it.
pub(crate) fn on_path(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"))
}
