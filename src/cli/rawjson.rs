//! Progress as JSON lines in the shape of BuildKit's `SolveStatus`: `vertexes`, `statuses`, `logs`, `warnings`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln::digest::Digest;
use kiln::event::{Event, StepId, Stream};
use serde_json::{Value, json};

/// Turns events into JSON lines.
#[derive(Debug, Default)]
pub(super) struct RawJson {
    vertexes: BTreeMap<StepId, Value>,
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn digest(step: StepId) -> String {
    // A stable name within one build is all that readers need.
    Digest::of(format!("step {}", step.0).as_bytes()).to_string()
}

impl RawJson {
    /// Returns the lines that an event makes.
    pub(super) fn event(&mut self, event: Event) -> Vec<String> {
        let value = match event {
            Event::Started { step, name } => {
                let vertex = json!({"digest": digest(step), "name": name, "started": now()});
                self.vertexes.insert(step, vertex.clone());
                json!({"vertexes": [vertex]})
            }
            Event::Cached { step, name } => json!({"vertexes": [
                {"digest": digest(step), "name": name, "started": now(), "completed": now(), "cached": true}
            ]}),
            Event::Output { step, stream, bytes } => {
                let number = if stream == Stream::Stdout { 1 } else { 2 };
                json!({"logs": [{
                    "vertex": digest(step), "stream": number, "data": STANDARD.encode(bytes), "timestamp": now()
                }]})
            }
            Event::Progress { step, what, current, total } => json!({"statuses": [{
                "id": what, "vertex": digest(step), "current": current, "total": total, "timestamp": now()
            }]}),
            Event::Done { step, .. } => self.completed(step, None),
            Event::Failed { step, message } => self.completed(step, Some(message)),
            Event::Canceled { step } => self.completed(step, Some("context canceled".to_owned())),
            Event::Warning { message } => {
                json!({"warnings": [{"level": 1, "short": STANDARD.encode(message)}]})
            }
        };
        vec![value.to_string()]
    }

    fn completed(&mut self, step: StepId, error: Option<String>) -> Value {
        let mut vertex =
            self.vertexes.remove(&step).unwrap_or_else(|| json!({"digest": digest(step)}));
        vertex["completed"] = Value::String(now());
        if let Some(error) = error {
            vertex["error"] = Value::String(error);
        }
        json!({"vertexes": [vertex]})
    }
}
