//! The kiln program: hands its arguments to `cli` and its result to the shell.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The sandbox's helper must run before anything that could start a thread.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == "sandbox-init") {
        return ExitCode::from(kiln::sandbox::init_main());
    }
    kiln::sandbox::one_heap();
    cli::main()
}
