//! What manifests, indexes and configs name, whatever kind of document they are.
//!
//! Nothing is understood beyond descriptors and diff ids: a document of a kind that kiln does not know must not lose
//! what it names.

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
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let mut named = Self::default();
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
    const LENGTH: usize = "sha256:".len() + 64;
    let text = std::str::from_utf8(body).ok()?;
    let start = text.find("sha256:")?;
    text.get(start..start + LENGTH)?.parse().ok()
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
