//! A real registry (Debian's docker-registry) on a free port, and the tools that talk to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// How the registry is reached.
pub(crate) enum Setup {
    Plain,
    /// Only with this name and password.
    Password(&'static str, &'static str),
    /// Over TLS, with a certificate that no system trusts.
    Tls,
    /// The same, and only with this name and password.
    TlsPassword(&'static str, &'static str),
    /// Over TLS, and only for who shows the certificate that this file has.
    TlsClient(PathBuf),
}

pub(crate) struct Registry {
    child: Child,
    directory: TempDir,
    pub(crate) host: String,
}

/// Runs a tool of a Debian package and returns what it prints.
pub(crate) fn tool(package: &str, name: &str, arguments: &[&str]) -> String {
    let output = Command::new(name).args(arguments).output().unwrap_or_else(|error| {
        panic!("cannot run `{name}`: {error}; this test needs it: apt-get install {package}")
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

impl Registry {
    pub(crate) fn start(setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let further = match setup {
            Setup::Plain => String::new(),
            Setup::Password(user, password) | Setup::TlsPassword(user, password) => {
                let line = tool("apache2-utils", "htpasswd", &["-Bbn", user, password]);
                fs::write(root.join("htpasswd"), line).unwrap();
                format!("auth: {{htpasswd: {{realm: test, path: {}/htpasswd}}}}\n", root.display())
            }
            Setup::Tls | Setup::TlsClient(_) => String::new(),
        };
        let keys = || {
            make_certificate(root);
            format!("certificate: {0}/cert.pem, key: {0}/key.pem", root.display())
        };
        let tls = match setup {
            Setup::Tls | Setup::TlsPassword(..) => format!(", tls: {{{}}}", keys()),
            Setup::TlsClient(client) => {
                format!(", tls: {{{}, clientcas: [{}]}}", keys(), client.display())
            }
            Setup::Plain | Setup::Password(..) => String::new(),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}/data}}}}\n\
             {further}http: {{addr: \"127.0.0.1:0\", secret: s{tls}}}\n",
            root.display()
        );
        fs::write(root.join("config.yml"), config).unwrap();
        let spawned = Command::new("docker-registry")
            .arg("serve")
            .arg(root.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!("cannot run `docker-registry`: {error}; apt-get install docker-registry")
        });
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.find_map(|line| line.ok().filter(|line| line.contains("listening on")));
        let line = line.expect("the registry says where it listens");
        let address = line.split("listening on ").nth(1).unwrap();
        let host = address.split(['"', ',']).next().unwrap().to_owned();
        // The pipe must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, directory, host }
    }

    /// Where the registry keeps what it has.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The certificate that the registry shows.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes `cert.pem` and `key.pem` for this machine and a few names that no machine has.
pub(crate) fn make_certificate(directory: &Path) {
    let (key, certificate) = (directory.join("key.pem"), directory.join("cert.pem"));
    #[rustfmt::skip]
    let arguments = [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1,DNS:registry.test,DNS:registry-1.docker.io",
        "-addext", "basicConstraints=critical,CA:FALSE",
        "-keyout", key.to_str().unwrap(), "-out", certificate.to_str().unwrap(),
    ];
    tool("openssl", "openssl", &arguments);
}
