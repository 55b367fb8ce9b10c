//! Progress as plain lines: `#3 [build 2/5] RUN make`, `#3 0.512 output`, `#3 DONE 1.2s`.

use std::collections::BTreeMap;
use std::time::Instant;

use kiln::event::{Event, StepId};

use super::progress::{Lines, harmless};

#[derive(Debug)]
struct Step {
    number: usize,
    start: Instant,
    lines: Lines,
}

/// Turns events into lines.
#[derive(Debug, Default)]
pub(super) struct Plain {
    steps: BTreeMap<StepId, Step>,
    next: usize,
}

impl Plain {
    /// Returns the lines that an event makes.
    pub(super) fn event(&mut self, event: Event) -> Vec<String> {
        match event {
            Event::Started { step, name } => {
                vec![format!("#{} {}", self.number(step), harmless(&name))]
            }
            Event::Cached { step, name } => {
                let number = self.number(step);
                vec![format!("#{number} {}", harmless(&name)), format!("#{number} CACHED")]
            }
            Event::Output { step, bytes, .. } => {
                let number = self.number(step);
                let Some(step) = self.steps.get_mut(&step) else { return Vec::new() };
                let elapsed = step.start.elapsed().as_secs_f64();
                let lines = step.lines.push(&bytes);
                lines.iter().map(|line| format!("#{number} {elapsed:.3} {line}")).collect()
            }
            Event::Progress { .. } => Vec::new(),
            Event::Done { step, took } => {
                self.end(step, &format!("DONE {:.1}s", took.as_secs_f64()))
            }
            Event::Failed { step, message } => {
                self.end(step, &format!("ERROR: {}", harmless(&message)))
            }
            Event::Canceled { step } => self.end(step, "CANCELED"),
            Event::Warning { message } => vec![format!("warning: {}", harmless(&message))],
        }
    }

    /// Returns what was held back.
    pub(super) fn finish(&mut self) -> Vec<String> {
        let rest = self.steps.values_mut().filter_map(|step| {
            let line = step.lines.rest()?;
            Some(format!("#{} {line}", step.number))
        });
        rest.collect()
    }

    fn number(&mut self, step: StepId) -> usize {
        let next = &mut self.next;
        let known = self.steps.entry(step).or_insert_with(|| {
            *next += 1;
            Step { number: *next, start: Instant::now(), lines: Lines::default() }
        });
        known.number
    }

    fn end(&mut self, step: StepId, how: &str) -> Vec<String> {
        let number = self.number(step);
        let mut lines = Vec::new();
        if let Some(step) = self.steps.get_mut(&step) {
            let elapsed = step.start.elapsed().as_secs_f64();
            lines.extend(step.lines.rest().map(|line| format!("#{number} {elapsed:.3} {line}")));
        }
        lines.push(format!("#{number} {how}"));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::event::Stream;
    use std::time::Duration;

    #[test]
    fn a_build_as_lines() {
        let (a, b) = (StepId(7), StepId(3));
        let events = [
            Event::Started { step: a, name: "[1/2] RUN x\x1b[2J".into() },
            Event::Cached { step: b, name: "[2/2] COPY".into() },
            Event::Output { step: a, stream: Stream::Stdout, bytes: b"half".to_vec() },
            Event::Failed { step: a, message: "exited with code 1".into() },
            Event::Warning { message: "careful".into() },
            Event::Done { step: b, took: Duration::from_millis(1250) },
        ];
        let mut plain = Plain::default();
        let lines: Vec<_> = events.into_iter().flat_map(|event| plain.event(event)).collect();
        let timed = lines[3].split(' ').next_back();
        assert_eq!(timed, Some("half"));
        let others: Vec<_> = [0, 1, 2, 4, 5, 6].iter().map(|i| lines[*i].as_str()).collect();
        let expected = [
            "#1 [1/2] RUN x[2J",
            "#2 [2/2] COPY",
            "#2 CACHED",
            "#1 ERROR: exited with code 1",
            "warning: careful",
            "#2 DONE 1.2s",
        ];
        assert_eq!(others, expected);
    }
}
