//! Whose certificates are trusted, and which ones kiln shows: files, read when the first connection needs them.
//!
//! A host may have a directory of its own, as in docker and podman: its `*.crt` are trusted for this host besides
//! those of the machine, and a `*.cert` with the `*.key` of the same name is shown to it. Where the directories are
//! is the caller's to say.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, parse_pem};

use super::AgentError;
use crate::fs;
use crate::registry::url::Origin;

/// Where Linux distributions keep the certificates that they trust.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where they keep them one by one.
const SYSTEM_DIRECTORIES: &[&str] = &["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Whose certificates are trusted, and which are shown.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// Who is trusted by everybody.
    pub roots: Roots,
    /// Directories in which a host (`host[:port]`) may have a directory of its own; the first that there is counts.
    pub per_host: Vec<PathBuf>,
    /// The directory of every host, in place of those.
    pub for_all: Option<PathBuf>,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// The bundle of this machine.
    #[default]
    System,
    /// Other places (`SSL_CERT_FILE`, `SSL_CERT_DIR`); each replaces one kind of this machine's.
    Paths {
        /// A PEM bundle.
        file: Option<PathBuf>,
        /// Directories of PEM files.
        directories: Vec<PathBuf>,
    },
}

/// What is known about certificates; read once.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    options: Certificates,
    roots: OnceLock<Vec<Certificate<'static>>>,
}

/// What a connection to a host needs.
#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) roots: Vec<Certificate<'static>>,
    pub(super) shown: Option<ClientCert>,
}

impl Keyring {
    pub(super) fn new(options: Certificates) -> Self {
        Self { options, roots: OnceLock::new() }
    }

    /// Returns what a connection to this host needs.
    pub(super) fn keys(&self, origin: &Origin) -> Result<Keys, AgentError> {
        let mut keys = Keys { roots: self.roots()?.to_vec(), shown: None };
        if let Some(directory) = self.directory(origin) {
            read_directory(&directory, &mut keys)?;
        }
        Ok(keys)
    }

    fn roots(&self) -> Result<&[Certificate<'static>], AgentError> {
        if let Some(known) = self.roots.get() {
            return Ok(known);
        }
        let read = self.options.roots.read()?;
        Ok(self.roots.get_or_init(|| read))
    }

    /// Returns the directory of a host; Docker Hub has it under the name that people use.
    fn directory(&self, origin: &Origin) -> Option<PathBuf> {
        if let Some(directory) = &self.options.for_all {
            return Some(directory.clone());
        }
        let Origin { host, port, .. } = origin;
        let mut names = vec![format!("{host}:{port}")];
        if *port == 443 {
            names.push(host.clone());
        }
        if host == "registry-1.docker.io" {
            names.push("docker.io".to_owned());
        }
        let bases = self.options.per_host.iter();
        let mut all = bases.flat_map(|base| names.iter().map(|name| base.join(name)));
        all.find(|directory| directory.is_dir())
    }
}

impl Roots {
    fn read(&self) -> Result<Vec<Certificate<'static>>, AgentError> {
        let bundle = || SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.is_file());
        let usual = || SYSTEM_DIRECTORIES.iter().map(PathBuf::from).collect();
        let (file, directories) = match self {
            Self::System => (bundle(), Vec::new()),
            Self::Paths { file, directories } if directories.is_empty() => {
                (file.clone().or_else(bundle), usual())
            }
            Self::Paths { file, directories } => {
                (file.clone().or_else(bundle), directories.clone())
            }
        };
        let mut found = match file {
            Some(file) => certificates(&file)?,
            None => Vec::new(),
        };
        for directory in directories {
            // What is no certificate may lie there too, and a directory that is not there has none.
            let paths = files_of(&directory).unwrap_or_default();
            found.extend(paths.iter().filter_map(|path| certificates(path).ok()).flatten());
        }
        found.sort_by(|a, b| a.der().cmp(b.der()));
        found.dedup_by(|a, b| a.der() == b.der());
        Ok(found)
    }
}

/// Returns the files of a directory, sorted; other names of its own files (the hashes of OpenSSL) are left out.
fn files_of(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let target = std::fs::read_link(&path).ok();
        if target.is_none_or(|target| target.components().count() > 1) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Adds what the directory of a host has.
fn read_directory(directory: &Path, keys: &mut Keys) -> Result<(), AgentError> {
    let unreadable = |path: &Path, error: &dyn std::fmt::Display| {
        AgentError::Certificate(format!("`{}`: {error}", path.display()))
    };
    let paths = files_of(directory).map_err(|error| unreadable(directory, &error))?;
    for path in &paths {
        let partner = |extension: &str| Some(path.with_extension(extension));
        let partner = match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                keys.roots.extend(certificates(path)?);
                None
            }
            Some("cert") => {
                let key = path.with_extension("key");
                if keys.shown.is_none() && paths.contains(&key) {
                    let pem = fs::read(&key).map_err(|error| unreadable(&key, &error))?;
                    let pem =
                        PrivateKey::from_pem(&pem).map_err(|_| unreadable(&key, &"no key"))?;
                    keys.shown = Some(ClientCert::new_with_certs(&certificates(path)?, pem));
                }
                partner("key")
            }
            Some("key") => partner("cert"),
            _ => None,
        };
        if let Some(partner) = partner.filter(|partner| !paths.contains(partner)) {
            let missing = format!("`{}` is missing beside it", partner.display());
            return Err(unreadable(path, &missing));
        }
    }
    Ok(())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, AgentError> {
    let wrong = |problem: &dyn std::fmt::Display| {
        AgentError::Certificate(format!("`{}`: {problem}", path.display()))
    };
    let pem = fs::read(path).map_err(|error| wrong(&error))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(&error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(wrong(&"no certificate is in it")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(options: Certificates) -> String {
        let origin = Origin::of("https://a.io").unwrap();
        Keyring::new(options).keys(&origin).unwrap_err().to_string()
    }

    #[test]
    fn unreadable_certificates_are_named() {
        let file = Some(PathBuf::from("/no/such/bundle"));
        let roots = Roots::Paths { file, directories: Vec::new() };
        assert!(
            problem(Certificates { roots, ..Certificates::default() }).contains("/no/such/bundle")
        );
        let directory = tempfile::tempdir().unwrap();
        let for_all = Some(directory.path().to_owned());
        let options = Certificates { for_all, ..Certificates::default() };
        let path = directory.path().display();
        let cases = [
            ("ca.crt", format!("`{path}/ca.crt`: no certificate is in it")),
            ("me.cert", format!("`{path}/me.cert`: `{path}/me.key` is missing beside it")),
            ("me.key", format!("`{path}/me.key`: `{path}/me.cert` is missing beside it")),
        ];
        for (name, expected) in cases {
            let file = directory.path().join(name);
            std::fs::write(&file, "nothing").unwrap();
            assert_eq!(problem(options.clone()), format!("cannot read a certificate: {expected}"));
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn a_host_has_its_own_directory() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let make = |base: &tempfile::TempDir, name: &str| {
            std::fs::create_dir(base.path().join(name)).unwrap();
        };
        make(&second, "a.io");
        make(&second, "b.io:5000");
        make(&first, "b.io:5000");
        make(&first, "docker.io");
        let per_host = vec![first.path().to_owned(), second.path().to_owned()];
        let keyring = Keyring::new(Certificates { per_host, ..Certificates::default() });
        let found = |url: &str| keyring.directory(&Origin::of(url).unwrap());
        assert_eq!(found("https://a.io/x"), Some(second.path().join("a.io")));
        assert_eq!(found("https://a.io:5000/x"), None);
        assert_eq!(found("https://b.io:5000/x"), Some(first.path().join("b.io:5000")));
        assert_eq!(found("https://registry-1.docker.io/"), Some(first.path().join("docker.io")));
    }
}
