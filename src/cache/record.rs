//! What a step made, as a record of the store.

use serde::{Deserialize, Serialize};

use super::Key;
use crate::digest::{CacheKey, ContentDigest};
use crate::store::{RecordKind, Result, Store};

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The layers that it put on its base, lowest first, by their names among the snapshots: one for a step of the
    /// build, all of them for an image.
    pub layers: Vec<String>,
    /// The identity of the whole file system after the step, in hexadecimal.
    pub tree: String,
    /// When it was made, in nanoseconds since the epoch; `None`: it is an image's.
    pub created: Option<i64>,
    /// What people saw.
    pub name: String,
    /// How long that took, in milliseconds; `None`: nobody knows.
    #[serde(default)]
    pub took: Option<u64>,
    /// The definition key of the step that it was done upon, in hexadecimal: without that one it is hard to find.
    #[serde(default)]
    pub base: Option<String>,
    /// Name and digest of each part of the key.
    #[serde(default)]
    pub parts: Vec<(String, String)>,
}

impl StepRecord {
    /// Reads what [`remember`] wrote; `None` if it is nonsense.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(body).ok()?;
        let is_name = |layer: &String| ContentDigest::from_hex(layer).is_ok();
        let is_whole = record.identity().is_some() && record.layers.iter().all(is_name);
        is_whole.then_some(record)
    }

    /// Returns the identity of the file system; `None` if the record is nonsense.
    pub fn identity(&self) -> Option<ContentDigest> {
        ContentDigest::from_hex(&self.tree).ok()
    }
}

/// Returns what the step of that key made, if it is known and its layers are still there. Marks it as used.
pub fn find(store: &Store, key: &CacheKey) -> Result<Option<StepRecord>> {
    let Some(body) = store.record(RecordKind::Step, &key.hex())? else { return Ok(None) };
    let Some(record) = StepRecord::parse(&body) else { return Ok(None) };
    let there = record.layers.iter().all(|layer| store.has_snapshot(layer));
    Ok(Some(record).filter(|_| there))
}

/// The same by the key's hexadecimal name, only to read it: neither it nor its layers are held.
pub(super) fn peek(store: &Store, name: &str) -> Result<Option<StepRecord>> {
    let Some(body) = store.peek_record(RecordKind::Step, name)? else { return Ok(None) };
    let there = |layer: &String| store.snapshot_dir(layer).join("changes").exists();
    Ok(StepRecord::parse(&body).filter(|record| record.layers.iter().all(there)))
}

/// Writes down what a step made.
pub fn remember(store: &Store, key: &Key, record: &StepRecord) -> Result<()> {
    let record = StepRecord { parts: shown(key), ..record.clone() };
    let body = serde_json::to_vec(&record).expect("strings and numbers always serialise");
    store.put_record(RecordKind::Step, &key.key.hex(), &body)
}

/// Name and digest of each part of a key as a record has them, short: they are compared, never looked up.
fn shown(key: &Key) -> Vec<(String, String)> {
    key.parts.iter().map(|(name, digest)| (name.clone(), digest.hex()[..16].to_owned())).collect()
}

impl StepRecord {
    /// Returns the names of the parts of `key` that this step was made without, with another value, or with and the
    /// key is not, in the key's order.
    pub fn differing(&self, key: &Key) -> Vec<String> {
        let now = shown(key);
        let gone = self.parts.iter().filter(|(name, _)| now.iter().all(|(other, _)| other != name));
        let new = now.iter().filter(|part| !self.parts.contains(part));
        new.chain(gone).map(|(name, _)| name.clone()).collect()
    }
}
