//! Secrets of a build: where their values are. Values never reach a key, a layer, a log or an error.

use std::path::PathBuf;

/// Larger values, in bytes, are most likely a mistake; the reference refuses them too.
pub const LARGEST_SECRET: u64 = 500 << 10;

/// `--secret`
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its id.
    pub id: String,
    /// Where its value is.
    pub source: SecretSource,
}

/// Where a secret's value is.
#[derive(Clone)]
pub enum SecretSource {
    /// In a file, read when a step needs it.
    File(PathBuf),
    /// Here, taken from the environment.
    Value(Vec<u8>),
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Value(_) => f.write_str("Value(…)"),
        }
    }
}
