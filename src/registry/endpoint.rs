//! Where a registry listens: the base URL behind a name, found out once.
//!
//! `docker.io` listens elsewhere. A registry on this machine may speak plain HTTP and is asked that way first; one
//! that the user calls insecure may show any certificate, or speak plain HTTP where it has none. Every other one
//! must prove who it is. Nothing is sent but a `GET /v2/` without credentials.

use super::agent::{Agent, AgentError, Method, Request, RequestBody, Verification};
use super::url::{Origin, is_loopback};

const DOCKER_HUB: &str = "registry-1.docker.io";

/// Where a registry listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `https://host[:port]`
    pub(super) base: String,
    /// Whether it must prove who it is.
    pub(super) verification: Verification,
}

impl Endpoint {
    /// Finds the endpoint of a registry.
    pub(super) fn find(agent: &Agent, domain: &str, insecure: bool) -> Result<Self, AgentError> {
        let host = if domain == "docker.io" { DOCKER_HUB } else { domain };
        let loopback =
            Origin::of(&format!("http://{host}")).is_some_and(|it| is_loopback(&it.host));
        let verification = if insecure { Verification::Skip } else { Verification::Verify };
        let with = |scheme: &str| Self { base: format!("{scheme}://{host}"), verification };
        let (first, second) = match (loopback, insecure) {
            (false, false) => return Ok(with("https")),
            (true, _) => (with("http"), with("https")),
            (false, true) => (with("https"), with("http")),
        };
        match first.answers(agent) {
            Ok(true) => Ok(first),
            Ok(false) => Ok(second),
            // Who listens and says nothing will not say more the other way.
            Err(error) if error.is_silence() => Err(error),
            // The first error is the one to show: the second way is only a guess.
            Err(error) => match second.answers(agent) {
                Ok(true) => Ok(second),
                Ok(false) | Err(_) => Err(error),
            },
        }
    }

    /// Returns whether a registry speaks here; a TLS server answers 400 to plain HTTP.
    fn answers(&self, agent: &Agent) -> Result<bool, AgentError> {
        let response = agent.send(Request {
            method: Method::GET,
            url: &format!("{}/v2/", self.base),
            headers: &[],
            authorization: None,
            verification: self.verification,
            body: RequestBody::Empty,
        })?;
        Ok(response.status != 400 || self.base.starts_with("https"))
    }
}
