//! The registry client against a real registry, against one that fails in every way it can, and against a real one
//! behind a proxy that fails at random; builds on what is pulled.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod bases;
mod fake;
mod faults;
mod faulty;
mod layers;
mod lists;
mod proxy;
mod real;
#[path = "../grammar/rng.rs"]
mod rng;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod uploads;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use kiln::oci::Reference;
use kiln::registry::agent::{Agent, AgentOptions, Timeouts};
use kiln::registry::{Client, Credential, Options, Retry};

/// A client that does not wait long.
fn client(credential: Option<Credential>) -> Client {
    client_of(AgentOptions::default(), credential)
}

fn client_of(agent: AgentOptions, credential: Option<Credential>) -> Client {
    let short = Duration::from_millis(400);
    let timeouts = Timeouts {
        connect: short * 10,
        response: short,
        idle: short,
        document: short * 3,
        slow: short * 3,
    };
    let agent = Agent::new(AgentOptions { timeouts, ..agent });
    let (pause, longest) = (Duration::from_millis(5), Duration::from_secs(2));
    let retry = Retry { attempts: 3, pause, longest, ..Retry::default() };
    let credentials = Arc::new(move |_: &Reference| Ok(credential.clone()));
    Client::new(Arc::new(agent), Options { credentials, retry, ..Options::default() })
}

fn password(username: &str, password: &str) -> Option<Credential> {
    Some(Credential::Password { username: username.into(), password: password.into() })
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}
