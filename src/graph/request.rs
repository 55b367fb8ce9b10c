//! What a build is told besides the Dockerfile, for one platform.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{ImageLocation, RunNetwork};
use crate::oci::Platform;

/// What the build is told besides the Dockerfile.
#[derive(Debug, Clone)]
pub struct Request {
    /// `--target`
    pub target: Option<String>,
    /// Whether stages are lowered that the target does not need: nothing is to be built, but all looked at.
    pub every_stage: bool,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// `--label`
    pub labels: Vec<(String, String)>,
    /// This machine's.
    pub build_platform: Platform,
    /// `--platform`; `None`: this machine's, and a base of another one is accepted.
    pub platform: Option<Platform>,
    /// Whether names say which platform they belong to, because the build has several.
    pub names_platform: bool,
    /// `--build-context`, by [`super::context_key`].
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// `--network`
    pub network: RunNetwork,
    /// Names of stages whose cached results may not be used, lower case; empty: all; `None`: nobody's.
    pub no_cache: Option<Vec<String>>,
}

impl Request {
    /// Returns the platform that the image is for.
    pub fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }
}

/// `--build-context`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// An image.
    Image(ImageLocation),
    /// Nothing.
    Scratch,
}
