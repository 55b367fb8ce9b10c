//! The `kiln` program: hands the command line to `cli` and its answer to the system.
//!
//! Before anything else it looks whether it was started as the first process of a sandbox: that process must stay
//! single-threaded and must not read the command line or the environment of the user.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "sandbox-init") {
        return sandbox_init();
    }
    cli::main()
}

fn sandbox_init() -> ExitCode {
    // AT MERGE: replace the next line by `ExitCode::from(kiln::sandbox::init_main())`.
    ExitCode::from(70)
}
