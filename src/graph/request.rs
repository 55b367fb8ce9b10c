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
    /// What the Dockerfile may ask for beyond that.
    pub entitlements: Entitlements,
    /// Names of stages whose cached results may not be used, lower case; empty: all; `None`: nobody's.
    pub no_cache: Option<Vec<String>>,
}

/// What RUN may ask for only if who builds has said so: a Dockerfile is no more trusted than what it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entitlements {
    /// `network.host`: `--network=host`
    pub host_network: bool,
    /// `security.insecure`: `--security=insecure`
    pub insecure: bool,
}

impl Request {
    /// A request for the last stage for this platform, which is the machine's, that says nothing more and allows nothing.
    pub fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            every_stage: false,
            build_args: BTreeMap::new(),
            labels: Vec::new(),
            build_platform,
            platform: None,
            names_platform: false,
            named_contexts: BTreeMap::new(),
            network: RunNetwork::Default,
            entitlements: Entitlements::default(),
            no_cache: None,
        }
    }

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
