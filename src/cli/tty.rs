//! Progress on a terminal: finished steps stay as lines, running ones move below them with their last output.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln::event::{Event, StepId};

use super::progress::{Lines, harmless};
use super::sizes;

/// How many lines of a running step's output are shown.
const TAIL: usize = 6;

/// How many steps move at once; more would not fit a small terminal.
const MOST_BARS: usize = 8;

struct Step {
    name: String,
    bar: ProgressBar,
    lines: Lines,
    tail: VecDeque<String>,
    /// Everything that it wrote, for the case that it fails; bounded.
    log: VecDeque<String>,
}

/// Shows events on standard error, which is a terminal.
pub(super) struct Tty {
    bars: MultiProgress,
    steps: BTreeMap<StepId, Step>,
    cached: usize,
}

impl Tty {
    pub(super) fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { bars, steps: BTreeMap::new(), cached: 0 }
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Started { step, name } => self.start(step, &name),
            Event::Cached { name, .. } => {
                self.cached += 1;
                self.say(&format!("CACHED {}", harmless(&name)));
            }
            Event::Output { step, bytes, .. } => self.output(step, &bytes),
            Event::Progress { step, what, current, total } => {
                if let Some(step) = self.steps.get(&step) {
                    let total = if total > 0 {
                        format!(" / {}", sizes::show(total))
                    } else {
                        String::new()
                    };
                    step.bar.set_message(format!(
                        "{} {what} {}{total}",
                        step.name,
                        sizes::show(current)
                    ));
                }
            }
            Event::Done { step, took } => {
                self.end(step, &format!("DONE {:>5.1}s", took.as_secs_f64()))
            }
            Event::Failed { step, .. } => self.fail(step),
            Event::Canceled { step } => self.end(step, "CANCELED"),
            Event::Warning { message } => self.say(&format!("warning: {}", harmless(&message))),
        }
    }

    /// Removes what moves.
    pub(super) fn finish(&mut self) {
        for (_, step) in std::mem::take(&mut self.steps) {
            step.bar.finish_and_clear();
        }
        // What is on the terminal stays as it is if clearing fails.
        let _ = self.bars.clear();
    }

    fn say(&self, line: &str) {
        // A terminal that is gone ends the build by its own signal.
        let _ = self.bars.println(line);
    }

    fn start(&mut self, step: StepId, name: &str) {
        let name = harmless(name);
        let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = match self.steps.len() < MOST_BARS {
            true => self.bars.add(ProgressBar::new_spinner()),
            false => ProgressBar::hidden(),
        };
        bar.set_style(style);
        bar.set_message(name.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        let (lines, tail, log) = Default::default();
        self.steps.insert(step, Step { name, bar, lines, tail, log });
    }

    fn output(&mut self, step: StepId, bytes: &[u8]) {
        const LONGEST_LOG: usize = 2000;
        let Some(step) = self.steps.get_mut(&step) else { return };
        for line in step.lines.push(bytes) {
            let line = harmless(&line);
            step.log.push_back(line.clone());
            step.tail.push_back(line);
            if step.tail.len() > TAIL {
                step.tail.pop_front();
            }
            if step.log.len() > LONGEST_LOG {
                step.log.pop_front();
            }
        }
        let tail: String = step.tail.iter().map(|line| format!("\n       {line}")).collect();
        step.bar.set_message(format!("{}{tail}", step.name));
    }

    fn end(&mut self, step: StepId, how: &str) {
        let Some(step) = self.steps.remove(&step) else { return };
        step.bar.finish_and_clear();
        self.say(&format!("{how} {}", step.name));
    }

    fn fail(&mut self, step: StepId) {
        let Some(mut step) = self.steps.remove(&step) else { return };
        step.bar.finish_and_clear();
        self.say(&format!("FAILED {}", step.name));
        step.log.extend(step.lines.rest().map(|line| harmless(&line)));
        for line in &step.log {
            self.say(&format!("       {line}"));
        }
    }
}
