//! Following a piece of work that takes its time: a build, a pull, a push.
//!
//! The work is done on a thread of its own; this one takes its events, keeps the display alive and watches for Ctrl-C.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use kiln::diagnostic::Diagnostic;
use kiln::event::{Cancel, Event, Reporter, StepId};

use super::interrupt::Interrupt;
use super::progress::{self, Display, Mode, Tally};
use super::{Failure, Session};

/// How often the display moves and signals are looked for.
const BEAT: Duration = Duration::from_millis(50);
/// Work that is faster than the terminal waits, so a talkative step cannot fill the memory.
const EVENTS_AHEAD: usize = 1024;

/// What follows the work while it is done.
pub(super) struct Watch {
    began: Instant,
    display: Box<dyn Display>,
    /// How its steps ended.
    pub(super) tally: Tally,
    cancel: Cancel,
}

impl Watch {
    /// Begins to watch; the clock runs from here.
    pub(super) fn new(mode: Mode, session: &Session) -> Self {
        let display = progress::display(mode, session.terminal, &session.environment);
        let (began, tally) = (Instant::now(), Tally::default());
        Self { began, display, tally, cancel: Cancel::new() }
    }

    /// Returns how long it took so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows a warning.
    pub(super) fn warn(&mut self, message: String) {
        self.take(&Event::Warning { message });
    }

    /// Does the work to its end.
    pub(super) fn follow<T: Send>(
        &mut self,
        work: impl FnOnce(&dyn Reporter, &Cancel) -> Result<T, Vec<Diagnostic>> + Send,
    ) -> Result<T, Failure> {
        let interrupt = Interrupt::listen();
        let (send, receive) = sync_channel(EVENTS_AHEAD);
        let cancel = self.cancel.clone();
        let done = std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                // The receiver outlives the worker, so sending cannot fail.
                let reporter = move |event| drop(send.send(event));
                work(&reporter, &cancel)
            });
            self.listen(&receive, &interrupt);
            self.display.end();
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        match done {
            Ok(done) => Ok(done),
            Err(_) if self.cancel.is_canceled() => Err(Failure::Canceled),
            Err(problems) => Err(Failure::Problems(problems, self.display.command_output())),
        }
    }

    /// Takes events until the worker has sent its last.
    fn listen(&mut self, receive: &Receiver<Event>, interrupt: &Interrupt) {
        loop {
            match receive.recv_timeout(BEAT) {
                Ok(event) => self.take(&event),
                Err(RecvTimeoutError::Timeout) => self.display.tick(self.began.elapsed()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if interrupt.came() && !self.cancel.is_canceled() {
                self.cancel.cancel();
                self.warn("interrupted: stopping; once more ends kiln at once".to_owned());
            }
        }
    }

    fn take(&mut self, event: &Event) {
        self.tally.count(event);
        self.display.event(event, self.began.elapsed());
    }
}

/// Does work as one step with a name; what it hands on of its progress is shown with it.
pub(super) fn step<T, E: std::fmt::Display>(
    (reporter, cancel): (&dyn Reporter, &Cancel),
    (number, name): (u32, String),
    work: impl FnOnce(&(dyn Fn(&str, u64, u64) + Sync)) -> Result<T, E>,
) -> Result<T, E> {
    let (step, began) = (StepId(number), Instant::now());
    reporter.report(Event::Started { step, name });
    let progress = |what: &str, current, total| {
        reporter.report(Event::Progress { step, what: what.to_owned(), current, total });
    };
    let result = work(&progress);
    reporter.report(match &result {
        Ok(_) => Event::Done { step, took: began.elapsed() },
        Err(_) if cancel.is_canceled() => Event::Canceled { step },
        Err(error) => Event::Failed { step, message: error.to_string() },
    });
    result
}
