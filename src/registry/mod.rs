//! Talking to registries: the distribution protocol over a blocking HTTP client.
//!
//! What comes from a registry is hostile until its digest was compared: documents are read up to a bound and
//! verified before they are returned, blobs while they stream. Transfers that break are resumed and retried with
//! growing pauses; every wait has an end. Credentials go to the registry that they are for and to the token
//! server that it names, never on to where it redirects, and never into an error.
//!
//! Credentials, proxies and certificate files are values given by the caller: nothing here reads the environment
//! or a configuration file. Nothing here touches the store either; `source/image.rs` and `export/` join the two.

pub mod agent;
mod auth;
mod auth_file;
mod blob;
mod client;
mod config;
mod credential_helper;
mod credentials;
mod endpoint;
mod lists;
mod login;
mod mirrors;
mod push;
mod referrers;
mod registries;
mod retry;
mod upload;
mod url;
mod web;

pub use auth::Credential;
pub use auth_file::AuthFileEdit;
pub use blob::BlobReader;
pub use client::{Client, CredentialLookup, Fetched, Options};
pub use config::{AuthFile, ConfigError, DockerConfig};
pub use credential_helper::{Helper, HelperError};
pub use push::{BlobSource, Payload, Placed};
pub use registries::{Place, Purpose, Registries, RegistriesError};
pub use retry::Retry;
pub use web::{Settings, Web};

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Digest;
use crate::oci;
use agent::AgentError;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The exchange itself failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The registry answered with an error.
    #[error("`{url}` answered {status}{message}")]
    Status {
        /// What was asked, without its query.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said: empty, or `: ` and a line.
        message: String,
        /// When it may be asked again.
        retry_after: Option<Duration>,
    },
    /// There is no such thing in the registry.
    #[error("`{0}` not found")]
    NotFound(String),
    /// The registry wants other credentials, or any.
    #[error("access to `{repository}` denied{message}")]
    Denied {
        /// The repository.
        repository: String,
        /// What the server said: empty, or `: ` and a line.
        message: String,
    },
    /// The token server's answer cannot be used.
    #[error("cannot log in to `{registry}`: {reason}")]
    Token {
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The bytes are not the ones that were asked for.
    #[error("`{what}` has digest `{actual}`, expected `{expected}`")]
    Digest {
        /// What was read.
        what: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// There are more or fewer bytes than there should be.
    #[error("`{what}` has {actual} bytes, expected {expected}")]
    Size {
        /// What was read.
        what: String,
        /// What it should have.
        expected: u64,
        /// What it has, or was announced to have.
        actual: u64,
    },
    /// A part of a blob was asked for, and another one came.
    #[error("`{0}` came with another range of bytes than was asked for")]
    Range(String),
    /// The list is not one, or does not end.
    #[error("cannot read the {list} of `{repository}`: {reason}")]
    List {
        /// `tags` or `referrers`.
        list: &'static str,
        /// The repository.
        repository: String,
        /// Why.
        reason: String,
    },
    /// The document cannot be used.
    #[error("cannot read the manifest of `{name}`")]
    Document {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: oci::Error,
    },
    /// What was to be uploaded could not be read.
    #[error("cannot read `{digest}` to upload it")]
    Upload {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody could say the credentials.
    #[error("cannot get the credentials of `{registry}`")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: HelperError,
    },
    /// The user's configuration forbids to ask there.
    #[error("`{name}` is blocked by `{path}`")]
    Blocked {
        /// The image or repository.
        name: String,
        /// The file that says so.
        path: PathBuf,
    },
    /// The user's configuration makes a name of this one that cannot be.
    #[error("registries.conf says no usable place of `{name}`")]
    Place {
        /// The image or repository.
        name: String,
        /// Why.
        #[source]
        source: oci::ReferenceError,
    },
    /// Neither the mirrors nor the registry could help.
    #[error("`{name}` is in none of its places:{}", .failures.iter().map(told).collect::<String>())]
    Everywhere {
        /// The image or repository.
        name: String,
        /// Who was asked and what came of it; there are two or more, and the registry itself is the last.
        failures: Vec<(String, RegistryError)>,
    },
    /// The user asked to stop.
    #[error("canceled")]
    Canceled,
}

/// One place that could not help, on a line of its own, with all causes.
fn told((place, error): &(String, RegistryError)) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let causes: String = causes.map(|cause| format!(": {cause}")).collect();
    format!("\n`{place}`: {error}{causes}")
}

impl RegistryError {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Agent(error) => error.hint(),
            Self::Status { status: 429, .. } => {
                Some("the registry limits how often it is asked: log in, or try again later".into())
            }
            Self::NotFound(_) => Some("check the name and the tag".into()),
            Self::Denied { .. } => {
                Some("check that the repository exists and that its credentials are set".into())
            }
            Self::Digest { .. } | Self::Size { .. } => Some(
                "the registry, or a proxy on the way, sent wrong bytes; nothing of them was used"
                    .into(),
            ),
            Self::Document { source, .. } => source.hint(),
            Self::Credentials { source, .. } => source.hint(),
            Self::Blocked { .. } => {
                Some("take `blocked = true` out of that file, or use another image".into())
            }
            Self::Place { source, .. } => source.hint(),
            Self::Everywhere { failures, .. } => failures.last()?.1.hint(),
            Self::Status { status: 413, .. } => Some(
                "the registry, or a proxy before it, limits the size of what is uploaded".into(),
            ),
            Self::Status { .. }
            | Self::Token { .. }
            | Self::Upload { .. }
            | Self::Range(_)
            | Self::List { .. }
            | Self::Canceled => None,
        }
    }

    /// Returns whether the same may go well a little later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Agent(error) => error.is_transient(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::NotFound(_)
            | Self::Denied { .. }
            | Self::Token { .. }
            | Self::Digest { .. }
            | Self::Size { .. }
            | Self::Range(_)
            | Self::List { .. }
            | Self::Document { .. }
            | Self::Upload { .. }
            | Self::Credentials { .. }
            | Self::Blocked { .. }
            | Self::Place { .. }
            | Self::Canceled => false,
            // A mirror that is down is no reason to ask again for what the registry itself does not have.
            Self::Everywhere { failures, .. } => match failures.last() {
                Some((_, Self::Blocked { .. })) => failures.iter().any(|(_, it)| it.is_transient()),
                Some((_, error)) => error.is_transient(),
                None => false,
            },
        }
    }

    /// Returns whether nobody has it, or nobody gives it: another name is wanted, or other credentials. With mirrors
    /// it is the registry itself that counts.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Denied { .. } | Self::Blocked { .. } => true,
            Self::Everywhere { failures, .. } => {
                failures.last().is_some_and(|(_, error)| error.is_refusal())
            }
            _ => false,
        }
    }

    /// Returns whether the bytes were not the right ones, which a proxy on the way may have kept or made.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Digest { .. } | Self::Size { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Everywhere { failures, .. } => failures.last()?.1.retry_after(),
            _ => None,
        }
    }
}
