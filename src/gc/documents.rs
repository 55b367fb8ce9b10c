//! What manifests, indexes and configs name, whatever kind of document they are.
//!
//! Nothing is understood beyond descriptors and diff ids: a document of a kind that kiln does not know must not lose
//! what it names. Of one that cannot be taken apart (what is nested too deeply for that, say, in a field that nobody
//! reads) whatever looks like a digest counts.

use serde_json::Value;

use crate::digest::{ChainId, DiffId, Digest};

/// What a document names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) blobs: Vec<Digest>,
    /// Of a config.
    pub(super) diff_ids: Vec<DiffId>,
    pub(super) chains: Vec<ChainId>,
}

/// The largest file that may be a document, as the store has it.
pub(super) const LARGEST: u64 = crate::store::SMALL_BLOB_LIMIT;

impl Named {
    /// Reads a blob; `None` if it is no document.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        if bytes.first() != Some(&b'{') {
            return None;
        }
        let mut named = Self::default();
        let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
            named.blobs = digests(bytes).collect();
            return Some(named).filter(|named| !named.blobs.is_empty());
        };
        named.descriptors(&document);
        let diff_ids = document["rootfs"]["diff_ids"].as_array().into_iter().flatten();
        named.diff_ids = diff_ids.filter_map(|id| id.as_str()?.parse().ok()).collect();
        named.chains = ChainId::of_each(&named.diff_ids).collect();
        Some(named)
    }

    fn descriptors(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let digest = fields.get("digest").and_then(Value::as_str);
                self.blobs.extend(digest.and_then(|text| text.parse::<Digest>().ok()));
                fields.values().for_each(|value| self.descriptors(value));
            }
            Value::Array(values) => values.iter().for_each(|value| self.descriptors(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// Returns the first digest in a record of a tag, an image id, a compressed layer or a download.
pub(super) fn first_digest(body: &[u8]) -> Option<Digest> {
    digests(body).next()
}

/// Returns all digests that stand in a text.
fn digests(text: &[u8]) -> impl Iterator<Item = Digest> {
    const LENGTH: usize = "sha256:".len() + 64;
    let places = text.windows(LENGTH).filter(|window| window.starts_with(b"sha256:"));
    places.filter_map(|window| std::str::from_utf8(window).ok()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_descriptor_counts() {
        let digests = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes));
        let [a, b, c] = digests;
        let text = format!(
            r#"{{"config":{{"digest":"{a}"}},"layers":[{{"digest":"{b}","x":{{"digest":"md5:1"}}}}],"subject":{{"digest":"{c}"}}}}"#
        );
        assert_eq!(Named::read(text.as_bytes()).unwrap().blobs, digests);
        let id = DiffId::from_bytes([1; 32]);
        let text = format!(r#"{{"rootfs":{{"diff_ids":["{id}","{id}"]}}}}"#);
        let named = Named::read(text.as_bytes()).unwrap();
        assert_eq!((named.diff_ids.len(), named.chains.len()), (2, 2));
        assert_eq!(Named::read(b"\x1f\x8b"), None);
        assert_eq!(Named::read(b"{ no document"), None);
    }

    #[test]
    fn what_others_can_read_names_something_too() {
        let (digest, deep) = (Digest::of(b"a"), format!("{}{}", "[".repeat(200), "]".repeat(200)));
        for odd in [deep.as_str(), "1e999", r#""\ud800""#] {
            let text = format!(r#"{{"odd":{odd},"layers":[{{"digest":"{digest}"}}]}}"#);
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(text.as_bytes()).is_ok());
            assert_eq!(Named::read(text.as_bytes()).unwrap().blobs, [digest], "{odd}");
        }
    }

    #[test]
    fn digests_of_records() {
        let digest = Digest::of(b"a");
        for body in [format!("{digest}\nname\n"), format!(r#"{{"digest":"{digest}"}}"#)] {
            assert_eq!(first_digest(body.as_bytes()), Some(digest));
        }
        assert_eq!(first_digest(b"sha256:12"), None);
    }
}
