//! Shows a running build: on a terminal, as plain lines, as JSON lines, or not at all.
//!
//! All displays get the same events in the same order with the time since the build began. They own no clock and no
//! thread. What the build made and why it failed is not theirs to say.

mod json;
mod lines;
mod plain;
mod screen;
mod tty;

use std::io::Write;
use std::time::Duration;

use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::Event;

use super::environment::{Environment, Terminal};
use super::report::CommandOutput;

/// `--progress`
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// tty on a terminal, plain otherwise and under CI.
    Auto,
    /// Running steps are redrawn in place; plain where there is no terminal.
    Tty,
    /// One line after the other.
    Plain,
    /// One JSON object per line, in BuildKit's shape.
    Rawjson,
    /// Errors only.
    Quiet,
    /// The same as quiet.
    None,
}

/// How a command shows that it gets on.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub(crate) struct Flags {
    /// Show errors only
    #[arg(short, long)]
    quiet: bool,
    /// How progress is shown: auto, tty, plain, rawjson, quiet or none
    /// [env: KILN_PROGRESS, BUILDKIT_PROGRESS]
    #[arg(long, value_name = "MODE", hide_possible_values = true)]
    progress: Option<Mode>,
}

impl Flags {
    /// Returns the mode that they and the environment ask for.
    pub(crate) fn mode(&self, environment: &Environment) -> Result<Mode, Diagnostic> {
        Mode::choose(self.progress, self.quiet, environment)
    }
}

impl Mode {
    /// `-q`, else `--progress`, else the environment.
    pub(crate) fn choose(
        given: Option<Self>,
        quiet: bool,
        environment: &Environment,
    ) -> Result<Self, Diagnostic> {
        match (given, quiet) {
            (None | Some(Self::Auto | Self::Quiet), true) => return Ok(Self::Quiet),
            (Some(mode), false) => return Ok(mode),
            (Some(_), true) => {
                let message = "`--quiet` and `--progress` exclude each other";
                return Err(Diagnostic::new(Blame::Input, message));
            }
            (None, false) => {}
        }
        for name in ["KILN_PROGRESS", "BUILDKIT_PROGRESS"] {
            if let Some(value) = environment.set(name) {
                let modes = "the modes are auto, tty, plain, rawjson, quiet and none".to_owned();
                return clap::ValueEnum::from_str(&value, false).map_err(|_| {
                    let message = format!("unknown progress mode `{value}` in {name}");
                    Diagnostic::new(Blame::Input, message).hint(Some(modes))
                });
            }
        }
        Ok(Self::Auto)
    }

    /// Returns whether kiln also says how the build went.
    pub(crate) fn sums_up(self) -> bool {
        match self {
            Self::Auto | Self::Tty | Self::Plain => true,
            Self::Rawjson | Self::Quiet | Self::None => false,
        }
    }
}

/// One way of showing events.
pub(crate) trait Display {
    /// Takes one event.
    fn event(&mut self, event: &Event, at: Duration);
    /// Shows that time passes.
    fn tick(&mut self, at: Duration);
    /// Takes away what was only there while the build ran.
    fn end(&mut self);
    /// Says whether the log of a failed step is on the screen by now.
    fn command_output(&self) -> CommandOutput;
}

/// Returns the display for `mode` on standard error.
pub(crate) fn display(
    mode: Mode,
    terminal: Terminal,
    environment: &Environment,
) -> Box<dyn Display> {
    let stderr = std::io::stderr();
    match mode {
        Mode::Auto if !terminal.redraws => Box::new(plain::Plain::new(stderr, terminal)),
        Mode::Auto | Mode::Tty => {
            let tty = tty::Tty::new(terminal, environment);
            if tty.is_hidden() {
                Box::new(plain::Plain::new(stderr, terminal))
            } else {
                Box::new(tty)
            }
        }
        Mode::Plain => Box::new(plain::Plain::new(stderr, terminal)),
        Mode::Rawjson => Box::new(json::Json::new(stderr, jiff::Timestamp::now())),
        Mode::Quiet | Mode::None => Box::new(Quiet),
    }
}

struct Quiet;

impl Display for Quiet {
    fn event(&mut self, _: &Event, _: Duration) {}
    fn tick(&mut self, _: Duration) {}
    fn end(&mut self) {}
    fn command_output(&self) -> CommandOutput {
        CommandOutput::Show
    }
}

/// Counts how the steps ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Those that ran.
    pub(crate) ran: usize,
    /// Those whose result was there already.
    pub(crate) cached: usize,
}

impl Tally {
    /// Counts one event.
    pub(crate) fn count(&mut self, event: &Event) {
        match event {
            Event::Done { .. } => self.ran += 1,
            Event::Cached { .. } => self.cached += 1,
            Event::Started { .. }
            | Event::Missed { .. }
            | Event::Output { .. }
            | Event::Progress { .. }
            | Event::Failed { .. }
            | Event::Canceled { .. }
            | Event::Warning { .. } => {}
        }
    }
}

/// Where lines go. A reader that has gone away is no reason to fail a build.
struct Sink<W> {
    to: W,
    gone: bool,
}

impl<W: Write> Sink<W> {
    fn new(to: W) -> Self {
        Self { to, gone: false }
    }

    fn write(&mut self, text: &str) {
        if !self.gone {
            self.gone = self.to.write_all(text.as_bytes()).is_err();
        }
    }
}

/// Shows a duration as docker does.
fn seconds(duration: Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

#[cfg(test)]
mod story {
    //! One build as its events tell it, for the tests of all displays.

    use super::*;
    use kiln::event::{StepId, Stream};

    pub(super) fn started(step: u32, name: &str) -> Event {
        Event::Started { step: StepId(step), name: name.into() }
    }

    pub(super) fn cached(step: u32, name: &str) -> Event {
        Event::Cached { step: StepId(step), name: name.into() }
    }

    pub(super) fn missed(step: u32, why: &str) -> Event {
        Event::Missed { step: StepId(step), why: why.into() }
    }

    pub(super) fn output(step: u32, text: &str) -> Event {
        Event::Output { step: StepId(step), stream: Stream::Stdout, bytes: text.into() }
    }

    pub(super) fn errors(step: u32, text: &str) -> Event {
        Event::Output { step: StepId(step), stream: Stream::Stderr, bytes: text.into() }
    }

    pub(super) fn moving(step: u32, current: u64, total: u64) -> Event {
        Event::Progress { step: StepId(step), what: "sha256:ab".into(), current, total }
    }

    pub(super) fn done(step: u32, millis: u64) -> Event {
        Event::Done { step: StepId(step), took: Duration::from_millis(millis) }
    }

    pub(super) fn failed(step: u32, message: &str) -> Event {
        Event::Failed { step: StepId(step), message: message.into() }
    }

    pub(super) fn canceled(step: u32) -> Event {
        Event::Canceled { step: StepId(step) }
    }

    pub(super) fn warning(message: &str) -> Event {
        Event::Warning { message: message.into() }
    }

    /// Two steps side by side, one from the cache, one that fails, one that is stopped.
    pub(super) fn build() -> Vec<(u64, Event)> {
        vec![
            (0, started(0, "[internal] load build definition from Dockerfile")),
            (20, done(0, 20)),
            (30, started(1, "[base 1/2] FROM docker.io/library/debian:13")),
            (40, moving(1, 0, 45_600_000)),
            (50, cached(2, "[tools 2/2] WORKDIR /src")),
            (60, moving(1, 12_300_000, 45_600_000)),
            (70, moving(1, 45_600_000, 45_600_000)),
            (80, done(1, 50)),
            (100, started(3, "[build 2/4] RUN make \x1b[2J\nall")),
            (110, started(4, "[docs 2/3] RUN doc")),
            (223, output(3, "gcc -c a")),
            (250, output(4, "10%\r50%\r")),
            (260, output(3, ".c\ngcc -c b.c\r\n")),
            (270, errors(3, "b.c:1: \x1b[31merror\x1b[0m\x1b[K")),
            (300, output(4, "100%\n")),
            (400, warning("stage `x` is not used")),
            (500, failed(3, "process `make` did not complete successfully: exit code: 2")),
            (510, canceled(4)),
        ]
    }

    #[test]
    fn tally() {
        let mut tally = Tally::default();
        build().iter().for_each(|(_, event)| tally.count(event));
        assert_eq!(tally, Tally { ran: 2, cached: 1 });
    }
}
