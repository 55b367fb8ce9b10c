//! ADD of a file from the web.
//!
//! A download is kept as a blob, with a record of what the server said of it. One whose digest the Dockerfile
//! gives is not asked for again; any other is revalidated, and downloaded again only if it changed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::digest::{ContentDigest, ContentHasher, Digest};
use crate::event::Cancel;
use crate::fs::PathError;
use crate::graph::HttpSource;
use crate::layer::{
    Changes, Contents, Kind, Metadata, TarContents, Timestamp, Tree, TreePath, Xattrs,
};
use crate::registry::agent::{Agent, Method, Request, RequestBody, Response, Verification};
use crate::store::{RecordKind, Store};

/// What is known of a URL.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    digest: String,
    content: String,
    size: u64,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Known {
    fn digest(&self) -> Option<Digest> {
        self.digest.parse().ok()
    }
}

/// Brings a file here, as a tree that holds nothing else.
pub fn fetch(
    store: &Store,
    agent: &Agent,
    source: &HttpSource,
    progress: &dyn Fn(u64, u64),
    cancel: &Cancel,
) -> Result<Tree, SourceError> {
    let name = format!("http-{}", ContentDigest::of(source.url.as_bytes()).hex());
    let known = known(store, &name)?;
    if let (Some(known), Some(expected)) = (&known, &source.checksum)
        && known.digest().as_ref() == Some(expected)
    {
        return tree(store, source, known);
    }
    let response = send(agent, &source.url, known.as_ref())?;
    if let (304, Some(known)) = (response.status, &known) {
        return tree(store, source, known);
    }
    if !(200..300).contains(&response.status) {
        return Err(SourceError::Refused { url: source.url.clone(), status: response.status });
    }
    let fresh = download(store, source, response, (progress, cancel))?;
    let body = serde_json::to_vec(&fresh).expect("strings and numbers always serialise");
    store.put_record(RecordKind::Blob, &name, &body)?;
    tree(store, source, &fresh)
}

fn known(store: &Store, name: &str) -> Result<Option<Known>, SourceError> {
    let body = store.record(RecordKind::Blob, name)?.unwrap_or_default();
    let known: Option<Known> = serde_json::from_slice(&body).ok();
    Ok(known.filter(|known| {
        known.digest().is_some_and(|digest| store.blob_size(&digest) == Some(known.size))
    }))
}

fn send(agent: &Agent, url: &str, known: Option<&Known>) -> Result<Response, SourceError> {
    let mut headers = vec![("accept-encoding", "identity")];
    if let Some(etag) = known.and_then(|known| known.etag.as_deref()) {
        headers.push(("if-none-match", etag));
    } else if let Some(time) = known.and_then(|known| known.last_modified.as_deref()) {
        headers.push(("if-modified-since", time));
    }
    let request = Request {
        method: Method::GET,
        url,
        headers: &headers,
        authorization: None,
        verification: Verification::VerifyIfTls,
        body: RequestBody::Empty,
    };
    agent.send(request).map_err(|error| SourceError::Registry(error.into()))
}

fn download(
    store: &Store,
    source: &HttpSource,
    response: Response,
    (progress, cancel): (&dyn Fn(u64, u64), &Cancel),
) -> Result<Known, SourceError> {
    let header = |name| response.header(name).map(str::to_owned);
    let (etag, last_modified) = (header("etag"), header("last-modified"));
    let expected = response.content_length();
    let mut blob = store.new_blob()?;
    let path = blob.path().to_owned();
    let mut reader = response.into_reader();
    let mut hasher = ContentHasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        if cancel.is_canceled() {
            return Err(SourceError::Canceled);
        }
        let failed = |error: std::io::Error| SourceError::Download {
            url: source.url.clone(),
            problem: error.to_string(),
        };
        let n = reader.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            break;
        }
        blob.write_all(&buffer[..n]).map_err(PathError::of("write", &path))?;
        hasher.update(&buffer[..n]);
        size += n as u64;
        progress(size, expected.unwrap_or(0));
    }
    if expected.is_some_and(|expected| expected != size) {
        let problem = format!("the connection ended after {size} bytes");
        return Err(SourceError::Download { url: source.url.clone(), problem });
    }
    let (digest, _) = blob.commit()?;
    if let Some(expected) = source.checksum.filter(|expected| *expected != digest) {
        return Err(SourceError::Checksum { url: source.url.clone(), expected, actual: digest });
    }
    let (digest, content) = (digest.to_string(), hasher.content().hex());
    Ok(Known { digest, content, size, etag, last_modified })
}

/// A tree with one file: mode 0600, and the time that the server gave, or the epoch.
fn tree(store: &Store, source: &HttpSource, known: &Known) -> Result<Tree, SourceError> {
    let content = ContentDigest::from_hex(&known.content).unwrap_or(ContentDigest::of(b""));
    let digest = known.digest().unwrap_or(Digest::of(b""));
    let path = TreePath::clean(&source.filename).unwrap_or_default();
    let time = known.last_modified.as_deref().and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
    let seconds = time.map_or(0, |time| time.timestamp().as_second());
    let mtime = Timestamp { seconds, nanoseconds: 0 };
    let meta = Metadata { mode: 0o600, uid: 0, gid: 0, mtime, xattrs: Xattrs::new() };
    let mut changes = Changes::new();
    changes.put(path.clone(), Kind::File { size: known.size, content }, meta);
    let offsets = BTreeMap::from([(path, (0, known.size))]);
    let contents: Arc<dyn Contents> =
        Arc::new(TarContents::new(store.open_blob(&digest)?, offsets));
    Ok(Tree::empty().apply(&changes, &contents)?)
}
