//! What instructions took of a context when it was last built: for as long as no file has changed, the identities of
//! what they take are known without a tree.
//!
//! The record is a sequence of digests of 32 bytes: the state of the context, then in turn how an instruction says
//! what it takes, and the identity of that.

use std::collections::BTreeMap;

use crate::digest::ContentDigest;
use crate::store::{RecordKind, Store};

/// What is known of one state of a context.
#[derive(Debug)]
pub(super) struct Selections {
    name: String,
    state: ContentDigest,
    known: BTreeMap<ContentDigest, ContentDigest>,
    changed: bool,
}

impl Selections {
    /// Reads what is known; nothing if there is no record, or one of another state.
    pub(super) fn load(store: &Store, name: String, state: ContentDigest) -> Self {
        let body = store.record(RecordKind::Selection, &name).ok().flatten().unwrap_or_default();
        let known = decode(&body).filter(|(of, _)| *of == state).map(|(_, known)| known);
        Self { name, state, known: known.unwrap_or_default(), changed: false }
    }

    pub(super) fn get(&self, how: ContentDigest) -> Option<ContentDigest> {
        self.known.get(&how).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn insert(&mut self, how: ContentDigest, identity: ContentDigest) {
        self.known.insert(how, identity);
        self.changed = true;
    }

    /// Writes down what is known, unless all of it was.
    pub(super) fn save(&self, store: &Store) {
        if self.changed {
            let _ = store.put_record(RecordKind::Selection, &self.name, &self.encode());
        }
    }

    fn encode(&self) -> Vec<u8> {
        let pairs = self.known.iter().flat_map(|(how, identity)| [how, identity]);
        let digests = std::iter::once(&self.state).chain(pairs);
        digests.flat_map(|digest| digest.as_bytes().iter().copied()).collect()
    }
}

/// Returns whether the body of a record of [`RecordKind::Selection`] makes sense.
pub fn reads_selections(body: &[u8]) -> bool {
    decode(body).is_some()
}

fn decode(body: &[u8]) -> Option<(ContentDigest, BTreeMap<ContentDigest, ContentDigest>)> {
    let (digests, rest) = body.as_chunks::<32>();
    let (state, pairs) = digests.split_first().filter(|_| rest.is_empty())?;
    let (pairs, odd) = pairs.as_chunks::<2>();
    let digest = |bytes: &[u8; 32]| ContentDigest::from_bytes(*bytes);
    let known = pairs.iter().map(|[how, identity]| (digest(how), digest(identity))).collect();
    odd.is_empty().then_some((digest(state), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let digest = |text: &str| ContentDigest::of(text.as_bytes());
        let known = BTreeMap::from([(digest("a"), digest("b")), (digest("c"), digest("d"))]);
        let selections = Selections {
            name: String::new(),
            state: digest("state"),
            known: known.clone(),
            changed: true,
        };
        let body = selections.encode();
        assert_eq!(decode(&body), Some((digest("state"), known)));
        for length in [0, 31, 64, 159] {
            assert!(!reads_selections(&body[..length]), "{length}");
        }
        assert!(reads_selections(&body[..32]));
    }
}
