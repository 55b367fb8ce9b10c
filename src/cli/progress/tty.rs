//! Draws a `Screen` on a terminal that can move its cursor.
//!
//! All live lines together are the message of one bar, so that a frame is drawn at once or not at all; `indicatif`
//! keeps permanent lines above it. Decides nothing about what is shown.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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
    bar: ProgressBar,
    drawn: Duration,
    command_output: CommandOutput,
}

impl Tty {
    /// One on standard error.
    pub(super) fn new(terminal: Terminal, environment: &Environment) -> Self {
        let tail = environment.set("BUILDKIT_TTY_LOG_LINES").and_then(|count| count.parse().ok());
        let target = ProgressDrawTarget::stderr_with_hz(2 * FRAMES_PER_SECOND);
        Self::on(target, Screen::new(terminal, tail.unwrap_or(TAIL)))
    }

    fn on(target: ProgressDrawTarget, screen: Screen) -> Self {
        let style = ProgressStyle::with_template("{msg}").expect("the template is a constant");
        Self {
            screen,
            bar: ProgressBar::with_draw_target(None, target).with_style(style),
            drawn: Duration::ZERO,
            command_output: CommandOutput::Show,
        }
    }

    /// Says that there is nothing to draw on.
    pub(super) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    fn draw(&mut self, at: Duration) {
        self.bar.set_message(self.screen.live(at).join("\n"));
        self.drawn = at;
    }
}

impl Display for Tty {
    fn event(&mut self, event: &Event, at: Duration) {
        if let Event::Failed { .. } = event {
            self.command_output = CommandOutput::AlreadyShown;
        }
        let lines = self.screen.event(event, at);
        if !lines.is_empty() {
            self.draw(at);
            self.bar.println(lines.join("\n"));
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
        self.bar.finish_and_clear();
    }

    fn command_output(&self) -> CommandOutput {
        self.command_output
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::story;
    use super::*;
    use crate::cli::text::{self, Colours};

    const WIDTH: u16 = 60;

    /// Keeps what is written. Lines are padded to the width and end there, as a terminal has it.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl Paper {
        fn lines(&self) -> Vec<String> {
            let written = self.0.lock().unwrap();
            let lines =
                written.lines().map(|line| text::output_line(line.as_bytes(), Colours::Strip));
            let columns: Vec<Vec<char>> = lines.map(|line| line.chars().collect()).collect();
            let rows = columns.iter().flat_map(|line| line.chunks(WIDTH.into()));
            rows.map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
        }
    }

    impl indicatif::TermLike for Paper {
        fn width(&self) -> u16 {
            WIDTH
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)?;
            self.write_str("\n")
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_permanent_line_is_drawn_in_order() {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(paper.clone()), 20);
        let mut tty = Tty::on(target, Screen::new(Terminal::plain(WIDTH.into()), TAIL));
        let mut screen = Screen::new(Terminal::plain(WIDTH.into()), TAIL);
        let mut expected = Vec::new();
        for (millis, event) in story::build() {
            expected.extend(screen.event(&event, Duration::from_millis(millis)));
            tty.event(&event, Duration::from_millis(millis));
        }
        tty.end();
        // Live lines look like permanent ones: only the order tells whether one is missing.
        let drawn = paper.lines();
        let mut rows = drawn.iter();
        let missing: Vec<_> =
            expected.iter().filter(|line| !rows.any(|row| row == *line)).collect();
        assert_eq!(missing, Vec::<&String>::new(), "{drawn:#?}");
        assert_eq!(tty.command_output(), CommandOutput::AlreadyShown);
    }
}
