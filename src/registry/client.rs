//! The distribution protocol: one request to a registry with its credentials, and the documents it serves.
//!
//! A document is returned only when its bytes have the digest that the reference, or else the registry's own
//! header, names. Blobs are in `blob.rs`, uploads in `push.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::agent::{Agent, AgentError, Method, Pace, Request, RequestBody, Response, Verification};
use super::auth::{Authenticator, Credential, Identity};
use super::endpoint::Endpoint;
use super::mirrors::Asked;
use super::retry::{Retry, parse_retry_after};
use super::url::{Origin, as_safe, shown};
use super::{HelperError, Place, Purpose, Registries, RegistryError};
use crate::digest::Digest;
use crate::event::Cancel;
use crate::oci::{Descriptor, Document, MANIFEST_LIMIT, MediaType, Reference};

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// How much of an error's body is read.
const MESSAGE_LIMIT: u64 = 16 << 10;

/// Says the credentials for a repository, if there are any; asked only when a registry wants some.
pub type CredentialLookup =
    Arc<dyn Fn(&Reference) -> Result<Option<Credential>, HelperError> + Send + Sync>;

/// What a client is made of, besides its agent.
#[derive(Clone)]
pub struct Options {
    /// Says the credentials for a repository.
    pub credentials: CredentialLookup,
    /// Says where the images of a name are.
    pub registries: Registries,
    /// Whether registries must prove who they are, whatever `registries` says.
    pub verify: Option<bool>,
    /// How often what fails is tried again.
    pub retry: Retry,
    /// How many bytes of a large blob are uploaded in one request.
    pub chunk: u64,
    /// Ends waits early.
    pub cancel: Cancel,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credentials: Arc::new(|_| Ok(None)),
            registries: Registries::default(),
            verify: None,
            retry: Retry::default(),
            chunk: 64 << 20,
            cancel: Cancel::new(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credentials: _, registries, verify, retry, chunk, cancel: _ } = self;
        f.debug_struct("Options")
            .field("registries", registries)
            .field("verify", verify)
            .field("retry", retry)
            .field("chunk", chunk)
            .finish()
    }
}

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The document as it was sent.
    pub bytes: Vec<u8>,
    /// What it says.
    pub document: Document,
}

/// A client of all registries; clones share connections and tokens, and may be used by several threads.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    agent: Arc<Agent>,
    options: Options,
    /// By registry, and whether it need not prove who it is.
    endpoints: Mutex<HashMap<(String, bool), Endpoint>>,
    /// Registries that do not take blobs in chunks.
    unchunked: Mutex<HashSet<String>>,
    auth: Authenticator,
    asked: Asked,
}

/// What may be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Pull,
    Push,
}

/// One request to a registry.
#[derive(Clone)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) repository: &'a Reference,
    /// What follows `/v2/<repository>/`, or an absolute URL that the registry named.
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) access: Access,
    /// A further repository that must be readable (mounts).
    pub(super) also: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(super) fn get(repository: &'a Reference, path: &'a str) -> Self {
        let (method, access) = (Method::GET, Access::Pull);
        Self { method, repository, path, headers: &[], access, also: None }
    }

    fn scope(&self) -> String {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let own = format!("repository:{}:{actions}", self.repository.path());
        match self.also {
            Some(path) => format!("{own} repository:{path}:pull"),
            None => own,
        }
    }
}

impl Client {
    /// Makes a client; nothing is asked yet.
    pub fn new(agent: Arc<Agent>, options: Options) -> Self {
        let (endpoints, unchunked) = (Mutex::default(), Mutex::default());
        let (auth, asked) = (Authenticator::default(), Asked::default());
        Self(Arc::new(Shared { agent, options, endpoints, unchunked, auth, asked }))
    }

    /// Returns the manifest or index that a reference names.
    pub fn resolve(&self, reference: &Reference) -> Result<Fetched, RegistryError> {
        self.doubting(|cached| self.resolve_once(reference, cached))
    }

    fn resolve_once(&self, reference: &Reference, cached: bool) -> Result<Fetched, RegistryError> {
        let path = format!("manifests/{}", reference.target());
        let headers = [("accept", ACCEPT), ("cache-control", "no-cache")];
        let headers = if cached { &headers[..1] } else { &headers };
        let call = Call { headers, ..Call::get(reference, &path) };
        self.retrying(|| {
            let nothing = || Ok(RequestBody::Empty);
            self.at_places(&call, nothing, &[200], |response| fetched(reference, response))
        })
    }

    /// Returns what a reference names without reading it; `None`: the registry does not say enough.
    ///
    /// The answer is the registry's word: only the digest matters, and what has it must be verified.
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        self.announced(reference, Access::Pull)
    }

    /// The same of the place that a push writes to: mirrors are not asked.
    pub fn head_of_push(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        self.announced(reference, Access::Push)
    }

    fn announced(
        &self,
        reference: &Reference,
        access: Access,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let path = format!("manifests/{}", reference.target());
        let headers = &[("accept", ACCEPT)];
        let call = Call { method: Method::HEAD, headers, access, ..Call::get(reference, &path) };
        let announced = self.retrying(|| Ok(Announced::of(&self.expect(&call, &[200])?)))?;
        let Announced { media_type, digest, size } = announced;
        if let (Some(expected), Some(actual)) = (reference.digest(), digest)
            && expected != actual
        {
            let what = reference.familiar();
            return Err(RegistryError::Digest { what, expected, actual });
        }
        let described = media_type.zip(digest.or(reference.digest())).zip(size);
        Ok(described.map(|((media_type, digest), size)| Descriptor::new(media_type, digest, size)))
    }

    /// Repeats what fails for a reason that may pass.
    pub(super) fn retrying<T>(
        &self,
        attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let Options { retry, cancel, .. } = self.options();
        retry.run(cancel, attempt)
    }

    /// Tries once more what brought wrong bytes, past all caches: `attempt` is told whether they may answer.
    pub(super) fn doubting<T>(
        &self,
        attempt: impl Fn(bool) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        match attempt(true) {
            Err(error) if error.is_corruption() => attempt(false),
            done => done,
        }
    }

    /// Returns what watches the pace of a new transfer.
    pub(super) fn pace(&self) -> Pace {
        Pace::new(self.0.agent.timeouts().slow)
    }

    /// Returns whether a registry takes blobs in chunks, as far as is known.
    pub(super) fn takes_chunks(&self, domain: &str) -> bool {
        !self.0.unchunked.lock().unwrap_or_else(PoisonError::into_inner).contains(domain)
    }

    /// Remembers that a registry does not.
    pub(super) fn no_chunks(&self, domain: &str) {
        let mut unchunked = self.0.unchunked.lock().unwrap_or_else(PoisonError::into_inner);
        unchunked.insert(domain.to_owned());
    }

    pub(super) fn agent(&self) -> &Agent {
        &self.0.agent
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    /// Asks once and takes only the listed statuses for an answer.
    pub(super) fn expect(
        &self,
        call: &Call<'_>,
        statuses: &[u16],
    ) -> Result<Response, RegistryError> {
        self.expect_with(call, || Ok(RequestBody::Empty), statuses)
    }

    /// The same with a body, made anew each time it is sent.
    pub(super) fn expect_with<'b>(
        &self,
        call: &Call<'_>,
        body: impl FnMut() -> Result<RequestBody<'b>, RegistryError>,
        statuses: &[u16],
    ) -> Result<Response, RegistryError> {
        self.at_places(call, body, statuses, Ok)
    }

    /// Asks wherever the repository is, until one place gives an answer that can be taken.
    fn at_places<'b, T>(
        &self,
        call: &Call<'_>,
        mut body: impl FnMut() -> Result<RequestBody<'b>, RegistryError>,
        statuses: &[u16],
        mut take: impl FnMut(Response) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failures = Vec::new();
        for place in self.0.asked.places(&self.0.options.registries, call)? {
            let there = Call { repository: &place.reference, ..call.clone() };
            let answer = self.expect_at(&place, &there, &mut body, statuses);
            match answer.and_then(&mut take) {
                Err(error) => {
                    self.0.asked.failed(&place, &error);
                    failures.push((place.is_mirror, (place.reference.familiar_name(), error)));
                }
                Ok(taken) => {
                    self.0.asked.served(call.repository, &place);
                    return Ok(taken);
                }
            }
            if self.0.options.cancel.is_canceled() {
                return Err(RegistryError::Canceled);
            }
        }
        // In whichever order they were asked, what the registry itself says comes last.
        failures.sort_by_key(|(is_mirror, _)| !is_mirror);
        let mut failures: Vec<_> = failures.into_iter().map(|(_, failure)| failure).collect();
        match failures.len() {
            1 => Err(failures.remove(0).1),
            _ => Err(RegistryError::Everywhere { name: call.repository.familiar_name(), failures }),
        }
    }

    fn expect_at<'b>(
        &self,
        place: &Place,
        call: &Call<'_>,
        body: impl FnMut() -> Result<RequestBody<'b>, RegistryError>,
        statuses: &[u16],
    ) -> Result<Response, RegistryError> {
        if let Some(path) = &place.blocked {
            let name = place.reference.familiar_name();
            return Err(RegistryError::Blocked { name, path: path.clone() });
        }
        let response = self.ask(place.insecure, call, body)?;
        match response.status {
            status if statuses.contains(&status) => Ok(response),
            404 => Err(RegistryError::NotFound(self.subject(call))),
            401 | 403 => Err(RegistryError::Denied {
                repository: call.repository.familiar_name(),
                message: message(response),
            }),
            _ => Err(status_error(response)),
        }
    }

    /// Asks, and once more with credentials if the registry wants them.
    fn ask<'b>(
        &self,
        insecure: bool,
        call: &Call<'_>,
        mut body: impl FnMut() -> Result<RequestBody<'b>, RegistryError>,
    ) -> Result<Response, RegistryError> {
        let endpoint = self.endpoint(call.repository.domain(), insecure)?;
        let url = match (call.path.contains("://"), endpoint.verification) {
            (true, Verification::Skip) => call.path.to_owned(),
            (true, _) => as_safe(&endpoint.base, call.path).ok_or_else(|| {
                let problem = "from HTTPS to plain HTTP";
                AgentError::Redirect { url: shown(&endpoint.base), problem }
            })?,
            (false, _) => format!("{}/v2/{}/{}", endpoint.base, call.repository.path(), call.path),
        };
        // An upload may be sent elsewhere; the credentials stay with the registry.
        let own = Origin::of(&url) == Origin::of(&endpoint.base);
        let identity = Identity {
            agent: &self.0.agent,
            registry: call.repository.domain(),
            subject: &call.repository.familiar_name(),
            scope: &call.scope(),
            credential: &|| self.credential(call.repository),
            verification: endpoint.verification,
        };
        let mut send = |authorization: Option<&str>| -> Result<Response, RegistryError> {
            Ok(self.0.agent.send(Request {
                method: call.method.clone(),
                url: &url,
                headers: call.headers,
                authorization,
                verification: endpoint.verification,
                body: body()?,
            })?)
        };
        let header = if own { self.0.auth.header(&identity)? } else { None };
        let response = send(header.as_deref())?;
        let asked_by_registry = Origin::of(&response.url) == Origin::of(&endpoint.base);
        if response.status != 401 || !own || !asked_by_registry {
            return Ok(response);
        }
        match self.0.auth.answer(&identity, &response, header.as_deref())? {
            Some(better) => send(Some(&better)),
            None => Ok(response),
        }
    }

    fn credential(&self, repository: &Reference) -> Result<Option<Credential>, RegistryError> {
        let found = (self.0.options.credentials)(repository);
        found.map_err(|source| match source {
            HelperError::Canceled => RegistryError::Canceled,
            source => {
                RegistryError::Credentials { registry: repository.domain().to_owned(), source }
            }
        })
    }

    pub(super) fn endpoint(&self, domain: &str, insecure: bool) -> Result<Endpoint, AgentError> {
        let insecure = self.0.options.verify.map_or(insecure, |verify| !verify);
        let key = (domain.to_owned(), insecure);
        let lock = || self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = lock().get(&key) {
            return Ok(endpoint.clone());
        }
        let endpoint = Endpoint::find(&self.0.agent, domain, insecure)?;
        lock().insert(key, endpoint.clone());
        Ok(endpoint)
    }

    /// Returns the repository that writing to one ends up in.
    pub(super) fn written_to(&self, repository: &Reference) -> Result<Reference, RegistryError> {
        let places = self.0.options.registries.places(repository, Purpose::Push);
        match places {
            Ok(mut places) => Ok(places.pop().map_or(repository.clone(), |it| it.reference)),
            Err(source) => Err(RegistryError::Place { name: repository.familiar_name(), source }),
        }
    }

    /// Returns the names that one without a registry may mean, in the order in which they are tried.
    pub fn candidates(&self, short: &Reference) -> Result<Vec<Reference>, RegistryError> {
        let found = self.0.options.registries.candidates(short);
        found.map_err(|source| RegistryError::Place { name: short.familiar_name(), source })
    }

    /// Returns what a call is about, for people.
    fn subject(&self, call: &Call<'_>) -> String {
        match call.path.strip_prefix("manifests/") {
            Some(target) if target.contains(':') => {
                format!("{}@{target}", call.repository.familiar_name())
            }
            Some(target) => format!("{}:{target}", call.repository.familiar_name()),
            None if call.path.starts_with("tags/") => call.repository.familiar_name(),
            None => format!("{}/{}", call.repository.familiar_name(), shown(call.path)),
        }
    }
}

/// Reads the document that a reference names and holds it against the digests that it should have.
fn fetched(reference: &Reference, response: Response) -> Result<Fetched, RegistryError> {
    let announced = Announced::of(&response);
    let bytes = response.read_all(MANIFEST_LIMIT)?;
    let actual = Digest::of(&bytes);
    let expected = reference.digest().or(announced.digest).unwrap_or(actual);
    if expected != actual {
        let what = reference.familiar();
        return Err(RegistryError::Digest { what, expected, actual });
    }
    let malformed = |source| RegistryError::Document { name: reference.familiar(), source };
    let document = Document::parse(&bytes).map_err(malformed)?;
    let descriptor = Descriptor::of(document.media_type(), &bytes);
    Ok(Fetched { descriptor, bytes, document })
}

/// What the headers of a response say of a document.
struct Announced {
    media_type: Option<MediaType>,
    digest: Option<Digest>,
    size: Option<u64>,
}

impl Announced {
    fn of(response: &Response) -> Self {
        let media_type = response.header("content-type").and_then(|it| it.split(';').next());
        Self {
            media_type: media_type.map(|it| it.trim().into()),
            digest: response.header("docker-content-digest").and_then(|it| it.trim().parse().ok()),
            size: response.content_length(),
        }
    }
}

/// Makes the error of a status that was not expected.
pub(super) fn status_error(response: Response) -> RegistryError {
    let now = jiff::Timestamp::now();
    let retry_after = response.header("retry-after").and_then(|it| parse_retry_after(it, now));
    let (url, status) = (shown(&response.url), response.status);
    RegistryError::Status { url, status, message: message(response), retry_after }
}

/// Returns `: ` and what the server says in one line, or nothing.
pub(super) fn message(response: Response) -> String {
    let bytes = response.read_all(MESSAGE_LIMIT).unwrap_or_default();
    let said = match serde_json::from_slice::<serde_json::Value>(&bytes) {
        Ok(value) => {
            let error = &value["errors"][0];
            let text = error["message"].as_str().filter(|text| !text.is_empty());
            text.or(error["code"].as_str()).or(value["message"].as_str()).unwrap_or("").to_owned()
        }
        Err(_) => String::from_utf8_lossy(&bytes).lines().next().unwrap_or("").to_owned(),
    };
    let line: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    if line.trim().is_empty() { String::new() } else { format!(": {}", line.trim()) }
}
