//! What a terminal shows of a build: permanent lines that scroll away, and live lines beneath them.
//!
//! Pure: events go in, lines come out, and no line is wider than the terminal. Drawing them is `tty`'s work.

use std::collections::BTreeMap;
use std::time::Duration;

use kiln::event::{Event, StepId, Stream};

use super::lines::{Lines, Log};
use super::{Tally, seconds};
use crate::cli::environment::Terminal;
use crate::cli::paint::{Paint, Role};
use crate::cli::{report, text};

/// The state of the screen.
pub(super) struct Screen {
    terminal: Terminal,
    paint: Paint,
    /// Lines of output shown of each running step.
    tail: usize,
    running: BTreeMap<StepId, Running>,
    tally: Tally,
}

struct Running {
    name: String,
    started: Duration,
    /// Why its earlier result could not be used, if there was one.
    why: Option<String>,
    stdout: Lines,
    stderr: Lines,
    last: Stream,
    log: Log,
    moving: Vec<Moving>,
}

struct Moving {
    what: String,
    current: u64,
    total: u64,
}

impl Screen {
    /// An empty one.
    pub(super) fn new(terminal: Terminal, tail: usize) -> Self {
        let paint = Paint::of(&terminal);
        Self { terminal, paint, tail, running: BTreeMap::new(), tally: Tally::default() }
    }

    /// Takes one event and returns the permanent lines that it gives.
    pub(super) fn event(&mut self, event: &Event, at: Duration) -> Vec<String> {
        self.tally.count(event);
        match event {
            Event::Started { step, name } => {
                self.running.insert(*step, Running::new(name, at));
                Vec::new()
            }
            Event::Cached { step, name } => {
                self.running.remove(step);
                vec![self.step_line(Role::Cached, "CACHED ", &text::single_line(name), "")]
            }
            Event::Missed { step, why } => {
                if let Some(running) = self.running.get_mut(step) {
                    running.why = Some(text::single_line(why));
                }
                Vec::new()
            }
            Event::Output { step, stream, bytes } => {
                let colours = self.terminal.colours;
                if let Some(running) = self.running.get_mut(step) {
                    running.output(*stream, bytes, colours);
                }
                Vec::new()
            }
            Event::Progress { step, what, current, total } => {
                if let Some(running) = self.running.get_mut(step) {
                    running.moved(what, *current, *total);
                }
                Vec::new()
            }
            Event::Done { step, took } => {
                let Some(running) = self.running.remove(step) else { return Vec::new() };
                let line = self.step_line(Role::Done, "", &running.name, &seconds(*took));
                std::iter::once(line).chain(self.why_line(&running)).collect()
            }
            Event::Failed { step, message } => self.failed(*step, message, at),
            Event::Canceled { step } => {
                let Some(running) = self.running.remove(step) else { return Vec::new() };
                let took = seconds(at.saturating_sub(running.started));
                vec![self.step_line(Role::Dim, "CANCELED ", &running.name, &took)]
            }
            Event::Warning { message } => {
                vec![report::warning(message, &self.terminal).trim_end().to_owned()]
            }
        }
    }

    /// The whole log of a failed step stays on the screen.
    fn failed(&mut self, step: StepId, message: &str, at: Duration) -> Vec<String> {
        let Some(mut running) = self.running.remove(&step) else {
            let message = text::single_line(message);
            return vec![self.step_line(Role::Error, "ERROR ", &message, "")];
        };
        running.flush(self.terminal.colours);
        let took = seconds(at.saturating_sub(running.started));
        let mut lines = vec![self.step_line(Role::Error, "ERROR ", &running.name, &took)];
        lines.extend(self.why_line(&running));
        let (dropped, log) = running.log.all();
        if dropped > 0 {
            lines.push(format!("    | ({dropped} earlier lines are not shown)"));
        }
        // Not clipped: what went wrong is often at the end of a long line.
        lines.extend(log.map(|line| format!("    | {line}").trim_end().to_owned()));
        lines
    }

    fn why_line(&self, running: &Running) -> Option<String> {
        let line = format!("    not cached: {}", running.why.as_ref()?);
        Some(self.paint.role(Role::Dim, &text::clip(&line, self.columns())))
    }

    /// Returns the lines that are there only now.
    pub(super) fn live(&self, at: Duration) -> Vec<String> {
        let Tally { ran, cached } = self.tally;
        let counts = if ran + cached == 0 {
            String::new()
        } else {
            format!(" ({ran} done, {cached} cached)")
        };
        let mut lines = vec![format!("[+] Building {}{counts}", seconds(at))];
        let room = self.terminal.height.saturating_sub(2).max(2);
        let shown = self.running.len().min(room - 1);
        let spare = (room - 1).saturating_sub(shown) / shown.max(1);
        for running in self.running.values().take(shown) {
            let took = seconds(at.saturating_sub(running.started));
            lines.push(self.step_line(Role::Done, "", &running.name, &took));
            let detail = running.detail(spare.min(self.tail + running.moving.len()), self.tail);
            let detail = detail.iter().map(|line| text::clip(line, self.columns()));
            lines.extend(detail.map(|line| self.paint.role(Role::Dim, &line)));
        }
        lines
    }

    fn columns(&self) -> usize {
        self.terminal.width.saturating_sub(1).max(20)
    }

    /// ` => CACHED name            1.2s`
    fn step_line(&self, role: Role, how: &str, name: &str, took: &str) -> String {
        let room = self.columns().saturating_sub(4 + how.len() + took.len() + 1);
        let name = text::clip(name, room);
        let gap = if took.is_empty() { 0 } else { room - text::width(&name) + 1 };
        let head = self.paint.role(role, &format!("=> {how}"));
        format!(" {head}{name}{}{took}", " ".repeat(gap))
    }
}

impl Running {
    fn new(name: &str, at: Duration) -> Self {
        Self {
            name: text::single_line(name),
            started: at,
            why: None,
            stdout: Lines::default(),
            stderr: Lines::default(),
            last: Stream::Stdout,
            log: Log::default(),
            moving: Vec::new(),
        }
    }

    fn output(&mut self, stream: Stream, bytes: &[u8], colours: text::Colours) {
        self.last = stream;
        let log = &mut self.log;
        let line = |line: &[u8]| log.push(text::output_line(line, colours));
        match stream {
            Stream::Stdout => self.stdout.push(bytes, line),
            Stream::Stderr => self.stderr.push(bytes, line),
        }
    }

    fn flush(&mut self, colours: text::Colours) {
        let log = &mut self.log;
        let mut line = |line: &[u8]| log.push(text::output_line(line, colours));
        self.stdout.flush(&mut line);
        self.stderr.flush(&mut line);
    }

    fn moved(&mut self, what: &str, current: u64, total: u64) {
        self.moving.retain(|moving| moving.what != what);
        if total == 0 || current < total {
            self.moving.push(Moving { what: what.to_owned(), current, total });
            self.moving.sort_by(|a, b| a.what.cmp(&b.what));
        }
    }

    /// What is moving and the last lines of output, at most `room` lines, at most `tail` of output.
    fn detail(&self, room: usize, tail: usize) -> Vec<String> {
        let mut lines: Vec<_> = self.moving.iter().take(room).map(Moving::line).collect();
        let tail = tail.min(room - lines.len());
        let partial = match self.last {
            Stream::Stdout => self.stdout.partial(),
            Stream::Stderr => self.stderr.partial(),
        };
        let partial = (!partial.is_empty() && tail > 0)
            .then(|| text::output_line(partial, text::Colours::Strip));
        let whole = self.log.tail(tail - usize::from(partial.is_some()));
        let whole = whole.map(|line| text::output_line(line.as_bytes(), text::Colours::Strip));
        lines
            .extend(whole.chain(partial).map(|line| format!("    | {line}").trim_end().to_owned()));
        lines
    }
}

impl Moving {
    fn line(&self) -> String {
        let what = text::single_line(&self.what);
        let line = match (self.current, self.total) {
            (0, 0) => format!("    {what}"),
            (current, 0) => format!("    {what} {}", text::bytes(current)),
            (current, total) => {
                format!("    {what} {} / {}", text::bytes(current), text::bytes(total))
            }
        };
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{self, done, missed, moving, output, started};
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_stays_on_the_screen() {
        let mut screen = Screen::new(Terminal::plain(60), 6);
        let mut lines = Vec::new();
        for (millis, event) in story::build() {
            lines.extend(screen.event(&event, at(millis)));
        }
        let expected = [
            " => [internal] load build definition from Dockerfile   0.0s",
            " => CACHED [tools 2/2] WORKDIR /src",
            " => [base 1/2] FROM docker.io/library/debian:13        0.1s",
            "warning: stage `x` is not used",
            " => ERROR [build 2/4] RUN make \u{fffd}[2J all                0.4s",
            "    | gcc -c a.c",
            "    | gcc -c b.c",
            "    | b.c:1: error",
            " => CANCELED [docs 2/3] RUN doc                        0.4s",
        ];
        assert_eq!(lines, expected);
        assert_eq!(screen.live(at(600)), ["[+] Building 0.6s (2 done, 1 cached)"]);
    }

    #[test]
    fn what_is_there_only_now() {
        let mut screen = Screen::new(Terminal::plain(40), 2);
        let events = [
            started(0, "[base 1/2] FROM debian with a very long name"),
            moving(0, 1_500_000, 3_000_000),
            started(1, "[build 2/4] RUN make"),
            output(1, "one\ntwo\nthree\nfo"),
            output(1, "u"),
        ];
        for event in &events {
            assert_eq!(screen.event(event, at(1000)), Vec::<String>::new());
        }
        let expected = [
            "[+] Building 2.5s",
            " => [base 1/2] FROM debian with a… 1.5s",
            "    sha256:ab 1.5MB / 3.0MB",
            " => [build 2/4] RUN make           1.5s",
            "    | three",
            "    | fou",
        ];
        assert_eq!(screen.live(at(2500)), expected);
    }

    #[test]
    fn a_step_that_is_done_again_says_why() {
        let mut screen = Screen::new(Terminal::plain(40), 2);
        let mut lines = Vec::new();
        for event in [started(0, "RUN make"), missed(0, "`/src/a.c` changed"), done(0, 1)] {
            lines.extend(screen.event(&event, at(1)));
        }
        let expected =
            [" => RUN make                       0.0s", "    not cached: `/src/a.c` changed"];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_low_terminal_is_not_overrun() {
        let terminal = Terminal { height: 6, ..Terminal::plain(40) };
        let mut screen = Screen::new(terminal, 6);
        for step in 0..10 {
            screen.event(&started(step, "RUN x"), at(0));
            screen.event(&output(step, "a\nb\nc\n"), at(0));
        }
        assert_eq!(screen.live(at(0)).len(), 4);
        for step in 1..10 {
            screen.event(&done(step, 1), at(0));
        }
        assert_eq!(screen.live(at(0)).len(), 4);
    }
}
