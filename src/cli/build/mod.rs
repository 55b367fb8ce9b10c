//! `kiln build`: from flags to a request, from the request to a result.
//!
//! The builder works on a thread of its own; this one takes its events, keeps the display alive and watches for Ctrl-C.

mod check;
mod compat;
mod context;
mod flags;
mod request;
mod result;
mod values;

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use kiln::builder::{Build, Outcome};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::{Cancel, Event};

pub(crate) use flags::Flags;
pub(crate) use request::Request;
pub(crate) use values::{size, ulimit};

use super::interrupt::Interrupt;
use super::progress::{self, Display, Mode, Tally};
use super::{Done, Failure, Session, enter_sandbox, say, settle};

/// How often the display moves and signals are looked for.
const BEAT: Duration = Duration::from_millis(50);
/// A builder that is faster than the terminal waits, so a talkative step cannot fill the memory.
const EVENTS_AHEAD: usize = 1024;

/// Runs the command.
pub(crate) fn run(flags: &Flags, session: &Session) -> Done {
    let began = Instant::now();
    let mode = mode(flags, session)?;
    let request = request(flags, session)?;
    if flags.check || flags.call == flags::Call::Check {
        return check::run(&request.build, session);
    }
    result::prepare(flags)?;
    enter_sandbox()?;
    let display = progress::display(mode, session.terminal, &session.environment);
    let mut watch = Watch { began, display, tally: Tally::default(), cancel: Cancel::new() };
    for message in request.warnings {
        watch.take(&Event::Warning { message });
    }
    let outcome = match watch.build(&request.build) {
        Ok(outcome) => outcome,
        Err(_) if watch.cancel.is_canceled() => return Err(Failure::Canceled),
        Err(problems) => return Err(Failure::Problems(problems, watch.display.command_output())),
    };
    if outcome.wrote {
        settle::in_background(&request.build.state);
    }
    result::write_files(&outcome, flags)?;
    if mode.sums_up() {
        say(&result::summary(&outcome, &request.build, watch.tally, began.elapsed()));
    }
    result::answer(&outcome, &request.build)?;
    Ok(())
}

/// Reads the flags, and standard input if they say so.
pub(crate) fn request(flags: &Flags, session: &Session) -> Result<Request, Vec<Diagnostic>> {
    request::make(flags, session, &mut std::io::stdin().lock())
}

/// `-q`, else `--progress`, else the environment.
fn mode(flags: &Flags, session: &Session) -> Result<Mode, Diagnostic> {
    match (flags.progress, flags.quiet) {
        (None | Some(Mode::Auto | Mode::Quiet), true) => return Ok(Mode::Quiet),
        (Some(mode), false) => return Ok(mode),
        (Some(_), true) => {
            let message = "`--quiet` and `--progress` exclude each other";
            return Err(Diagnostic::new(Blame::Input, message));
        }
        (None, false) => {}
    }
    for name in ["KILN_PROGRESS", "BUILDKIT_PROGRESS"] {
        if let Some(value) = session.environment.set(name) {
            let modes = "the modes are auto, tty, plain, rawjson, quiet and none".to_owned();
            return clap::ValueEnum::from_str(&value, false).map_err(|_| {
                Diagnostic::new(Blame::Input, format!("unknown progress mode `{value}` in {name}"))
                    .hint(Some(modes))
            });
        }
    }
    Ok(Mode::Auto)
}

/// What follows a build while it runs.
struct Watch {
    began: Instant,
    display: Box<dyn Display>,
    tally: Tally,
    cancel: Cancel,
}

impl Watch {
    fn build(&mut self, build: &Build) -> Result<Outcome, Vec<Diagnostic>> {
        let interrupt = Interrupt::listen();
        let (send, receive) = sync_channel(EVENTS_AHEAD);
        let cancel = self.cancel.clone();
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                // The receiver outlives the builder, so sending cannot fail.
                let reporter = move |event| drop(send.send(event));
                kiln::builder::build(build, &reporter, &cancel)
            });
            self.follow(&receive, &interrupt);
            self.display.end();
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Takes events until the builder has sent its last.
    fn follow(&mut self, receive: &Receiver<Event>, interrupt: &Interrupt) {
        loop {
            match receive.recv_timeout(BEAT) {
                Ok(event) => self.take(&event),
                Err(RecvTimeoutError::Timeout) => self.display.tick(self.began.elapsed()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if interrupt.came() && !self.cancel.is_canceled() {
                self.cancel.cancel();
                let message = "interrupted: stopping; once more ends kiln at once".to_owned();
                self.take(&Event::Warning { message });
            }
        }
    }

    fn take(&mut self, event: &Event) {
        self.tally.count(event);
        self.display.event(event, self.began.elapsed());
    }
}
