//! `kiln build`: from flags to a request, from the request to a result.

mod check;
mod compat;
mod context;
mod flags;
mod request;
mod result;
mod values;

use kiln::diagnostic::Diagnostic;

pub(crate) use flags::Flags;
pub(crate) use request::Request;
pub(crate) use result::write_file;
pub(crate) use values::{boolean, size, ulimit};

use super::progress::Mode;
use super::watch::Watch;
use super::{Done, Session, enter_sandbox, say, settle};

/// Runs the command.
pub(crate) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = Mode::choose(flags.progress, flags.quiet, &session.environment)?;
    let request = request(flags, session)?;
    if flags.check || flags.call == flags::Call::Check {
        return check::run(&request.build, session);
    }
    result::prepare(flags)?;
    enter_sandbox()?;
    let mut watch = Watch::new(mode, session);
    for message in request.warnings {
        watch.warn(message);
    }
    let build = &request.build;
    let outcome = watch.follow(|reporter, cancel| kiln::builder::build(build, reporter, cancel))?;
    if outcome.wrote {
        settle::in_background(&request.build.state);
    }
    result::write_files(&outcome, flags)?;
    if mode.sums_up() {
        say(&result::summary(&outcome, &request.build, watch.tally, watch.elapsed()));
    }
    result::answer(&outcome, &request.build)?;
    Ok(())
}

/// Reads the flags, and standard input if they say so.
pub(crate) fn request(flags: &Flags, session: &Session) -> Result<Request, Vec<Diagnostic>> {
    request::make(flags, session, &mut std::io::stdin().lock())
}
