//! The kiln program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: this is the process that makes a sandbox, and it must stay small and single.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "sandbox-init") {
        return ExitCode::from(kiln::sandbox::init_main());
    }
    ExitCode::SUCCESS
}
