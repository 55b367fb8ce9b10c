//! Flags and environments, and the settings that they lead to.

use clap::Parser;

use super::*;
use crate::cli::environment::Terminal;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    reach: RegistryFlags,
}

fn settings(words: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Diagnostic> {
    let line = Line::try_parse_from(["x"].iter().chain(words)).unwrap();
    let environment = Environment::of(variables);
    let session = Session { root: None, config: None, environment, terminal: Terminal::plain(80) };
    let (settings, warnings) = line.reach.settings(&session)?;
    assert_eq!(warnings, [] as [&str; 0]);
    Ok(settings)
}

#[test]
fn flags_and_variables() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("auth.json"), "{}").unwrap();
    std::fs::write(path("other.json"), "{}").unwrap();
    let (auth, other) = (path("auth.json"), path("other.json"));
    let folder = path("");
    let variables = [
        ("REGISTRY_AUTH_FILE", other.as_str()),
        ("SSL_CERT_DIR", "/a:/b"),
        ("HTTPS_PROXY", "http://me:s3cret@p:1"),
    ];
    let words = ["--tls-verify=false", "--creds=me:pass:s3cret", "--cert-dir", &folder];
    let made = settings(&words, &variables).unwrap();
    assert_eq!(made.verify, Some(false));
    assert_eq!(made.auth_files[0].path, PathBuf::from(&other));
    assert_eq!(made.certificates.for_all, Some(directory.path().join("")));
    let Roots::Paths { file: None, directories } = &made.certificates.roots else { panic!() };
    assert_eq!(directories, &["/a", "/b"].map(PathBuf::from));
    let credential =
        Credential::Password { username: "me".to_owned(), password: "pass:s3cret".to_owned() };
    assert_eq!(made.credential, Some(credential));
    assert!(!format!("{made:?}").contains("s3cret"));
    let made = settings(&["--authfile", &auth, "--tls-verify"], &variables).unwrap();
    assert_eq!((made.verify, made.auth_files.len()), (Some(true), 1));
    assert_eq!(made.auth_files[0].path, PathBuf::from(&auth));
    let made = settings(&[], &[]).unwrap();
    assert!(made.verify.is_none() && matches!(made.certificates.roots, Roots::System));
}

#[test]
fn what_is_named_must_be_there() {
    let message = |words: &[&str], variables: &[(&str, &str)]| {
        settings(words, variables).unwrap_err().message
    };
    assert_eq!(message(&["--authfile=/no/a.json"], &[]), "cannot read `/no/a.json`");
    assert_eq!(message(&["--cert-dir=/no/certs"], &[]), "`--cert-dir /no/certs` is no directory");
    let named = [("CONTAINERS_REGISTRIES_CONF", "/no/r.conf")];
    assert_eq!(message(&[], &named), "cannot read `/no/r.conf`");
    assert_eq!(message(&["--creds=:s3cret"], &[]), "`--creds` names no user");
    assert!(settings(&[], &[("REGISTRY_AUTH_FILE", "/no/a.json")]).is_ok());
}

#[test]
fn given_credentials_do_not_show() {
    let line = Line::try_parse_from(["x", "--creds=me:s3cret"]).unwrap();
    assert!(!format!("{:?}", line.reach).contains("s3cret"));
}
