//! The reference's own answers, `testdata/corpus` or the folder that the environment variable `KILN_CORPUS` names, and
//! what differs from them.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

/// Returns the folder of the corpus.
pub(crate) fn folder() -> PathBuf {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/corpus");
    std::env::var_os("KILN_CORPUS").map_or_else(|| PathBuf::from(own), PathBuf::from)
}

/// Reads one of its JSON files.
pub(crate) fn read(name: &str) -> Value {
    let path = folder().join(name);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap()
}

/// Collects what differs, to show all of it at once.
#[derive(Default)]
pub(crate) struct Differences {
    pub(crate) rows: usize,
    found: Vec<String>,
}

impl Differences {
    pub(crate) fn compare(&mut self, what: &str, ours: &Value, golden: &Value) {
        match (ours, golden) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                    let (ours, golden) = (of(a).unwrap_or_default(), of(b).unwrap_or_default());
                    self.compare(&format!("{what}.{key}"), &ours, &golden);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (index, (ours, golden)) in a.iter().zip(b).enumerate() {
                    self.compare(&format!("{what}[{index}]"), ours, golden);
                }
            }
            _ if ours == golden => {}
            _ => self.note(format!("{what}: ours {ours}, reference {golden}")),
        }
    }

    pub(crate) fn note(&mut self, text: String) {
        self.found.push(text);
    }

    pub(crate) fn finish(self) {
        let (rows, count) = (self.rows, self.found.len());
        assert!(rows > 0, "the corpus has no rows");
        assert!(count == 0, "{count} differences in {rows} rows:\n{}", self.found.join("\n"));
    }
}
