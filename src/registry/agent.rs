//! The HTTP client: TLS, proxies, timeouts, redirects. Registries and ADD share it.
//!
//! One exchange in, one response out, whatever its status; every wait has an end. Redirects of GET and HEAD are
//! followed here and not by the library, because only here is it known that `authorization` stays with the origin
//! it was meant for. Certificates are loaded when the first TLS connection is made, so a build that needs no
//! network pays nothing.
//!
//! What ends a wait, with the usual values: 30 s for a name and for a connection, 60 s for the head of an answer (and
//! a second more for every [`PER_SECOND`] bytes that the server has just been sent and has to look through), 60 s
//! without a byte, 120 s for a document, 120 s for [`LEAST`] bytes of a blob. When the user asks to stop, all connections
//! are closed at once, and nobody waits any longer for a name or a connection.
//!
//! It does not retry, and knows nothing of registries.

mod certificates;
mod options;
mod pace;

use std::io::{self, Read};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Request as HttpRequest, request::Builder};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{AsSendBody, SendBody, Timeout};

pub use certificates::{Certificates, Roots};
pub use options::{AgentOptions, LEAST, Proxies, Timeouts};
pub(super) use pace::Pace;
pub use ureq::http::Method;

use super::url::{Origin, join, shown};
use crate::event::Cancel;
use certificates::{Keyring, Keys};

const MAX_REDIRECTS: usize = 10;

/// How many bytes of an upload a registry looks through in a second before it answers; a slow one's disk.
pub const PER_SECOND: u64 = 4 << 20;

/// How soon a request to stop is seen.
const WATCH: Duration = Duration::from_millis(50);

/// Whether a server must prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Its certificate is checked, and where it redirects to there must be one as well.
    Verify,
    /// Its certificate is checked; it may redirect to plain HTTP (ADD, as BuildKit does it).
    VerifyIfTls,
    /// Its certificate may be any (insecure registries).
    Skip,
}

/// What is asked.
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// An absolute URL.
    pub url: &'a str,
    /// Headers, sent wherever a redirect leads.
    pub headers: &'a [(&'a str, &'a str)],
    /// The `Authorization` header, sent to the URL's own origin only.
    pub authorization: Option<&'a str>,
    /// Whether the server must prove who it is.
    pub verification: Verification,
    /// What is sent.
    pub body: RequestBody<'a>,
}

/// What is sent.
pub enum RequestBody<'a> {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A stream of known length.
    Stream(Box<dyn Read + 'a>, u64),
    /// Nothing, but the server has this many bytes to look through before it answers.
    End(u64),
}

impl RequestBody<'_> {
    /// Returns how many bytes the server has to look through.
    fn work(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stream(_, size) | Self::End(size) => *size,
        }
    }
}

/// What was answered.
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// Who answered in the end.
    pub url: String,
    body: ureq::Body,
    document_timeout: Duration,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The exchange failed.
    #[error("cannot reach `{url}`")]
    Transport {
        /// What was asked, without its query.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The body broke off.
    #[error("the transfer from `{url}` broke off")]
    Body {
        /// What was asked, without its query.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a URL that can be asked.
    #[error("invalid URL `{0}`")]
    Url(String),
    /// The proxy's URL is not one.
    #[error("invalid proxy `{0}`")]
    Proxy(String),
    /// The redirect leads nowhere.
    #[error("`{url}` redirects {problem}")]
    Redirect {
        /// Who redirects.
        url: String,
        /// Why it is not followed.
        problem: &'static str,
    },
    /// The document is larger than is read.
    #[error("`{url}` sends more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// The bound.
        limit: u64,
    },
    /// The certificates cannot be read.
    #[error("cannot read a certificate: {0}")]
    Certificate(String),
}

impl AgentError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        let Self::Transport { source, url } = self else { return None };
        match &**source {
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Some("check that the server runs and listens on this port".into())
            }
            ureq::Error::HostNotFound => Some("check the name and the network".into()),
            error => tls_hint(tls_error(error)?, url),
        }
    }

    /// Returns whether somebody was there and did not answer.
    pub(super) fn is_silence(&self) -> bool {
        let Self::Transport { source, .. } = self else { return false };
        matches!(**source, ureq::Error::Timeout(Timeout::RecvResponse))
    }

    /// Returns whether the same may go well a little later: a broken or late connection, not one refused.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => match &**source {
                ureq::Error::Io(error) => is_transient_io(error),
                ureq::Error::Timeout(Timeout::Resolve) => false,
                ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
                _ => false,
            },
            Self::Body { source, .. } => is_transient_io(source),
            Self::Url(_)
            | Self::Proxy(_)
            | Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Certificate(_) => false,
        }
    }
}

/// Returns what TLS found wrong, if it was that.
fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn tls_hint(error: &rustls::Error, url: &str) -> Option<String> {
    use rustls::{AlertDescription as Alert, CertificateError as Wrong, Error};
    let origin = Origin::of(url)?;
    let host = match origin.port {
        443 => origin.host,
        port => format!("{}:{port}", origin.host),
    };
    match error {
        Error::InvalidCertificate(
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. },
        ) => Some(format!(
            "the server's certificate is for other names: ask for one of them, or get a certificate for {host}"
        )),
        Error::InvalidCertificate(Wrong::Expired | Wrong::ExpiredContext { .. }) => {
            Some("the server's certificate must be renewed; check this machine's clock too".into())
        }
        Error::InvalidCertificate(Wrong::NotValidYet | Wrong::NotValidYetContext { .. }) => {
            Some("check this machine's clock".into())
        }
        Error::InvalidCertificate(_) => Some(format!(
            "install ca-certificates, or put the certificate of the server's authority into \
             /etc/containers/certs.d/{host}/ca.crt"
        )),
        Error::InvalidMessage(_) => Some(format!(
            "if {host} speaks plain HTTP and you trust the way to it, make it `insecure` in registries.conf"
        )),
        Error::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate) => Some(format!(
            "the server wants a certificate of yours: put it into /etc/containers/certs.d/{host}/ as client.cert and \
             client.key"
        )),
        _ => None,
    }
}

fn is_transient_io(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_) | ureq::Error::Protocol(_)) => true,
        Some(ureq::Error::Io(error)) => is_transient_io(error),
        Some(_) => false,
        None => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::TimedOut
                | io::ErrorKind::WouldBlock
        ),
    }
}

/// To whom and how: each has its own pool of connections.
type Route = (Verification, Origin);

type Routes = Mutex<Vec<(Route, ureq::Agent)>>;

/// The client; shared by all threads.
pub struct Agent {
    options: AgentOptions,
    keyring: Keyring,
    routes: Arc<Routes>,
    watched: Once,
}

impl Agent {
    /// Makes a client; nothing is read or connected yet.
    pub fn new(options: AgentOptions) -> Self {
        let keyring = Keyring::new(options.certificates.clone());
        Self { options, keyring, routes: Arc::default(), watched: Once::new() }
    }

    /// Asks, follows redirects, and returns the response, whatever its status.
    pub fn send(&self, mut request: Request<'_>) -> Result<Response, AgentError> {
        let first = Origin::of(request.url).ok_or_else(|| AgentError::Url(shown(request.url)))?;
        let mut url = request.url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let origin = Origin::of(&url).ok_or_else(|| AgentError::Url(shown(&url)))?;
            let authorization = request.authorization.filter(|_| origin == first);
            let response = self.exchange(&mut request, &url, &origin, authorization)?;
            let safe = request.method == Method::GET || request.method == Method::HEAD;
            if !safe || !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let refused = |problem| AgentError::Redirect { url: shown(&url), problem };
            let location = response.header("location").and_then(|to| join(&url, to));
            let location = location.ok_or_else(|| refused("to no usable address"))?;
            let strict = request.verification == Verification::Verify;
            if strict && origin.scheme == "https" && !location.starts_with("https:") {
                return Err(refused("from HTTPS to plain HTTP"));
            }
            url = location;
        }
        Err(AgentError::Redirect { url: shown(request.url), problem: "too often" })
    }

    fn exchange(
        &self,
        request: &mut Request<'_>,
        url: &str,
        origin: &Origin,
        authorization: Option<&str>,
    ) -> Result<Response, AgentError> {
        let mut builder = HttpRequest::builder().method(request.method.clone()).uri(url);
        for (name, value) in request.headers {
            builder = builder.header(*name, *value);
        }
        if let Some(authorization) = authorization {
            builder = builder.header("authorization", authorization);
        }
        let agent = self.route(request.verification, origin)?;
        let work = Duration::from_secs(request.body.work() / PER_SECOND);
        let patience = self.options.timeouts.response + work;
        let response = match &mut request.body {
            RequestBody::Empty | RequestBody::End(_) => self.run_apart(&agent, builder, patience),
            RequestBody::Bytes(bytes) => run(&agent, builder, *bytes, patience),
            RequestBody::Stream(stream, size) => {
                let builder = builder.header("content-length", *size);
                run(&agent, builder, SendBody::from_reader(&mut **stream), patience)
            }
        }?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            url: url.to_owned(),
            body,
            document_timeout: self.options.timeouts.document,
        })
    }

    /// Asks on a thread of its own, which is left behind when the user asks to stop: nothing else ends the looking up of a
    /// name, or a connection that is not answered.
    fn run_apart(
        &self,
        agent: &ureq::Agent,
        builder: Builder,
        patience: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, AgentError> {
        let url = builder.uri_ref().map(|uri| shown(&uri.to_string())).unwrap_or_default();
        let (send, receive) = std::sync::mpsc::channel();
        let agent = agent.clone();
        std::thread::spawn(move || drop(send.send(run(&agent, builder, (), patience))));
        loop {
            match receive.recv_timeout(WATCH) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) if !self.options.cancel.is_canceled() => {}
                Err(_) => {
                    let source = Box::new(ureq::Error::Io(io::Error::other("canceled")));
                    return Err(AgentError::Transport { url, source });
                }
            }
        }
    }

    /// Returns when to give up waiting.
    pub(super) fn timeouts(&self) -> Timeouts {
        self.options.timeouts
    }

    fn route(
        &self,
        verification: Verification,
        origin: &Origin,
    ) -> Result<ureq::Agent, AgentError> {
        let verification = match (origin.scheme.as_str(), verification) {
            ("https", Verification::Verify | Verification::VerifyIfTls) => Verification::Verify,
            _ => Verification::Skip,
        };
        let route = (verification, origin.clone());
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, agent)) = routes.iter().find(|(known, _)| *known == route) {
            return Ok(agent.clone());
        }
        self.watched.call_once(|| {
            let (routes, cancel) = (Arc::downgrade(&self.routes), self.options.cancel.clone());
            std::thread::spawn(move || watch(&routes, &cancel));
        });
        let agent = self.connect(&route)?;
        routes.push((route, agent.clone()));
        Ok(agent)
    }

    fn connect(&self, (verification, origin): &Route) -> Result<ureq::Agent, AgentError> {
        let proxy = self
            .options
            .proxies
            .of(origin)
            .map(|proxy| ureq::Proxy::new(proxy).map_err(|_| AgentError::Proxy(shown(proxy))));
        let keys = match origin.scheme.as_str() {
            "https" => self.keyring.keys(origin)?,
            _ => Keys::default(),
        };
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(keys.roots)))
            .client_cert(keys.shown)
            .disable_verification(*verification == Verification::Skip)
            .build();
        let Timeouts { connect, response, idle, document: _, slow: _ } = self.options.timeouts;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(&self.options.user_agent)
            .proxy(proxy.transpose()?)
            .tls_config(tls)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_recv_response(Some(response))
            .timeout_per_read(Some(idle))
            .timeout_per_write(Some(idle))
            .max_idle_connections_per_host(16)
            .build();
        Ok(config.new_agent())
    }
}

/// Closes all connections once the user asks to stop; ends with the agent.
fn watch(routes: &Weak<Routes>, cancel: &Cancel) {
    while let Some(routes) = routes.upgrade() {
        if cancel.is_canceled() {
            let mut routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
            routes.drain(..).for_each(|(_, agent)| agent.shutdown());
        }
        drop(routes);
        std::thread::sleep(WATCH);
    }
}

/// Sends a request; the head of the answer may take as long as `patience`.
fn run<B: AsSendBody>(
    agent: &ureq::Agent,
    builder: Builder,
    body: B,
    patience: Duration,
) -> Result<ureq::http::Response<ureq::Body>, AgentError> {
    let url = builder.uri_ref().map(|uri| shown(&uri.to_string())).unwrap_or_default();
    let request = builder.body(body).map_err(|_| AgentError::Url(url.clone()))?;
    let request = agent.configure_request(request).timeout_recv_response(Some(patience)).build();
    agent.run(request).map_err(|source| AgentError::Transport { url, source: Box::new(source) })
}

impl Response {
    /// Returns a header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns all headers of a name that are text.
    pub fn headers_of<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns how long the body says it is.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// Returns the body as a stream; a read that waits too long is an error.
    pub fn into_reader(self) -> impl Read + Send + use<> {
        self.body.into_with_config().reader()
    }

    /// Reads the whole body of a document that has at most `limit` bytes.
    pub fn read_all(self, limit: u64) -> Result<Vec<u8>, AgentError> {
        let url = shown(&self.url);
        let end = Instant::now() + self.document_timeout;
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(AgentError::TooLarge { url, limit });
        }
        let mut reader = self.into_reader().take(limit + 1);
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) if Instant::now() > end => Err(io::ErrorKind::TimedOut.into()),
                other => other,
            };
            let read = read.map_err(|source| AgentError::Body { url: url.clone(), source })?;
            bytes.extend_from_slice(&buffer[..read]);
        }
        if bytes.len() as u64 > limit {
            return Err(AgentError::TooLarge { url, limit });
        }
        Ok(bytes)
    }
}
