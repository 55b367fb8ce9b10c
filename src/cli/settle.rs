//! `kiln settle`: makes what builds wrote survive a crash of the machine.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln::diagnostic::{Blame, Diagnostic};

use super::{Done, INIT, Session};

/// Runs the command.
pub(super) fn run(session: &Session) -> Done {
    kiln::store::settle(&session.state_root()?).map_err(|error| {
        Diagnostic::new(Blame::Machine, error.to_string()).causes_of(&error).into()
    })
}

/// Starts the command in the background. Nobody waits for it: until it is done, a crash of the machine costs the
/// cached results of this build, and nothing else does.
pub(super) fn in_background(state: &Path) {
    let mut command = Command::new(INIT);
    command.arg("--root").arg(state).arg("settle").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Without it the results merely count as unsettled.
    let _ = command.spawn();
}
