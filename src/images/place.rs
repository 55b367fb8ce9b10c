//! Places that hold images, as `kiln copy` spells them: those of skopeo, and the local store.
//!
//! ```text
//! NAME                          the local store: a name or an id
//! docker://NAME                 a registry
//! oci:DIRECTORY[:NAME]          an OCI layout
//! oci-archive:FILE[:NAME]       the same as one tar
//! docker-archive:FILE[:NAME]    an archive of `docker save`
//! ```

use std::path::{Path, PathBuf};

use super::{ImagesError, Result};
use crate::oci::Reference;
use crate::source::SourceError;

/// A place that holds images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The local store.
    Store(String),
    /// A registry.
    Registry(Reference),
    /// A file or directory.
    File {
        /// What it is; archives are read by what they contain.
        kind: FileKind,
        /// Where it is.
        path: PathBuf,
        /// Which image in it.
        name: Option<String>,
    },
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// An OCI layout directory.
    Layout,
    /// An OCI layout as one tar.
    OciArchive,
    /// An archive of `docker save`.
    DockerArchive,
}

impl Place {
    /// Returns the path of a file or directory.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Store(_) | Self::Registry(_) => None,
        }
    }

    /// Reads a place.
    pub fn parse(text: &str) -> Result<Self> {
        let transports = [
            ("oci:", FileKind::Layout),
            ("oci-archive:", FileKind::OciArchive),
            ("docker-archive:", FileKind::DockerArchive),
        ];
        if let Some(name) = text.strip_prefix("docker://") {
            let reference = Reference::parse(name).map_err(SourceError::from)?;
            return Ok(Self::Registry(reference.or_latest()));
        }
        for (prefix, kind) in transports {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (path, name) = split(rest);
                if path.is_empty() {
                    return Err(ImagesError::Place(text.to_owned()));
                }
                return Ok(Self::File { kind, path: path.into(), name });
            }
        }
        let other =
            ["dir:", "docker-daemon:", "containers-storage:", "sif:", "ostree:", "tarball:"];
        if text.contains("://") || other.iter().any(|prefix| text.starts_with(prefix)) {
            return Err(ImagesError::Place(text.to_owned()));
        }
        Ok(Self::Store(text.to_owned()))
    }
}

/// Splits `PATH:NAME` at the first colon, as skopeo does; a path that exists as it is written has no name.
fn split(text: &str) -> (&str, Option<String>) {
    if Path::new(text).exists() {
        return (text, None);
    }
    match text.split_once(':') {
        Some((path, name)) if !name.is_empty() => (path, Some(name.to_owned())),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let file = |kind, path: &str, name: Option<&str>| Place::File {
            kind,
            path: path.into(),
            name: name.map(str::to_owned),
        };
        let cases = [
            ("app", Place::Store("app".into())),
            ("host:5000/app:1", Place::Store("host:5000/app:1".into())),
            (
                "docker://app",
                Place::Registry(Reference::parse("docker.io/library/app:latest").unwrap()),
            ),
            ("oci:a/b", file(FileKind::Layout, "a/b", None)),
            ("oci:a:v1", file(FileKind::Layout, "a", Some("v1"))),
            ("oci-archive:a.tar:x/y:1", file(FileKind::OciArchive, "a.tar", Some("x/y:1"))),
            ("docker-archive:a.tar", file(FileKind::DockerArchive, "a.tar", None)),
        ];
        for (text, expected) in cases {
            assert_eq!(Place::parse(text).unwrap(), expected, "{text}");
        }
        for text in ["dir:x", "docker-daemon:a", "http://x/y", "oci:", "docker://UP"] {
            assert!(Place::parse(text).is_err(), "{text}");
        }
    }
}
