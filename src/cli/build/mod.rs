//! `kiln build`: from flags to a request, from the request to a result.

mod check;
mod compat;
mod context;
mod flags;
mod load;
mod request;
mod result;
mod values;

use kiln::diagnostic::Diagnostic;

pub(crate) use flags::Flags;
pub(crate) use request::Request;
pub(crate) use result::write_file;
pub(crate) use values::{boolean, size, ulimit};

use load::Loader;

use super::progress::Mode;
use super::watch::Watch;
use super::{Done, Failure, Session, enter_sandbox, say, settle};

/// Runs the command.
pub(crate) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = Mode::choose(flags.progress, flags.quiet, &session.environment)?;
    let mut request = request(flags, session)?;
    if flags.check || flags.call == flags::Call::Check {
        return check::run(&request.build, session);
    }
    result::prepare(flags)?;
    let loader = Loader::start(&mut request.build.outputs)?;
    enter_sandbox()?;
    let mut watch = Watch::new(mode, session);
    for message in request.warnings {
        watch.warn(message);
    }
    let build = &mut request.build;
    let built = watch.follow(|reporter, cancel| kiln::builder::build(build, reporter, cancel));
    let mut loaded = None;
    let outcome = match (built, loader) {
        (Ok(outcome), Some(loader)) => {
            loaded = Some(loader.finish(&mut build.outputs)?);
            outcome
        }
        (Err(Failure::Problems(problems, shown)), Some(loader)) => {
            // That the archive could not be written is then only what follows.
            return Err(match loader.complaint() {
                Some(problem) => problem.into(),
                None => Failure::Problems(problems, shown),
            });
        }
        (built, _) => built?,
    };
    if outcome.wrote {
        settle::in_background(&request.build.state);
    }
    result::write_files(&outcome, flags)?;
    if mode.sums_up() {
        say(&result::summary(&outcome, &request.build, loaded, (watch.tally, watch.elapsed())));
    }
    result::answer(&outcome, &request.build)?;
    Ok(())
}

/// Reads the flags, and standard input if they say so.
pub(crate) fn request(flags: &Flags, session: &Session) -> Result<Request, Vec<Diagnostic>> {
    request::make(flags, session, &mut std::io::stdin().lock())
}
