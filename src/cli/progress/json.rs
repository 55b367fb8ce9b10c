//! One JSON object per line, in the shape of BuildKit's `--progress=rawjson` (its `SolveStatus`).
//!
//! Tools that draw builds from that stream draw kiln's too. A step is a vertex; its digest is derived from its number
//! and means nothing beyond this stream. Bytes of logs are as the command wrote them, in base64.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use kiln::digest::Digest;
use kiln::event::{Event, StepId, Stream};
use serde_json::{Map, Value, json};

use super::{Display, Sink};
use crate::cli::report::CommandOutput;

/// The display.
pub(super) struct Json<W> {
    sink: Sink<W>,
    epoch: Timestamp,
    steps: BTreeMap<StepId, Step>,
}

struct Step {
    name: String,
    started: String,
    moving: BTreeMap<String, String>,
}

impl<W: Write> Json<W> {
    /// One that writes to `to`, for a build that began at `epoch`.
    pub(super) fn new(to: W, epoch: Timestamp) -> Self {
        Self { sink: Sink::new(to), epoch, steps: BTreeMap::new() }
    }

    fn time(&self, at: Duration) -> String {
        let since = SignedDuration::try_from(at).unwrap_or(SignedDuration::ZERO);
        self.epoch.checked_add(since).unwrap_or(self.epoch).to_string()
    }

    fn line(&mut self, list: &str, item: Map<String, Value>) {
        self.sink.write(&format!("{}\n", json!({ list: [item] })));
    }

    fn begin(&mut self, step: StepId, name: &str, at: Duration) {
        let begun = Step { name: name.to_owned(), started: self.time(at), moving: BTreeMap::new() };
        self.steps.insert(step, begun);
    }

    /// Fields that come with every mention of a vertex, and those of `more`.
    fn vertex(&mut self, step: StepId, more: Value) {
        let mut item = object(json!({ "digest": vertex_digest(step) }));
        if let Some(known) = self.steps.get(&step) {
            item.extend(object(json!({ "name": known.name, "started": known.started })));
        }
        item.extend(object(more));
        self.line("vertexes", item);
    }

    fn log(&mut self, step: StepId, stream: Stream, bytes: &[u8], now: &str) {
        let stream = match stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
        };
        let (vertex, data) = (vertex_digest(step), STANDARD.encode(bytes));
        let item = json!({ "vertex": vertex, "stream": stream, "data": data, "timestamp": now });
        self.line("logs", object(item));
    }

    fn status(&mut self, step: StepId, what: &str, bytes: (u64, u64), at: Duration) {
        let (current, total) = bytes;
        let now = self.time(at);
        let known = self.steps.get_mut(&step);
        let started = known.map(|s| s.moving.entry(what.to_owned()).or_insert(now.clone()).clone());
        let mut item = object(json!({ "id": what, "vertex": vertex_digest(step) }));
        if total > 0 {
            item.insert("total".into(), total.into());
        }
        item.insert("current".into(), current.into());
        item.insert("timestamp".into(), now.clone().into());
        item.extend(started.map(|started| ("started".to_owned(), started.into())));
        if total > 0 && current >= total {
            item.insert("completed".into(), now.into());
        }
        self.line("statuses", item);
    }
}

fn vertex_digest(step: StepId) -> String {
    Digest::of(format!("step {}", step.0).as_bytes()).to_string()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl<W: Write> Display for Json<W> {
    fn event(&mut self, event: &Event, at: Duration) {
        let now = self.time(at);
        match event {
            Event::Started { step, name } => {
                self.begin(*step, name, at);
                self.vertex(*step, json!({}));
            }
            Event::Cached { step, name } => {
                self.begin(*step, name, at);
                self.vertex(*step, json!({ "completed": now, "cached": true }));
            }
            Event::Missed { step, why } => {
                self.log(*step, Stream::Stderr, format!("not cached: {why}\n").as_bytes(), &now);
            }
            Event::Output { step, stream, bytes } => self.log(*step, *stream, bytes, &now),
            Event::Progress { step, what, current, total } => {
                self.status(*step, what, (*current, *total), at);
            }
            Event::Done { step, .. } => self.vertex(*step, json!({ "completed": now })),
            Event::Failed { step, message } => {
                self.vertex(*step, json!({ "completed": now, "error": message }));
            }
            Event::Canceled { step } => {
                self.vertex(*step, json!({ "completed": now, "error": "context canceled" }));
            }
            Event::Warning { message } => {
                let item = json!({ "level": 1, "short": STANDARD.encode(message) });
                self.line("warnings", object(item));
            }
        }
    }

    fn tick(&mut self, _: Duration) {}

    fn end(&mut self) {}

    fn command_output(&self) -> CommandOutput {
        CommandOutput::Show
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{cached, canceled, done, failed, moving, output, started, warning};
    use super::*;

    fn lines(events: &[(u64, Event)]) -> String {
        let mut text = Vec::new();
        let mut json = Json::new(&mut text, Timestamp::UNIX_EPOCH);
        for (millis, event) in events {
            json.event(event, Duration::from_millis(*millis));
        }
        let digests = [0, 1].map(|step| vertex_digest(StepId(step)));
        String::from_utf8(text).unwrap().replace(&digests[0], "D0").replace(&digests[1], "D1")
    }

    #[test]
    fn the_shape_is_buildkits() {
        let events = [
            (0, started(0, "RUN x")),
            (5, cached(1, "COPY . .")),
            (10, output(0, "hi\n")),
            (20, moving(0, 1, 2)),
            (30, moving(0, 2, 2)),
            (1500, done(0, 1500)),
            (1600, failed(0, "exit code: 2")),
            (1700, canceled(1)),
            (1800, warning("careful")),
        ];
        let expected = r#"{"vertexes":[{"digest":"D0","name":"RUN x","started":"1970-01-01T00:00:00Z"}]}
{"vertexes":[{"digest":"D1","name":"COPY . .","started":"1970-01-01T00:00:00.005Z","completed":"1970-01-01T00:00:00.005Z","cached":true}]}
{"logs":[{"vertex":"D0","stream":1,"data":"aGkK","timestamp":"1970-01-01T00:00:00.01Z"}]}
{"statuses":[{"id":"sha256:ab","vertex":"D0","total":2,"current":1,"timestamp":"1970-01-01T00:00:00.02Z","started":"1970-01-01T00:00:00.02Z"}]}
{"statuses":[{"id":"sha256:ab","vertex":"D0","total":2,"current":2,"timestamp":"1970-01-01T00:00:00.03Z","started":"1970-01-01T00:00:00.02Z","completed":"1970-01-01T00:00:00.03Z"}]}
{"vertexes":[{"digest":"D0","name":"RUN x","started":"1970-01-01T00:00:00Z","completed":"1970-01-01T00:00:01.5Z"}]}
{"vertexes":[{"digest":"D0","name":"RUN x","started":"1970-01-01T00:00:00Z","completed":"1970-01-01T00:00:01.6Z","error":"exit code: 2"}]}
{"vertexes":[{"digest":"D1","name":"COPY . .","started":"1970-01-01T00:00:00.005Z","completed":"1970-01-01T00:00:01.7Z","error":"context canceled"}]}
{"warnings":[{"level":1,"short":"Y2FyZWZ1bA=="}]}
"#;
        assert_eq!(lines(&events), expected);
    }
}
