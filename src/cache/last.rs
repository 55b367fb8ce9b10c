//! Which steps the last build of a Dockerfile had, so that one that is done again can say what changed.
//!
//! Kept beside the step records, not in them: a key knows nothing of Dockerfiles, and nothing is looked up by this.

use serde::{Deserialize, Serialize};

use super::record::{StepRecord, peek};
use crate::digest::ContentDigest;
use crate::store::{RecordKind, Store};

/// A step of the last build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastStep {
    /// What people saw, e.g. `[build 2/5] RUN make`.
    pub name: String,
    /// The content key under which its result was kept, in hexadecimal.
    pub key: String,
}

/// The steps of the last build, in the order of its graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBuild {
    /// The steps.
    pub steps: Vec<LastStep>,
}

impl LastBuild {
    /// Names the record of a build by what makes it the same build to a person: where it is, and what was asked for.
    pub fn name(parts: &[&[u8]]) -> String {
        let mut hasher = crate::digest::ContentHasher::default();
        parts.iter().for_each(|part| hasher.field(part));
        hasher.content().hex()
    }

    /// Reads it; nothing if there is none.
    pub fn load(store: &Store, name: &str) -> Self {
        let body = store.record(RecordKind::Build, name).ok().flatten().unwrap_or_default();
        Self::parse(&body).unwrap_or_default()
    }

    /// Reads what [`LastBuild::save`] wrote; `None` if it is nonsense.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Writes it down. A failure costs an explanation and nothing else.
    pub fn save(&self, store: &Store, name: &str) {
        let body = serde_json::to_vec(self).expect("strings always serialise");
        let _ = store.put_record(RecordKind::Build, name, &body);
    }

    /// Finds the step that a step of this build was: the one of the same name, else the one in the same place.
    pub fn find(&self, name: &str) -> Option<&LastStep> {
        let same = self.steps.iter().find(|step| step.name == name);
        same.or_else(|| self.steps.iter().find(|step| place(&step.name) == place(name)))
    }
}

impl LastStep {
    /// Returns what it made and of what, if that is still known.
    pub fn record(&self, store: &Store) -> Option<StepRecord> {
        ContentDigest::from_hex(&self.key).ok()?;
        peek(store, &self.key).ok().flatten()
    }
}

/// `[build 2` and `RUN` of `[build 2/5] RUN make`: how many steps there are is no part of a step's place.
fn place(name: &str) -> (&str, &str) {
    let (head, text) = name.split_once("] ").unwrap_or(("", name));
    let at = head.split('/').next().unwrap_or_default();
    (at, text.split(' ').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_found_by_its_name_and_then_by_its_place() {
        let step = |name: &str| LastStep { name: name.into(), key: String::new() };
        let last = LastBuild {
            steps: ["[a 1/3] RUN x", "[a 2/3] RUN y", "[a 3/3] COPY b /", "odd"].map(step).to_vec(),
        };
        let cases = [
            ("[a 2/3] RUN y", Some(1)),
            ("[a 1/4] RUN new", Some(0)),
            ("[a 1/3] COPY new /", None),
            ("[a 4/4] RUN y", None),
            ("odd", Some(3)),
        ];
        for (name, expected) in cases {
            assert_eq!(last.find(name), expected.map(|at: usize| &last.steps[at]), "{name}");
        }
    }
}
