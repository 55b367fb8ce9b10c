//! What an agent is made of: proxies, trusted certificates, timeouts, all of them values.
//!
//! Certificates are read only when `certificates` is called; which files the environment names is the caller's
//! to find out.

use std::path::PathBuf;
use std::time::Duration;

use rustls_native_certs::load_certs_from_paths;
use ureq::tls::{Certificate, PemItem, parse_pem};

use super::AgentError;
use crate::event::Cancel;
use crate::registry::url::Origin;

/// Where Linux distributions keep the certificates that they trust.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What an agent is made of.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Through what requests go.
    pub proxies: Proxies,
    /// Whose certificates are trusted.
    pub roots: Roots,
    /// Further certificates that are trusted, PEM.
    pub extra_roots: Vec<Vec<u8>>,
    /// When to give up waiting.
    pub timeouts: Timeouts,
    /// How kiln names itself.
    pub user_agent: String,
    /// Closes every connection, so that whoever waits for one is woken.
    pub cancel: Cancel,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            proxies: Proxies::default(),
            roots: Roots::System,
            extra_roots: Vec::new(),
            timeouts: Timeouts::default(),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
            cancel: Cancel::new(),
        }
    }
}

impl AgentOptions {
    /// Reads the certificates that are trusted.
    pub(super) fn certificates(&self) -> Result<Vec<Certificate<'static>>, AgentError> {
        let found = match &self.roots {
            Roots::System => {
                let bundle = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.is_file());
                load_certs_from_paths(bundle.as_deref(), None)
            }
            Roots::Paths { file, directory } => {
                let found = load_certs_from_paths(file.as_deref(), directory.as_deref());
                if let (true, Some(error)) = (found.certs.is_empty(), found.errors.first()) {
                    return Err(AgentError::Certificate(error.to_string()));
                }
                found
            }
        };
        let mut roots: Vec<_> =
            found.certs.iter().map(|it| Certificate::from_der(it).to_owned()).collect();
        for pem in &self.extra_roots {
            for item in parse_pem(pem) {
                match item.map_err(|error| AgentError::Certificate(error.to_string()))? {
                    PemItem::Certificate(certificate) => roots.push(certificate),
                    _ => continue,
                }
            }
        }
        Ok(roots)
    }
}

/// Proxies, as `http_proxy`, `https_proxy` and `no_proxy` say them.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts that are reached directly, separated by commas; subdomains are included, `*` is every host.
    pub exceptions: String,
}

impl Proxies {
    /// Returns the proxy for an origin; this machine is always reached directly.
    pub(super) fn of(&self, origin: &Origin) -> Option<&str> {
        let proxy = if origin.scheme == "https" { &self.https } else { &self.http };
        let proxy = proxy.as_deref().filter(|proxy| !proxy.is_empty())?;
        (!origin.is_loopback() && !self.excepts(origin)).then_some(proxy)
    }

    fn excepts(&self, origin: &Origin) -> bool {
        let host_port = format!("{}:{}", origin.host, origin.port);
        self.exceptions.split([',', ' ']).map(|it| it.trim().to_ascii_lowercase()).any(|it| {
            let suffix = it.trim_start_matches('*').trim_start_matches('.');
            let within = origin.host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
            it == "*"
                || (!suffix.is_empty() && (within || suffix == origin.host || suffix == host_port))
        })
    }
}

/// Whose certificates are trusted.
#[derive(Debug, Clone)]
pub enum Roots {
    /// The bundle of this machine.
    System,
    /// A bundle, and a directory of hashed certificates (`SSL_CERT_FILE`, `SSL_CERT_DIR`).
    Paths {
        /// A PEM bundle.
        file: Option<PathBuf>,
        /// A directory.
        directory: Option<PathBuf>,
    },
}

/// When to give up waiting.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For name, connection, proxy and TLS.
    pub connect: Duration,
    /// For the head of the response.
    pub response: Duration,
    /// For the next bytes of a body.
    pub idle: Duration,
    /// For a whole document.
    pub document: Duration,
    /// For every [`LEAST`] bytes of a blob, in either direction.
    pub slow: Duration,
}

/// How many bytes of a blob must move within [`Timeouts::slow`]: half a kilobyte a second with the usual values, less
/// than any network that people work with, and more than a server that only pretends sends.
pub const LEAST: u64 = 64 << 10;

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(30),
            response: seconds(60),
            idle: seconds(60),
            document: seconds(120),
            slow: seconds(120),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_chosen_by_scheme_and_host() {
        let proxies = Proxies {
            http: Some("http://p:1".into()),
            https: Some("http://p:2".into()),
            exceptions: "internal, .corp.com,*.lan,b.com:8443".into(),
        };
        #[rustfmt::skip]
        let cases = [
            ("http://a.com/", Some("http://p:1")), ("https://a.com/", Some("http://p:2")),
            ("https://internal/", None), ("https://x.internal/", None), ("https://notinternal/", Some("http://p:2")),
            ("https://corp.com/", None), ("https://x.corp.com/", None), ("https://x.lan/", None),
            ("https://b.com:8443/", None), ("https://b.com/", Some("http://p:2")), ("http://127.0.0.1:5000/", None),
        ];
        for (url, expected) in cases {
            assert_eq!(proxies.of(&Origin::of(url).unwrap()), expected, "{url}");
        }
        let all = Proxies { exceptions: "*".into(), ..proxies };
        assert_eq!(all.of(&Origin::of("https://a.com/").unwrap()), None);
    }

    #[test]
    fn unreadable_certificates_are_named() {
        let roots = Roots::Paths { file: Some("/no/such/bundle".into()), directory: None };
        let options = AgentOptions { roots, ..AgentOptions::default() };
        assert!(options.certificates().unwrap_err().to_string().contains("/no/such/bundle"));
        let extra_roots = vec![b"no certificate".to_vec()];
        let options = AgentOptions { extra_roots, ..AgentOptions::default() };
        assert!(options.certificates().is_ok());
    }
}
