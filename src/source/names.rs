//! What the local store knows by name: images by reference, layers by chain.

use super::SourceError;
use crate::digest::{ChainId, ContentDigest, DiffId, Digest};
use crate::oci::Reference;
use crate::snapshot::LayerId;
use crate::store::{RecordKind, Store, StoreError};

/// Returns the file name under which a reference is kept: the reference with odd bytes escaped, or its digest if that
/// is longer than a file name may be. What the name is stands in the record.
fn tag_name(reference: &Reference) -> String {
    const LONGEST: usize = 255;
    let text = reference.to_string();
    let escaped = text.bytes().fold(String::new(), |mut name, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                name.push(char::from(byte))
            }
            other => name.push_str(&format!("%{other:02x}")),
        }
        name
    });
    if escaped.len() > LONGEST { ContentDigest::of(text.as_bytes()).hex() } else { escaped }
}

/// Returns the manifest or index that a name means in the local store.
pub fn tag(store: &Store, reference: &Reference) -> Result<Option<Digest>, SourceError> {
    let body = store.record(RecordKind::Tag, &tag_name(reference))?;
    let text = body.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|text| text.lines().next()?.parse().ok()))
}

/// Gives a name to a manifest or index of the local store.
pub fn set_tag(store: &Store, reference: &Reference, digest: &Digest) -> Result<(), SourceError> {
    let reference = reference.clone().or_latest();
    // Held, so that nobody collects it before its name is known.
    if store.blob_size(digest).is_none() {
        return Err(StoreError::Missing(*digest).into());
    }
    // A tag that stands already is not written again: a rebuild without changes writes nothing.
    if tag(store, &reference)? == Some(*digest) {
        return Ok(());
    }
    let body = format!("{digest}\n{reference}\n");
    Ok(store.put_record(RecordKind::Tag, &tag_name(&reference), body.as_bytes())?)
}

/// Takes a name away.
pub fn remove_tag(store: &Store, reference: &Reference) -> Result<(), SourceError> {
    Ok(store.remove_record(RecordKind::Tag, &tag_name(reference))?)
}

/// Lists the names of the local store with what they mean, sorted.
pub fn tags(store: &Store) -> Result<Vec<(Reference, Digest)>, SourceError> {
    let mut tags = Vec::new();
    for name in store.record_names(RecordKind::Tag)? {
        let Some(body) = store.peek_record(RecordKind::Tag, &name)? else { continue };
        tags.extend(read_tag(&body));
    }
    tags.sort();
    Ok(tags)
}

/// Reads the body of a record of [`RecordKind::Tag`]; `None` if it is nonsense.
pub fn read_tag(body: &[u8]) -> Option<(Reference, Digest)> {
    let mut lines = std::str::from_utf8(body).ok()?.lines();
    let digest = lines.next()?.parse().ok()?;
    Some((Reference::parse(lines.next()?).ok()?, digest))
}

/// Notes which manifest an image id (the digest of a config) stands for.
pub fn set_id(store: &Store, config: &Digest, manifest: &Digest) -> Result<(), SourceError> {
    let body = manifest.to_string();
    if store.record(RecordKind::Image, &config.hex())?.as_deref() == Some(body.as_bytes()) {
        return Ok(());
    }
    Ok(store.put_record(RecordKind::Image, &config.hex(), body.as_bytes())?)
}

/// Takes an image id away.
pub fn remove_id(store: &Store, config: &Digest) -> Result<(), SourceError> {
    Ok(store.remove_record(RecordKind::Image, &config.hex())?)
}

/// Returns the image ids that stand for a manifest.
pub fn ids_of(store: &Store, manifest: &Digest) -> Result<Vec<Digest>, SourceError> {
    let mut ids = Vec::new();
    for id in store.record_names(RecordKind::Image)? {
        let body = store.record(RecordKind::Image, &id)?.unwrap_or_default();
        if body == manifest.to_string().as_bytes() {
            ids.extend(format!("sha256:{id}").parse::<Digest>().ok());
        }
    }
    Ok(ids)
}

/// Returns the manifests of the image ids that begin with `text`: hexadecimal digits, with or without `sha256:`.
pub fn by_id(store: &Store, text: &str) -> Result<Vec<Digest>, SourceError> {
    let prefix = text.strip_prefix("sha256:").unwrap_or(text);
    if prefix.is_empty() || prefix.contains(|c: char| !matches!(c, '0'..='9' | 'a'..='f')) {
        return Ok(Vec::new());
    }
    let ids = store.record_names(RecordKind::Image)?;
    let mut found = Vec::new();
    for id in ids.iter().filter(|id| id.starts_with(prefix)) {
        let body = store.record(RecordKind::Image, id)?.unwrap_or_default();
        found.extend(String::from_utf8(body).ok().and_then(|text| text.parse::<Digest>().ok()));
    }
    Ok(found)
}

/// Returns the layers of the store that are the lowest of a chain, as many as are known.
pub fn known_chain(store: &Store, diff_ids: &[DiffId]) -> Result<Vec<LayerId>, SourceError> {
    let mut known = Vec::new();
    for chain in ChainId::of_each(diff_ids) {
        let Some(body) = store.record(RecordKind::Chain, &chain.hex())? else { break };
        let Ok(id) = LayerId::parse(String::from_utf8_lossy(&body).trim()) else { break };
        if !store.has_snapshot(&id.name()) {
            break;
        }
        known.push(id);
    }
    Ok(known)
}

/// Notes which layer is the uppermost of a chain.
pub fn remember_chain(store: &Store, chain: ChainId, layer: LayerId) -> Result<(), SourceError> {
    let name = layer.name();
    if store.record(RecordKind::Chain, &chain.hex())?.as_deref() == Some(name.as_bytes()) {
        return Ok(());
    }
    Ok(store.put_record(RecordKind::Chain, &chain.hex(), name.as_bytes())?)
}

/// How many repositories are remembered for one blob.
const MOST_PLACES: usize = 8;

/// Returns under which name of [`RecordKind::Blob`] it is noted which repositories have a blob.
pub fn place_name(blob: &Digest) -> String {
    format!("at-{}", blob.hex())
}

/// Returns the repositories that have had a blob, the last one first.
pub fn places(store: &Store, blob: Digest) -> Result<Vec<Reference>, SourceError> {
    let body = store.record(RecordKind::Blob, &place_name(&blob))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    Ok(text.lines().filter_map(|line| Reference::parse(line).ok()).collect())
}

/// Notes that a repository has a blob, so that others of its registry need not be sent it.
pub fn remember_place(
    store: &Store,
    blob: Digest,
    repository: &Reference,
) -> Result<(), SourceError> {
    let repository = repository.repository();
    let mut known = places(store, blob)?;
    if known.first() == Some(&repository) {
        return Ok(());
    }
    known.retain(|other| *other != repository);
    known.insert(0, repository);
    known.truncate(MOST_PLACES);
    let body: String = known.iter().map(|place| format!("{place}\n")).collect();
    Ok(store.put_record(RecordKind::Blob, &place_name(&blob), body.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_are_names_too() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        // With the registry that is put before them, the first is as long as a name may be.
        let names =
            ["a/".repeat(119) + "b", "app".to_owned()].map(|name| Reference::parse(&name).unwrap());
        for (index, name) in names.iter().enumerate() {
            let absent = set_tag(&store, name, &Digest::of(&[index as u8])).unwrap_err();
            assert!(matches!(absent, SourceError::Store(StoreError::Missing(_))));
            set_tag(&store, name, &store.put_blob(&[index as u8]).unwrap()).unwrap();
        }
        let tags = tags(&store).unwrap();
        let expected = names.map(Reference::or_latest);
        assert_eq!(
            tags.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        assert_eq!(tag(&store, &expected[0]).unwrap(), Some(Digest::of(&[0])));
    }
}
