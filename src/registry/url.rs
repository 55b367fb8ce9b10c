//! The few things that are done with URLs: origins, relative references, percent signs.
//!
//! No general URL library: registries and their redirects use absolute `http` and `https` URLs and paths.

use ureq::http::Uri;

/// Scheme, host and port: where credentials may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// `http` or `https`.
    pub(super) scheme: String,
    /// Lower case, IPv6 in brackets.
    pub(super) host: String,
    /// The port, also where it is the scheme's own.
    pub(super) port: u16,
}

impl Origin {
    /// Returns the origin of an absolute URL.
    pub(super) fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        Some(Self { scheme, host, port: uri.port_u16().unwrap_or(default) })
    }

    /// Returns whether the host is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Returns whether a host name without port is this machine's.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Returns the absolute URL that `location` means when `base` answered it.
pub(super) fn join(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let origin_end = base.find("://")? + 3;
    let path_start = path_start(base)?;
    let joined = if location.contains("://") && !location.starts_with(['/', '?']) {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{}{location}", &base[..origin_end - 2])
    } else if location.starts_with('/') {
        format!("{}{location}", &base[..path_start])
    } else {
        let path = base[path_start..].split('?').next().unwrap_or_default();
        let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{}{directory}{location}", &base[..path_start])
    };
    Origin::of(&joined).map(|_| joined)
}

/// Returns where the path of an absolute URL begins.
fn path_start(url: &str) -> Option<usize> {
    let origin_end = url.find("://")? + 3;
    Some(url[origin_end..].find(['/', '?']).map_or(url.len(), |at| origin_end + at))
}

/// Returns path and query of `url` on the server of `base`.
pub(super) fn on_origin_of(base: &str, url: &str) -> Option<String> {
    Some(format!("{}{}", &base[..path_start(base)?], &url[path_start(url)?..]))
}

/// Returns a URL that a registry at `base` named, such that what is sent there is as safe as what is sent to the
/// registry: `None` if it leaves TLS. A registry behind a proxy may not know that it speaks TLS, so its own host does.
pub(super) fn as_safe(base: &str, url: &str) -> Option<String> {
    let (own, named) = (Origin::of(base)?, Origin::of(url)?);
    match (own.scheme.as_str(), named.scheme.as_str()) {
        ("https", "http") if own.host == named.host => on_origin_of(base, url),
        ("https", "http") => None,
        _ => Some(url.to_owned()),
    }
}

/// Returns a URL for people: without user, query and fragment, where secrets are.
pub(super) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        None => url.rsplit('@').next().unwrap_or_default().to_owned(),
    }
}

/// Escapes a value of a query or a form.
pub(super) fn encode(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    value
        .bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Appends pairs to a URL's query.
pub(super) fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return url.to_owned();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{}", form(pairs))
}

/// Writes pairs as a form.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_joined() {
        let base = "https://a.com:5000/v2/x/blobs/1?y=/z";
        for (location, expected) in [
            ("http://b.com/c?d", Some("http://b.com/c?d")),
            ("//b.com/c", Some("https://b.com/c")),
            ("/c?u=http://x/", Some("https://a.com:5000/c?u=http://x/")),
            ("c#f", Some("https://a.com:5000/v2/x/blobs/c")),
            ("ftp://b.com/", None),
            ("http:///c", None),
        ] {
            assert_eq!(join(base, location).as_deref(), expected, "{location}");
        }
        assert_eq!(join("http://a", "b").as_deref(), Some("http://a/b"));
    }

    #[test]
    fn uploads_do_not_leave_tls() {
        let base = "https://a.com:5000";
        for (url, expected) in [
            ("https://a.com:5000/x?y", Some("https://a.com:5000/x?y")),
            ("http://a.com/x?y", Some("https://a.com:5000/x?y")),
            ("http://A.com:80?y", Some("https://a.com:5000?y")),
            ("https://b.com/x", Some("https://b.com/x")),
            ("http://b.com/x", None),
        ] {
            assert_eq!(as_safe(base, url).as_deref(), expected, "{url}");
        }
        assert_eq!(as_safe("http://a", "http://b/x").as_deref(), Some("http://b/x"));
    }

    #[test]
    fn origins_know_their_port_and_this_machine() {
        assert_eq!(Origin::of("https://A.com/x"), Origin::of("https://a.com:443/y"));
        assert_ne!(Origin::of("https://a.com/x"), Origin::of("http://a.com/x"));
        for (host, is) in [
            ("localhost", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("a.com", false),
            ("127.0.0.1.a.com", false),
        ] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("https://u:p@a.com/x?sig=1#f"), "https://a.com/x");
        assert_eq!(with_query("http://a/?b", &[("c d", "é/")]), "http://a/?b&c%20d=%C3%A9%2F");
    }
}
