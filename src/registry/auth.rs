//! Proving who asks: the `WWW-Authenticate` challenge, Basic, and the Bearer token flow.
//!
//! One token for each registry and scope, fetched by one thread while the others wait, kept until shortly before
//! it expires. With credentials the token server is asked by POST (OAuth 2) and, where it does not know that, by
//! GET with Basic; without, by GET. Credentials are never shown, not even in debug output, and never sent over
//! plain HTTP to another machine than the registry's.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::RegistryError;
use super::agent::{Agent, Method, Request, RequestBody, Response, Verification};
use super::url::{Origin, form, with_query};

const CLIENT_ID: &str = "kiln";
const TOKEN_LIMIT: u64 = 1 << 20;

/// What proves who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password or access token.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth 2 refresh token, exchanged for access tokens.
    IdentityToken(String),
    /// An access token, sent as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
            Self::RegistryToken(_) => "RegistryToken(…)",
        })
    }
}

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What it calls the registry.
        service: Option<String>,
        /// What the registry says the token must be for.
        scope: Option<String>,
    },
}

struct Token {
    header: String,
    expires: Option<Instant>,
}

/// What is known of one registry.
#[derive(Default)]
struct Known {
    challenge: Option<Challenge>,
    tokens: HashMap<String, Token>,
}

/// Remembers challenges and tokens.
#[derive(Default)]
pub(super) struct Authenticator(Mutex<HashMap<String, Arc<Mutex<Known>>>>);

/// Who asks for what.
pub(super) struct Identity<'a> {
    pub(super) agent: &'a Agent,
    /// `host[:port]`
    pub(super) registry: &'a str,
    /// What people call what is asked for.
    pub(super) subject: &'a str,
    /// `repository:x:pull`, several separated by spaces.
    pub(super) scope: &'a str,
    /// Says the credentials; asked only if the registry wants some.
    pub(super) credential: &'a dyn Fn() -> Result<Option<Credential>, RegistryError>,
    pub(super) verification: Verification,
}

impl Authenticator {
    /// Returns the header for a request whose registry is known to want one.
    pub(super) fn header(&self, id: &Identity<'_>) -> Result<Option<String>, RegistryError> {
        let known = self.known(id);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.challenge.clone() {
            Some(challenge) => known.header(id, &challenge).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the header that answers a 401; `refused` is the one that did not do. `None`: there is no better.
    pub(super) fn answer(
        &self,
        id: &Identity<'_>,
        response: &Response,
        refused: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        let Some(challenge) = challenges(response.headers_of("www-authenticate")) else {
            return Ok(None);
        };
        let known = self.known(id);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.tokens.retain(|_, token| Some(token.header.as_str()) != refused);
        let header = known.header(id, &challenge)?;
        known.challenge = Some(challenge);
        Ok((refused != Some(header.as_str())).then_some(header))
    }

    fn known(&self, id: &Identity<'_>) -> Arc<Mutex<Known>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(id.registry.to_owned()).or_default().clone()
    }
}

impl Known {
    fn header(&mut self, id: &Identity<'_>, to: &Challenge) -> Result<String, RegistryError> {
        let valid = |token: &Token| token.expires.is_none_or(|end| Instant::now() < end);
        if let Some(token) = self.tokens.get(id.scope).filter(|token| valid(token)) {
            return Ok(token.header.clone());
        }
        let credential = (id.credential)()?;
        let (realm, service, asked) = match (to, &credential) {
            (_, Some(Credential::RegistryToken(token))) => return Ok(format!("Bearer {token}")),
            (Challenge::Basic, Some(Credential::Password { username, password })) => {
                return Ok(basic(username, password));
            }
            (Challenge::Basic, _) => {
                return Err(RegistryError::Denied {
                    repository: id.subject.to_owned(),
                    message: ": the registry asks for a name and a password".to_owned(),
                });
            }
            (Challenge::Bearer { realm, service, scope }, _) => (realm, service, scope),
        };
        let scopes = union(id.scope, asked.as_deref().unwrap_or_default());
        let token = fetch(id, credential.as_ref(), realm, service.as_deref(), &scopes)?;
        let header = token.header.clone();
        self.tokens.insert(id.scope.to_owned(), token);
        Ok(header)
    }
}

/// Returns the scopes of both, each once; the challenge's own are kept only if they are of another resource.
fn union<'a>(ours: &'a str, theirs: &'a str) -> Vec<&'a str> {
    let mut scopes: Vec<_> = ours.split_whitespace().collect();
    let further = |scope: &&str| !ours.split_whitespace().any(|it| resource(it) == resource(scope));
    scopes.extend(theirs.split_whitespace().filter(further));
    scopes
}

/// Returns a scope without its actions.
fn resource(scope: &str) -> &str {
    scope.rsplit_once(':').map_or(scope, |(resource, _)| resource)
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// What a token server answers.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

fn fetch(
    id: &Identity<'_>,
    credential: Option<&Credential>,
    realm: &str,
    service: Option<&str>,
    scopes: &[&str],
) -> Result<Token, RegistryError> {
    let registry = || id.registry.to_owned();
    let origin = Origin::of(realm).ok_or_else(|| RegistryError::Token {
        registry: registry(),
        reason: "it names a token server that is no URL".to_owned(),
    })?;
    let plain = origin.scheme == "http" && !origin.is_loopback();
    if plain && credential.is_some() && id.verification == Verification::Verify {
        let reason = "its token server would read the password over plain HTTP".to_owned();
        return Err(RegistryError::Token { registry: registry(), reason });
    }
    let mut response = None;
    if let Some(credential) = credential {
        response = post(id, credential, realm, &oauth(credential, service, scopes))?;
    }
    let response = match response {
        Some(response) => response,
        None => get(id, credential, realm, service, scopes)?,
    };
    if matches!(response.status, 400 | 401 | 403) {
        return Err(RegistryError::Denied {
            repository: id.subject.to_owned(),
            message: ": the token server refuses the credentials".to_owned(),
        });
    }
    if response.status != 200 {
        return Err(super::client::status_error(response));
    }
    let bytes = response.read_all(TOKEN_LIMIT)?;
    let answer: Option<TokenAnswer> = serde_json::from_slice(&bytes).ok();
    let lifetime = answer.as_ref().and_then(|answer| answer.expires_in).unwrap_or(60);
    let token = answer.and_then(|answer| answer.token.or(answer.access_token));
    let token = token.filter(|token| !token.is_empty() && token.is_ascii());
    let reason = || "its token server's answer has no token".to_owned();
    let token =
        token.ok_or_else(|| RegistryError::Token { registry: registry(), reason: reason() })?;
    // A tenth early: the request that takes it along has to arrive.
    let lifetime = Duration::from_secs(lifetime.min(86_400)).mul_f32(0.9);
    Ok(Token { header: format!("Bearer {token}"), expires: Some(Instant::now() + lifetime) })
}

/// The fields of the OAuth 2 request.
fn oauth(credential: &Credential, service: Option<&str>, scopes: &[&str]) -> String {
    let scopes = scopes.join(" ");
    let mut fields = vec![("client_id", CLIENT_ID)];
    if !scopes.is_empty() {
        fields.push(("scope", &scopes));
    }
    fields.extend(service.map(|service| ("service", service)));
    match credential {
        Credential::Password { username, password } => fields.extend([
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
        ]),
        Credential::IdentityToken(token) | Credential::RegistryToken(token) => {
            fields.extend([("grant_type", "refresh_token"), ("refresh_token", token)]);
        }
    }
    form(&fields)
}

/// Asks by POST; `None`: the server does not know that way, or not this credential by it.
fn post(
    id: &Identity<'_>,
    credential: &Credential,
    realm: &str,
    form: &str,
) -> Result<Option<Response>, RegistryError> {
    let response = id.agent.send(Request {
        method: Method::POST,
        url: realm,
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        authorization: None,
        verification: id.verification,
        body: RequestBody::Bytes(form.as_bytes()),
    })?;
    let by_password = matches!(credential, Credential::Password { .. });
    let unknown = matches!(response.status, 400 | 401 | 404 | 405);
    Ok(Some(response).filter(|_| !(by_password && unknown)))
}

fn get(
    id: &Identity<'_>,
    credential: Option<&Credential>,
    realm: &str,
    service: Option<&str>,
    scopes: &[&str],
) -> Result<Response, RegistryError> {
    let mut query: Vec<_> = service.map(|service| ("service", service)).into_iter().collect();
    query.extend(scopes.iter().map(|scope| ("scope", *scope)));
    let authorization = match credential {
        Some(Credential::Password { username, password }) => Some(basic(username, password)),
        Some(Credential::IdentityToken(_) | Credential::RegistryToken(_)) | None => None,
    };
    Ok(id.agent.send(Request {
        method: Method::GET,
        url: &with_query(realm, &query),
        headers: &[],
        authorization: authorization.as_deref(),
        verification: id.verification,
        body: RequestBody::Empty,
    })?)
}

/// Reads `WWW-Authenticate` headers and takes the challenge that kiln can answer; Bearer before Basic.
fn challenges<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for (scheme, parameters) in headers.flat_map(parse_challenges) {
        let find = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = find("realm")
        {
            return Some(Challenge::Bearer {
                realm,
                service: find("service"),
                scope: find("scope"),
            });
        }
    }
    basic
}

type Parsed = (String, Vec<(String, String)>);

/// `scheme key=value, key="value", scheme …`
fn parse_challenges(header: &str) -> Vec<Parsed> {
    let mut out: Vec<Parsed> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return out;
        }
        rest = after;
        let Some(value) = after.strip_prefix('=') else {
            out.push((word.to_owned(), Vec::new()));
            continue;
        };
        let (value, after) = parse_value(value);
        rest = after;
        if let Some((_, parameters)) = out.last_mut() {
            parameters.push((word.to_owned(), value));
        }
    }
}

/// A word, or a quoted text in which `\` escapes.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        #[rustfmt::skip]
        let cases: [(&[&str], _); 9] = [
            (&[r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull,push""#], bearer("https://a/t", Some("s"), Some("repository:x:pull,push"))),
            (&[r#"bearer  Realm=https://a/t , service="a \"b\"""#], bearer("https://a/t", Some("a \"b\""), None)),
            (&[r#"Basic realm="x", Bearer realm="y""#], bearer("y", None, None)),
            (&[r#"Basic realm="x""#, r#"Bearer realm="y""#], bearer("y", None, None)),
            (&[r#"Basic realm="x""#], Some(Challenge::Basic)),
            (&["Negotiate", "BASIC"], Some(Challenge::Basic)),
            (&["Bearer"], None),
            (&[r#"Bearer realm=""#], None),
            (&["", "=,=\"", "é=é"], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(challenges(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    #[test]
    fn scopes_are_merged_by_resource() {
        assert_eq!(
            union(
                "repository:a:pull,push repository:b:pull",
                "repository:a:pull registry:catalog:*"
            ),
            ["repository:a:pull,push", "repository:b:pull", "registry:catalog:*"]
        );
    }

    #[test]
    fn credentials_do_not_show() {
        let secret = Credential::Password { username: "u".into(), password: "s3cret".into() };
        assert_eq!(format!("{secret:?}"), "Password(…)");
    }
}
