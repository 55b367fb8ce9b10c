//! The documents and names of the image world: configs, manifests, indexes, references, platforms, users.
//!
//! Everything here is pure: bytes and text in, values out, and back. What comes from outside is hostile: parsing
//! is bounded, never panics, and says what is wrong.
//!
//! Of oci-spec the crate kiln takes the media types. Its documents cannot be used: their annotations are hash
//! maps, so the bytes (and with them the digest) of one manifest differ from run to run; descriptors lose
//! `os.version`; a config loses Docker's extensions and every key that the crate does not know. So the documents
//! are kiln's own structs, with the field order and the omissions of the Go structs that BuildKit marshals.
//!
//! It reads no file and no network; `registry/` and `store/` bring the bytes.

mod config;
mod json;
mod manifest;
mod media;
mod platform;
mod reference;
mod user;

pub use config::{Healthcheck, History, ImageConfig, ProcessConfig, RootFs};
pub use manifest::{Descriptor, Document, Index, Manifest};
pub use media::{Compression, Content, Family, MediaType, content, media_type};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use user::{Owner, ProcessIds, UserError, is_named_owner, owner, process_ids};

/// The largest manifest or index that kiln reads, as registries limit them.
pub const MANIFEST_LIMIT: u64 = 4 << 20;

/// The largest image config that kiln reads.
pub const CONFIG_LIMIT: u64 = 8 << 20;

/// The PATH of an image that sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why bytes are not the document that they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is larger than kiln reads.
    #[error("the {what} has {size} bytes; at most {limit} are read")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// The document has more values than kiln reads.
    #[error("the {what} has more than {limit} values")]
    TooMany {
        /// Which document.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The bytes are not the JSON that the format asks for.
    #[error("malformed {what}")]
    Malformed {
        /// Which document.
        what: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A document of a kind that kiln cannot use.
    #[error("unsupported {what} `{found}`")]
    Unsupported {
        /// What is not supported.
        what: &'static str,
        /// What was found.
        found: String,
    },
    /// An index has no image for the platform.
    #[error("no image for platform `{wanted}`")]
    NoPlatform {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What there is.
        available: Vec<Platform>,
    },
}

impl Error {
    /// Returns what to try.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPlatform { available, .. } if available.is_empty() => None,
            Self::NoPlatform { available, .. } => {
                let names: Vec<_> = available.iter().map(Platform::to_string).collect();
                Some(format!("the image is made for {}; try --platform", names.join(", ")))
            }
            Self::Unsupported { what: "manifest type", .. } => {
                Some("push the image again with a current tool".to_owned())
            }
            Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Malformed { .. }
            | Self::Unsupported { .. } => None,
        }
    }
}
