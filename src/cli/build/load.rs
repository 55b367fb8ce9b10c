//! `--load`: the image goes into docker, or into podman where there is no docker, as `docker load` takes it.
//!
//! The program is started before kiln enters a user namespace, since in there it would be somebody else, and waits for
//! the archive on its standard input.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use kiln::diagnostic::{Blame, Diagnostic};
use kiln::export::{Dest, Output};
use kiln::fs::descriptor_path;

use super::request::is_loaded;

/// The programs that can load an archive, in the order in which they are tried.
const PROGRAMS: [&str; 2] = ["docker", "podman"];

/// A program that waits for archives.
pub(super) struct Loader {
    program: &'static str,
    child: Child,
    archive: Option<ChildStdin>,
}

impl Loader {
    /// Starts one if an output is to be loaded, and gives such outputs their place.
    pub(super) fn start(outputs: &mut [Output]) -> Result<Option<Self>, Diagnostic> {
        let mut wanted: Vec<_> = outputs.iter_mut().filter(|output| is_loaded(output)).collect();
        let [output] = wanted.as_mut_slice() else {
            return match wanted.len() {
                0 => Ok(None),
                _ => Err(Diagnostic::new(Blame::Input, "only one output can be loaded")),
            };
        };
        let program = PROGRAMS.into_iter().find(|program| answers(program)).ok_or_else(|| {
            let message = "there is neither a docker nor a podman to load the image into";
            let hint = "start docker's daemon or install podman; without `--load` the image is kept \
                        in kiln's own store";
            Diagnostic::new(Blame::Machine, message).hint(Some(hint.to_owned()))
        })?;
        let mut child = Command::new(program)
            .args(["load", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is kiln's to answer: it ends the program with the build.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let message = format!("cannot start `{program}`: {error}");
                Diagnostic::new(Blame::Machine, message)
            })?;
        let archive = child.stdin.take();
        output.dest = archive.as_ref().map(place);
        Ok(Some(Self { program, child, archive }))
    }

    /// Ends the archive and waits until it is loaded; returns into what.
    pub(super) fn finish(mut self, outputs: &mut [Output]) -> Result<&'static str, Diagnostic> {
        let path = self.archive.as_ref().map(place);
        for output in outputs.iter_mut().filter(|output| output.dest == path) {
            output.dest = None;
        }
        drop(self.archive.take());
        self.wait().map(|()| self.program)
    }

    /// Returns what the program complains about, if that is why the archive could not be written to it.
    pub(super) fn complaint(mut self) -> Option<Diagnostic> {
        let is_over = self.child.try_wait().ok().flatten();
        is_over?;
        self.wait().err()
    }

    fn wait(&mut self) -> Result<(), Diagnostic> {
        let program = self.program;
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            // What it says is only for the report.
            let _ = stderr.take(64 << 10).read_to_end(&mut said);
        }
        let failed = |cause: String| {
            let mut problem =
                Diagnostic::new(Blame::Machine, format!("`{program} load` failed: {cause}"));
            problem.output = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
            problem
        };
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(status.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // One that waits for the archive of a build that failed must not load half of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns where an archive is written to be loaded.
fn place(archive: &ChildStdin) -> Dest {
    Dest::Path(descriptor_path(archive).into())
}

/// Returns whether a program is there and has what it loads into.
fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("info").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
