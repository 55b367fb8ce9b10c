//! Certificates: whose are trusted, and which are shown.

use std::fs;
use std::path::Path;

use crate::server::{Registry, Setup, make_certificate};
use crate::support::Kiln;
use crate::{build_on, push_base};

fn certs(kiln: &Kiln, host: &str) -> std::path::PathBuf {
    let directory = kiln.path("home").join(".config/containers/certs.d").join(host);
    fs::create_dir_all(&directory).unwrap();
    directory
}

#[test]
fn the_authority_of_a_registry_is_known_in_many_ways() {
    let registry = Registry::start(&Setup::Tls);
    let name = format!("{}/base:1", registry.host);
    push_base(&name, &[]);
    let certificate = registry.certificate();
    let kiln = Kiln::new();
    let refused = build_on(&kiln, &name, &[], &[]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    let hint = format!("certs.d/{}/ca.crt", registry.host);
    assert!(refused.error().contains(&hint), "{}", refused.stderr);
    let accepted = |kiln: &Kiln, flags: &[&str], variables: &[(&str, &Path)]| {
        let ended = build_on(kiln, &name, flags, variables);
        assert_eq!(ended.code, Some(0), "{flags:?} {variables:?}: {}", ended.stderr);
    };
    accepted(&Kiln::new(), &[], &[("SSL_CERT_FILE", &certificate)]);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(&certificate, folder.path().join("own.pem")).unwrap();
    accepted(&Kiln::new(), &[], &[("SSL_CERT_DIR", folder.path())]);
    fs::copy(&certificate, certs(&kiln, &registry.host).join("ca.crt")).unwrap();
    accepted(&kiln, &[], &[]);
    fs::copy(&certificate, folder.path().join("own.crt")).unwrap();
    accepted(&Kiln::new(), &["--cert-dir", &folder.path().display().to_string()], &[]);
    // The directory of one host is for that host alone.
    let other = Registry::start(&Setup::Tls);
    fs::copy(&certificate, certs(&kiln, &other.host).join("ca.crt")).unwrap();
    let refused = build_on(&kiln, &format!("{}/base:1", other.host), &[], &[]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let registry = Registry::start(&Setup::Tls);
    let host = registry.host.replace("127.0.0.1", "localhost");
    let variables = [("SSL_CERT_FILE", registry.certificate())];
    let variables = variables.each_ref().map(|(name, path)| (*name, path.as_path()));
    let ended = build_on(&Kiln::new(), &format!("{host}/base:1"), &[], &variables);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let hint = format!("get a certificate for {host}\n");
    let hint = ended.error().contains("the server's certificate is for other names")
        && ended.error().contains(&hint);
    assert!(hint, "{}", ended.stderr);
}

#[test]
fn a_certificate_is_shown_to_who_wants_one() {
    let own = tempfile::tempdir().unwrap();
    make_certificate(own.path());
    let (cert, key) = (own.path().join("cert.pem"), own.path().join("key.pem"));
    let registry = Registry::start(&Setup::TlsClient(cert.clone()));
    let name = format!("{}/base:1", registry.host);
    let shown = tempfile::tempdir().unwrap();
    fs::copy(&cert, shown.path().join("client.cert")).unwrap();
    fs::copy(&key, shown.path().join("client.key")).unwrap();
    push_base(&name, &["--dest-cert-dir", &shown.path().display().to_string()]);
    let kiln = Kiln::new();
    let directory = certs(&kiln, &registry.host);
    fs::copy(registry.certificate(), directory.join("ca.crt")).unwrap();
    let ended = build_on(&kiln, &name, &[], &[]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.error().contains("as client.cert and client.key"), "{}", ended.stderr);
    fs::copy(&cert, directory.join("client.cert")).unwrap();
    let ended = build_on(&kiln, &name, &[], &[]);
    let missing = format!("`{}/client.key` is missing beside it", directory.display());
    assert!(ended.error().contains(&missing), "{}", ended.stderr);
    fs::copy(&key, directory.join("client.key")).unwrap();
    let ended = build_on(&kiln, &name, &[], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
