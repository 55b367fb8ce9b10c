//! For which platforms a build is: `--platform`, with its spellings of one platform taken together.

use super::Build;
use super::inputs::Checked;
use crate::diagnostic::{Blame, Diagnostic};
use crate::export::{Output, OutputKind};
use crate::graph::Request;
use crate::oci::Platform;

/// The argument that makes an index even of one image, as in BuildKit.
const MULTI_PLATFORM: &str = "BUILDKIT_MULTI_PLATFORM";

/// For which platforms a build is.
pub(super) struct Platforms {
    /// In the order in which they were asked for, each once; empty: this machine's, whatever the bases are for.
    wanted: Vec<Platform>,
    /// Whether the result is an index.
    pub(super) is_index: bool,
}

impl Platforms {
    /// Reads what a build asks for.
    pub(super) fn wanted(build: &Build) -> Checked<Self> {
        let mut wanted: Vec<Platform> = Vec::new();
        for text in &build.platforms {
            let platform = parse(text)?;
            if !wanted.contains(&platform) {
                wanted.push(platform);
            }
        }
        let given = build.build_args.iter().rev().find(|(name, _)| name == MULTI_PLATFORM);
        let is_index = match given.filter(|(_, value)| !value.is_empty()) {
            None => wanted.len() > 1,
            Some((name, value)) => {
                let message =
                    format!("invalid value `{value}` for `{name}`: expected true or false");
                let on = crate::dockerfile::boolean(value);
                on.ok_or_else(|| vec![Diagnostic::new(Blame::Input, message)])?
            }
        };
        if wanted.len() > 1 && !is_index {
            let message = format!("`{MULTI_PLATFORM}=false` does not go with several platforms");
            let hint = "drop the argument, or build for one platform".to_owned();
            return Err(vec![Diagnostic::new(Blame::Input, message).hint(Some(hint))]);
        }
        let is_archive = |output: &Output| matches!(output.kind, OutputKind::Docker { .. });
        if is_index && build.outputs.iter().any(is_archive) {
            let message = "`type=docker` cannot hold the images of several platforms";
            let hint = "write `type=oci`, or build for one platform".to_owned();
            return Err(vec![Diagnostic::new(Blame::Input, message).hint(Some(hint))]);
        }
        Ok(Self { wanted, is_index })
    }

    /// Returns the request of each platform.
    pub(super) fn each(&self, request: &Request) -> Vec<Request> {
        let request = Request { names_platform: self.is_index, ..request.clone() };
        if self.wanted.is_empty() {
            return vec![request];
        }
        let of =
            |platform: &Platform| Request { platform: Some(platform.clone()), ..request.clone() };
        self.wanted.iter().map(of).collect()
    }
}

fn parse(text: &str) -> Checked<Platform> {
    if text == "local" {
        return Ok(Platform::host());
    }
    Platform::parse(text).map_err(|error| {
        let hint = error.hint();
        vec![Diagnostic::new(Blame::Input, error.to_string()).hint(hint)]
    })
}
