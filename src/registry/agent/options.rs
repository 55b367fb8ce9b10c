//! What an agent is made of: proxies, trusted certificates, timeouts, all of them values.

use std::fmt;
use std::time::Duration;

use super::Certificates;
use crate::event::Cancel;
use crate::registry::url::{Origin, shown};

/// What an agent is made of.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Through what requests go.
    pub proxies: Proxies,
    /// Whose certificates are trusted, and which are shown.
    pub certificates: Certificates,
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
            certificates: Certificates::default(),
            timeouts: Timeouts::default(),
            user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
            cancel: Cancel::new(),
        }
    }
}

/// Proxies, as `http_proxy`, `https_proxy` and `no_proxy` say them.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts that are reached directly, separated by commas; subdomains are included, `*` is every host.
    pub exceptions: String,
}

/// Without the names and passwords that the URLs may have.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.as_deref().map(shown))
            .field("https", &self.https.as_deref().map(shown))
            .field("exceptions", &self.exceptions)
            .finish()
    }
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
    fn passwords_of_proxies_do_not_show() {
        let https = Some("http://me:s3cret@p:1".to_owned());
        let proxies = Proxies { https, ..Proxies::default() };
        let expected = r#"Proxies { http: None, https: Some("http://p:1"), exceptions: "" }"#;
        assert_eq!(format!("{proxies:?}"), expected);
    }
}
