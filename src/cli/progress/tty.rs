//! Draws a `Screen` on a terminal that can move its cursor.
//!
//! Every live line is one bar that consists of nothing but its message; `indicatif` limits how often it draws and
//! keeps permanent lines above. Decides nothing about what is shown.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln::event::Event;

use super::Display;
use super::screen::Screen;
use crate::cli::environment::{Environment, Terminal};
use crate::cli::report::CommandOutput;

const FRAMES_PER_SECOND: u8 = 10;
const TAIL: usize = 6;

/// The display.
pub(super) struct Tty {
    screen: Screen,
    bars: MultiProgress,
    lines: Vec<ProgressBar>,
    drawn: Duration,
    command_output: CommandOutput,
}

impl Tty {
    /// One on standard error.
    pub(super) fn new(terminal: Terminal, environment: &Environment) -> Self {
        let tail = environment.set("BUILDKIT_TTY_LOG_LINES").and_then(|count| count.parse().ok());
        let target = ProgressDrawTarget::stderr_with_hz(2 * FRAMES_PER_SECOND);
        Self {
            screen: Screen::new(terminal, tail.unwrap_or(TAIL)),
            bars: MultiProgress::with_draw_target(target),
            lines: Vec::new(),
            drawn: Duration::ZERO,
            command_output: CommandOutput::Show,
        }
    }

    fn draw(&mut self, at: Duration) {
        let live = self.screen.live(at);
        while self.lines.len() > live.len() {
            if let Some(line) = self.lines.pop() {
                self.bars.remove(&line);
            }
        }
        for (index, text) in live.into_iter().enumerate() {
            if index == self.lines.len() {
                let line = ProgressBar::no_length().with_style(message_only());
                self.lines.push(self.bars.add(line));
            }
            self.lines[index].set_message(text);
        }
        self.drawn = at;
    }
}

fn message_only() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").expect("the template is a constant")
}

impl Display for Tty {
    fn event(&mut self, event: &Event, at: Duration) {
        if let Event::Failed { .. } = event {
            self.command_output = CommandOutput::AlreadyShown;
        }
        for line in self.screen.event(event, at) {
            // A terminal that has gone away is no reason to fail a build.
            let _ = self.bars.println(line);
        }
        self.tick(at);
    }

    fn tick(&mut self, at: Duration) {
        let frame = Duration::from_secs(1) / FRAMES_PER_SECOND.into();
        if at >= self.drawn + frame {
            self.draw(at);
        }
    }

    fn end(&mut self) {
        for line in self.lines.drain(..) {
            line.finish_and_clear();
        }
        let _ = self.bars.clear();
    }

    fn command_output(&self) -> CommandOutput {
        self.command_output
    }
}
