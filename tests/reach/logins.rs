//! Logging in and out, by kiln and by podman, with files and with helpers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::fake::{Fake, Reply};
use crate::server::{Registry, Setup, tool};
use crate::support::{Ended, Kiln, ended};
use crate::{build_on, dead, push_base, with};

const USER: &str = "kate";
const PASSWORD: &str = "pass:s3cret";

fn registry() -> Registry {
    Registry::start(&Setup::TlsPassword(USER, PASSWORD))
}

/// Runs kiln with this on its standard input.
fn fed(kiln: &Kiln, words: &[&str], stdin: &str, variables: &[(&str, &Path)]) -> Ended {
    let mut command = kiln.command(words);
    kiln.isolate(&mut command);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    ended(child.wait_with_output().unwrap())
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_login_is_checked_kept_and_undone() {
    let registry = registry();
    let host = registry.host.as_str();
    let kiln = Kiln::new();
    let (file, certificate) = (kiln.path("docker/config.json"), registry.certificate());
    let folder = file.parent().unwrap().to_owned();
    let variables = [("SSL_CERT_FILE", certificate.as_path()), ("DOCKER_CONFIG", folder.as_path())];
    let login = ["login", "-u", USER, "--password-stdin", host];
    let refused = fed(&kiln, &login, "wr0ng", &variables);
    let message = format!("error: cannot log in to `{host}`\n");
    assert!(refused.code == Some(2) && refused.error().starts_with(&message), "{}", refused.stderr);
    assert!(!refused.stderr.contains("wr0ng") && !file.exists(), "{}", refused.stderr);
    fs::create_dir(&folder).unwrap();
    fs::write(&file, r#"{"psFormat":"x","auths":{"other.io":{"auth":"eDp5"}}}"#).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let done = fed(&kiln, &login, &format!("{PASSWORD}\n"), &variables);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(0), "Login Succeeded\n"),
        "{}",
        done.stderr
    );
    let kept = json!({
        "psFormat": "x",
        "auths": { "other.io": { "auth": "eDp5" }, host: { "auth": "a2F0ZTpwYXNzOnMzY3JldA==" } },
    });
    assert_eq!((json_of(&file), mode(&file)), (kept, 0o600));
    let text = file.display().to_string();
    for name in ["podman", "skopeo"] {
        let user = tool(name, name, &["login", "--authfile", &text, "--get-login", host]);
        assert_eq!(user, format!("{USER}\n"));
    }
    push_base(&format!("{host}/base:1"), &["--dest-authfile", &text]);
    let built = build_on(&kiln, &format!("{host}/base:1"), &[], &variables);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let out = with(&kiln, &["logout", host], &variables);
    assert_eq!(out.stdout, format!("Removed login credentials for {host}\n"), "{}", out.stderr);
    assert_eq!(json_of(&file)["auths"], json!({ "other.io": { "auth": "eDp5" } }));
    let again = with(&kiln, &["logout", host], &variables);
    let expected = (Some(0), "", format!("not logged in to {host}\n"));
    assert_eq!((again.code, again.stdout.as_str(), again.stderr), expected);
    let all = with(&kiln, &["logout", "--all"], &variables);
    assert_eq!(all.stdout, "Removed login credentials for other.io\n");
    assert_eq!(json_of(&file), json!({ "psFormat": "x", "auths": {} }));
}

#[test]
fn what_podman_keeps_is_used_and_comes_first() {
    let registry = registry();
    let host = registry.host.as_str();
    push_base(&format!("{host}/base:1"), &["--dest-creds", "kate:pass:s3cret"]);
    let kiln = Kiln::new();
    let file = kiln.path("runtime/containers/auth.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let text = file.display().to_string();
    #[rustfmt::skip]
    tool("podman", "podman", &["login", "--tls-verify=false", "--authfile", &text, "-u", USER, "-p", PASSWORD, host]);
    // Docker's file is asked after it.
    let docker = kiln.path("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    let stale = json!({ "auths": { host: { "auth": "a2F0ZTp3cjBuZw==" } } });
    fs::write(docker.join("config.json"), stale.to_string()).unwrap();
    let base = format!("{host}/base:1");
    let insecure = ["--tls-verify=false"];
    let built = build_on(&kiln, &base, &insecure, &[]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let elsewhere = kiln.path("elsewhere");
    let stale = build_on(&Kiln::new(), &base, &insecure, &[("DOCKER_CONFIG", &docker)]);
    assert_eq!(stale.code, Some(2), "{}", stale.stderr);
    let named = build_on(&Kiln::new(), &base, &insecure, &[("REGISTRY_AUTH_FILE", &file)]);
    assert_eq!(named.code, Some(0), "{}", named.stderr);
    let named = ["--tls-verify=false", "--authfile", &text];
    let named = build_on(&Kiln::new(), &base, &named, &[("REGISTRY_AUTH_FILE", &elsewhere)]);
    assert_eq!(named.code, Some(0), "{}", named.stderr);
    let given = ["--tls-verify=false", "--creds", "kate:pass:s3cret"];
    let given = build_on(&Kiln::new(), &base, &given, &[("DOCKER_CONFIG", &docker)]);
    assert_eq!(given.code, Some(0), "{}", given.stderr);
    // Logging in changes the file that counts, and out all of them.
    let words = ["login", "--tls-verify=false", "-u", USER, "--password-stdin", host];
    assert_eq!(fed(&kiln, &words, PASSWORD, &[]).code, Some(0));
    assert_eq!(json_of(&docker.join("config.json"))["auths"][host]["auth"], "a2F0ZTp3cjBuZw==");
    assert_eq!(with(&kiln, &["logout", host], &[]).code, Some(0));
    for path in [docker.join("config.json"), file] {
        assert_eq!(json_of(&path)["auths"], json!({}), "{}", path.display());
    }
}

/// A helper that keeps everything in files, and notes how it was called.
fn helper(kiln: &Kiln) -> PathBuf {
    let folder = kiln.path("helper");
    fs::create_dir_all(&folder).unwrap();
    let script = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
input=$(cat)
echo "$*" >> calls
server=$(printf %s "$input" | sed -n 's/.*"ServerURL":"\([^"]*\)".*/\1/p')
file=$(printf %s "${server:-$input}" | tr / _).kept
case $1 in
store) printf %s "$input" > "$file" ;;
get) [ -f "$file" ] || { echo 'credentials not found in native keychain'; exit 1; }; cat "$file" ;;
erase) [ -f "$file" ] || { echo 'credentials not found in native keychain'; exit 1; }; rm "$file" ;;
esac
"#;
    let program = folder.join("docker-credential-box");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn helpers_keep_what_files_should_not() {
    let registry = registry();
    let host = registry.host.as_str();
    push_base(&format!("{host}/base:1"), &["--dest-creds", "kate:pass:s3cret"]);
    for key in [json!({ "credsStore": "box" }), json!({ "credHelpers": { host: "box" } })] {
        let kiln = Kiln::new();
        let folder = helper(&kiln);
        let path = format!("{}:/usr/bin:/bin", folder.display());
        let variables = [("PATH", Path::new(&path))];
        let docker = kiln.path("home/.docker");
        fs::create_dir_all(&docker).unwrap();
        let file = docker.join("config.json");
        fs::write(&file, key.to_string()).unwrap();
        let words = ["login", "--tls-verify=false", "-u", USER, "--password-stdin", host];
        let done = fed(&kiln, &words, PASSWORD, &variables);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert_eq!(json_of(&file)["auths"], json!({ host: {} }));
        assert!(
            fs::read_to_string(folder.join(format!("{host}.kept"))).unwrap().contains(PASSWORD)
        );
        let base = format!("{host}/base:1");
        let built = build_on(&kiln, &base, &["--tls-verify=false"], &variables);
        assert_eq!(built.code, Some(0), "{}", built.stderr);
        let out = with(&kiln, &["logout", host], &variables);
        assert_eq!(out.stdout, format!("Removed login credentials for {host}\n"), "{}", out.stderr);
        // Once is enough for the build, and nothing secret is an argument.
        assert_eq!(fs::read_to_string(folder.join("calls")).unwrap(), "store\nget\nerase\n");
        let denied = build_on(&Kiln::new(), &base, &["--tls-verify=false"], &variables);
        assert_eq!(denied.code, Some(2), "{}", denied.stderr);
    }
}

#[test]
fn a_helper_says_what_is_wrong_only_where_it_is_needed() {
    let (open, closed) = (Registry::start(&Setup::Plain), registry());
    push_base(&format!("{}/base:1", open.host), &[]);
    let kiln = Kiln::new();
    let docker = kiln.path("home/.docker");
    fs::create_dir_all(&docker).unwrap();
    fs::write(docker.join("config.json"), r#"{"credsStore":"no-such"}"#).unwrap();
    let built = build_on(&kiln, &format!("{}/base:1", open.host), &[], &[]);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let base = format!("{}/base:1", closed.host);
    let missing = build_on(&kiln, &base, &["--tls-verify=false"], &[]);
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    let message = format!(
        "cannot find the credential helper `docker-credential-no-such` that is configured for `{}`\n",
        closed.host
    );
    assert!(missing.error().contains(&message), "{}", missing.stderr);
    let folder = kiln.path("bad");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("docker-credential-no-such");
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let cases = [
        ("echo the keyring is locked; exit 2", "failed for `HOST`: the keyring is locked"),
        ("echo '{\"Secret\":\"s3cret\"}'; exit 2", "failed for `HOST`: exit status: 2"),
        ("echo s3cret", "answers no credentials"),
        ("exec yes s3cret", "says too much"),
    ];
    for (script, expected) in cases {
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let variables = [("PATH", Path::new(&path))];
        let ended = build_on(&kiln, &base, &["--tls-verify=false"], &variables);
        assert_eq!(ended.code, Some(3), "{script}: {}", ended.stderr);
        let expected = expected.replace("HOST", &closed.host);
        assert!(ended.error().contains(&expected), "{script}: {}", ended.stderr);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}

#[test]
fn what_login_needs_is_said() {
    let kiln = Kiln::new();
    let dead = dead();
    let unreachable = with(&kiln, &["login", "-u", "u", "-p", "s3cret", &dead], &[]);
    assert_eq!(unreachable.code, Some(3), "{}", unreachable.stderr);
    let warning =
        "warning: a password on the command line can be seen by others; use --password-stdin\n";
    assert!(unreachable.stderr.starts_with(warning), "{}", unreachable.stderr);
    assert!(!unreachable.stderr.contains("s3cret"), "{}", unreachable.stderr);
    let nobody = with(&kiln, &["login", &dead], &[]);
    let message =
        "error: nobody can be asked for a name and a password: standard input is no terminal\n";
    assert!(nobody.code == Some(2) && nobody.error().starts_with(message), "{}", nobody.stderr);
    let wrong = with(&kiln, &["login", "a b"], &[]);
    assert!(wrong.error().starts_with("error: `a b` is no registry\n"), "{}", wrong.stderr);
    let conflict = with(&kiln, &["login", "-u", "u", "-p", "x", "--password-stdin", &dead], &[]);
    assert_eq!(conflict.code, Some(2), "{}", conflict.stderr);
}

#[test]
fn a_password_that_is_typed_is_not_shown() {
    let registry = registry();
    let kiln = Kiln::new();
    let inner = kiln.command(&["login", "--tls-verify=false", &registry.host]);
    let words = inner.get_args().map(|word| word.to_str().unwrap()).collect::<Vec<_>>();
    let line = format!("{} {}", env!("CARGO_BIN_EXE_kiln"), words.join(" "));
    let mut command = std::process::Command::new("script");
    kiln.isolate(&mut command);
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("`script` of bsdutils is there");
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    let mut until = |text: &str| {
        let mut byte = [0];
        while !shown.ends_with(text) && stdout.read(&mut byte).unwrap() == 1 {
            shown.push(char::from(byte[0]));
        }
    };
    until("Username: ");
    stdin.write_all(b"kate\n").unwrap();
    until("Password: ");
    stdin.write_all(b"pasx\x7fs:s3cret\n").unwrap();
    until("Login Succeeded\r\n");
    assert!(child.wait().unwrap().success(), "{shown}");
    assert!(shown.contains("kate") && !shown.contains("s3cret"), "{shown}");
    let file = kiln.path("home/.docker/config.json");
    assert_eq!(json_of(&file)["auths"][&registry.host]["auth"], "a2F0ZTpwYXNzOnMzY3JldA==");
}

#[test]
fn a_token_server_judges_too() {
    let fake = Fake::start_whole(|seen| {
        let challenge =
            format!("Bearer realm=\"http://{}/token\",service=\"r\"", seen.header("host").unwrap());
        let token = seen.path.starts_with("/token");
        match (token, seen.header("authorization")) {
            (true, _) if seen.body.contains("password=good") => {
                Reply::new(200, r#"{"access_token":"it"}"#)
            }
            (true, _) => Reply::new(401, ""),
            (false, Some("Bearer it")) => Reply::new(200, "{}"),
            (false, _) => Reply::new(401, "").header("www-authenticate", challenge),
        }
    });
    let kiln = Kiln::new();
    let words = ["login", "-u", USER, "--password-stdin", &fake.host()];
    let wrong = fed(&kiln, &words, "wr0ng", &[]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    assert!(wrong.error().contains("the token server refuses the credentials"), "{}", wrong.stderr);
    let right = fed(&kiln, &words, "good", &[]);
    assert_eq!((right.code, right.stdout.as_str()), (Some(0), "Login Succeeded\n"));
    let body = "client_id=kiln&service=r&grant_type=password&username=kate&password=good";
    assert!(fake.seen().iter().any(|seen| seen.body == body), "{:?}", fake.seen());
}
