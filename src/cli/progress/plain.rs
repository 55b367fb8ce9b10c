//! One line after the other, for logs, pipes and people who want it so.
//!
//! ```text
//! #2 [build 2/4] RUN make
//! #2 0.123 gcc -c a.c
//! #2 DONE 0.3s
//! ```
//!
//! Lines of steps that run side by side are mixed; the number tells them apart. Nothing is left out.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use kiln::event::{Event, StepId, Stream};

use super::lines::Lines;
use super::{Display, Sink, seconds};
use crate::cli::environment::Terminal;
use crate::cli::report::{self, CommandOutput};
use crate::cli::text;

/// The display.
pub(super) struct Plain<W> {
    sink: Sink<W>,
    terminal: Terminal,
    steps: BTreeMap<StepId, Step>,
}

struct Step {
    number: usize,
    started: Duration,
    stdout: Lines,
    stderr: Lines,
    moved: Vec<Moved>,
}

struct Moved {
    what: String,
    finished: bool,
    shown: Duration,
}

/// How often bytes that keep moving are mentioned, so that nobody takes the build for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

impl<W: Write> Plain<W> {
    /// One that writes to `to`.
    pub(super) fn new(to: W, terminal: Terminal) -> Self {
        Self { sink: Sink::new(to), terminal, steps: BTreeMap::new() }
    }

    fn head(&mut self, step: StepId, name: &str, at: Duration) -> usize {
        let number = self.step(step, at).number;
        let blank = if number > 1 { "\n" } else { "" };
        self.sink.write(&format!("{blank}#{number} {}\n", text::single_line(name)));
        number
    }

    fn step(&mut self, step: StepId, at: Duration) -> &mut Step {
        let number = self.steps.len() + 1;
        self.steps.entry(step).or_insert_with(|| Step {
            number,
            started: at,
            stdout: Lines::default(),
            stderr: Lines::default(),
            moved: Vec::new(),
        })
    }

    fn output(&mut self, step: StepId, piece: Option<(Stream, &[u8])>, at: Duration) {
        let colours = self.terminal.colours;
        let step = self.step(step, at);
        let since = at.saturating_sub(step.started).as_secs_f64();
        let (number, mut text) = (step.number, String::new());
        let mut line = |bytes: &[u8]| {
            let shown = text::output_line(bytes, colours);
            text += format!("#{number} {since:.3} {shown}").trim_end();
            text.push('\n');
        };
        match piece {
            Some((Stream::Stdout, bytes)) => step.stdout.push(bytes, line),
            Some((Stream::Stderr, bytes)) => step.stderr.push(bytes, line),
            None => {
                step.stdout.flush(&mut line);
                step.stderr.flush(&mut line);
            }
        }
        self.sink.write(&text);
    }

    /// Bytes are shown when they begin to move, seldom in between, and when all have moved.
    fn moved(&mut self, step: StepId, what: &str, bytes: (u64, u64), at: Duration) {
        let (current, total) = bytes;
        let finished = total > 0 && current >= total;
        let step = self.step(step, at);
        let number = step.number;
        match step.moved.iter_mut().find(|moved| moved.what == what) {
            Some(known) if known.finished => return,
            Some(known) if finished || at >= known.shown + SIGN_OF_LIFE => {
                known.finished = finished;
                known.shown = at;
            }
            Some(_) => return,
            None => step.moved.push(Moved { what: what.to_owned(), finished, shown: at }),
        }
        let amount = match bytes {
            (0, 0) => String::new(),
            (current, 0) => format!(" {}", text::bytes(current)),
            (_, total) if finished => format!(" {} done", text::bytes(total)),
            (current, total) => format!(" {} / {}", text::bytes(current), text::bytes(total)),
        };
        self.sink.write(&format!("#{number} {}{amount}\n", text::single_line(what)));
    }

    fn finish(&mut self, step: StepId, how: &str, at: Duration) {
        self.output(step, None, at);
        let number = self.step(step, at).number;
        self.sink.write(&format!("#{number} {how}\n"));
    }
}

impl<W: Write> Display for Plain<W> {
    fn event(&mut self, event: &Event, at: Duration) {
        match event {
            Event::Started { step, name } => {
                self.head(*step, name, at);
            }
            Event::Cached { step, name } => {
                let known = self.steps.get(step).map(|step| step.number);
                let number = known.unwrap_or_else(|| self.head(*step, name, at));
                self.sink.write(&format!("#{number} CACHED\n"));
            }
            Event::Missed { step, why } => {
                let number = self.step(*step, at).number;
                self.sink.write(&format!("#{number} not cached: {}\n", text::single_line(why)));
            }
            Event::Output { step, stream, bytes } => {
                self.output(*step, Some((*stream, bytes)), at);
            }
            Event::Progress { step, what, current, total } => {
                self.moved(*step, what, (*current, *total), at);
            }
            Event::Done { step, took } => {
                self.finish(*step, &format!("DONE {}", seconds(*took)), at)
            }
            Event::Failed { step, message } => {
                self.finish(*step, &format!("ERROR: {}", text::single_line(message)), at);
            }
            Event::Canceled { step } => self.finish(*step, "CANCELED", at),
            Event::Warning { message } => {
                self.sink.write(&report::warning(message, &self.terminal));
            }
        }
    }

    fn tick(&mut self, _: Duration) {}

    fn end(&mut self) {
        if !self.steps.is_empty() {
            self.sink.write("\n");
        }
    }

    fn command_output(&self) -> CommandOutput {
        // The log may be far above and mixed with others.
        CommandOutput::Show
    }
}

#[cfg(test)]
mod tests {
    use super::super::story;
    use super::*;

    #[test]
    fn a_build_in_plain_lines() {
        let mut text = Vec::new();
        let mut plain = Plain::new(&mut text, Terminal::plain(80));
        for (millis, event) in story::build() {
            plain.event(&event, Duration::from_millis(millis));
        }
        let expected = "\
#1 [internal] load build definition from Dockerfile
#1 DONE 0.0s

#2 [base 1/2] FROM docker.io/library/debian:13
#2 sha256:ab 0B / 45.6MB

#3 [tools 2/2] WORKDIR /src
#3 CACHED
#2 sha256:ab 45.6MB done
#2 DONE 0.1s

#4 [build 2/4] RUN make \u{fffd}[2J all

#5 [docs 2/3] RUN doc
#4 0.160 gcc -c a.c
#4 0.160 gcc -c b.c
#5 0.190 100%
warning: stage `x` is not used
#4 0.400 b.c:1: error
#4 ERROR: process `make` did not complete successfully: exit code: 2
#5 CANCELED
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn a_step_that_is_done_again_says_why() {
        let mut text = Vec::new();
        let mut plain = Plain::new(&mut text, Terminal::plain(80));
        plain.event(&story::started(7, "RUN make"), Duration::ZERO);
        plain.event(&story::missed(7, "`/a\nb` changed"), Duration::ZERO);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "#1 RUN make\n#1 not cached: `/a b` changed\n"
        );
    }

    #[test]
    fn slow_transfers_give_a_sign_of_life() {
        let mut text = Vec::new();
        let mut plain = Plain::new(&mut text, Terminal::plain(80));
        plain.event(&story::started(7, "FROM x"), Duration::ZERO);
        for second in 0..=25 {
            plain.event(&story::moving(7, second * 1000, 25_000), Duration::from_secs(second));
        }
        plain.event(&story::cached(7, "FROM x"), Duration::from_secs(26));
        let expected = "\
#1 FROM x
#1 sha256:ab 0B / 25.0kB
#1 sha256:ab 10.0kB / 25.0kB
#1 sha256:ab 20.0kB / 25.0kB
#1 sha256:ab 25.0kB done
#1 CACHED
";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
