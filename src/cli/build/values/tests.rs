//! Tables for the readers of flag values.

use super::*;

fn none() -> Environment {
    Environment::of(&[])
}

#[test]
fn pairs() {
    let read = |text: &str| pair("--label", text).map_err(|error| error.message);
    assert_eq!(read("a=b=c"), Ok(("a".into(), Some("b=c".into()))));
    assert_eq!(read("a="), Ok(("a".into(), Some(String::new()))));
    assert_eq!(read("a"), Ok(("a".into(), None)));
    assert_eq!(read("=b"), Err("`--label` needs a name before the `=`".into()));
}

#[test]
fn sizes() {
    let cases = [
        ("0", 0),
        ("64", 64),
        ("64b", 64),
        ("64k", 64 << 10),
        ("64M", 64 << 20),
        ("1.5g", 3 << 29),
        ("2gb", 2 << 30),
        ("2 GiB", 2 << 30),
        ("1t", 1 << 40),
        // A number is what Go takes for one.
        ("1e3", 1000),
    ];
    for (text, expected) in cases {
        assert_eq!(size("--shm-size", text), Ok(expected), "{text}");
    }
    for text in ["", "m", "-1", "1x", "1..2", "1  m", "99999999p"] {
        let error = size("--shm-size", text).unwrap_err();
        assert_eq!(error.message, format!("invalid size `{text}` for `--shm-size`"));
    }
}

#[test]
fn ulimits() {
    let limit = |name: &str, soft, hard| Ok(Rlimit { name: name.into(), soft, hard });
    let read = |text: &str| ulimit(text).map_err(|error| error.message);
    assert_eq!(read("nofile=1024"), limit("nofile", 1024, 1024));
    assert_eq!(read("nofile=1024:4096"), limit("nofile", 1024, 4096));
    assert_eq!(read("core=0:-1"), limit("core", 0, u64::MAX));
    assert_eq!(read("core=-1"), limit("core", u64::MAX, u64::MAX));
    let errors = [
        ("nofile", "invalid limit `--ulimit nofile`"),
        ("nofile=", "invalid limit `--ulimit nofile=`"),
        ("nofile=1:2:3", "invalid limit `--ulimit nofile=1:2:3`"),
        ("files=1", "unknown limit `files` for `--ulimit`"),
        ("core=2:1", "the soft limit of `--ulimit core=2:1` is above the hard limit"),
        ("core=-1:1", "the soft limit of `--ulimit core=-1:1` is above the hard limit"),
    ];
    for (text, expected) in errors {
        assert_eq!(read(text), Err(expected.into()));
    }
}

#[test]
fn hosts() {
    let read = |text: &str| add_host(text).map_err(|error| error.message);
    let host = |name: &str, address: &str| Ok((name.to_owned(), address.to_owned()));
    assert_eq!(read("db:10.0.0.1"), host("db", "10.0.0.1"));
    assert_eq!(read("DB=10.0.0.1"), host("db", "10.0.0.1"));
    assert_eq!(read("six:::1"), host("six", "::1"));
    assert_eq!(read("six=[fe80::1]"), host("six", "fe80::1"));
    assert_eq!(read("up:host-gateway"), host("up", "127.0.0.1"));
    assert_eq!(read("db"), Err("invalid host `--add-host db`".into()));
    assert_eq!(read("=1.2.3.4"), Err("invalid host `--add-host =1.2.3.4`".into()));
    let error = "`example.org` in `--add-host db=example.org` is not an IP address";
    assert_eq!(read("db=example.org"), Err(error.into()));
}

fn shown(read: Read<(Secret, Option<String>)>) -> Result<(String, String, Option<String>), String> {
    let (secret, warning) = read.map_err(|error| error.message)?;
    let source = match secret.source {
        SecretSource::File(path) => format!("file {}", path.display()),
        SecretSource::Value(value) => format!("value {}", String::from_utf8_lossy(&value)),
    };
    Ok((secret.id, source, warning))
}

#[test]
fn secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a,b");
    std::fs::write(&file, "hush").unwrap();
    let file = file.display();
    let environment = Environment::of(&[("TOKEN", "t0k")]);
    let cases = [
        (format!("id=x,\"src={file}\""), "x", format!("file {file}")),
        (format!("id=x,type=file,\"source={file}\""), "x", format!("file {file}")),
        ("id=TOKEN".into(), "TOKEN", "value t0k".into()),
        ("id=x,env=TOKEN".into(), "x", "value t0k".into()),
        ("type=env,id=TOKEN".into(), "TOKEN", "value t0k".into()),
        ("id=x,type=env,src=TOKEN".into(), "x", "value t0k".into()),
    ];
    for (text, id, source) in cases {
        assert_eq!(shown(secret(&text, &environment)), Ok((id.into(), source, None)), "{text}");
    }
    let empty = shown(secret("id=x,env=MISSING", &environment)).unwrap();
    let warning = "the secret `x` is empty: the environment variable `MISSING` is not set";
    assert_eq!(empty.2.as_deref(), Some(warning));
}

#[test]
fn broken_secrets() {
    let cases = [
        ("", "invalid secret `--secret `"),
        ("src=/etc/passwd", "invalid secret `--secret src=/etc/passwd`"),
        ("x", "invalid secret `--secret x`"),
        ("id=x,typ=env", "`--secret` has no field `typ`"),
        ("id=x,type=vault", "unknown secret type `vault`"),
        ("id=x,src=/", "cannot read the secret `x` from `/`: it is a directory"),
        (
            "id=x,src=/nowhere",
            "cannot read the secret `x` from `/nowhere`: No such file or directory (os error 2)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(secret(text, &none())), Err(expected.into()), "{text}");
    }
}

#[test]
fn agents() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let path = socket.display().to_string();
    let environment = Environment::of(&[("SSH_AUTH_SOCK", &path)]);
    let read = |text: &str, environment: &Environment| {
        ssh(text, environment).map_err(|error| error.message)
    };
    assert_eq!(read("default", &environment), Ok(("default".into(), socket.clone())));
    assert_eq!(read("git", &environment), Ok(("git".into(), socket.clone())));
    assert_eq!(read(&format!("git={path}"), &none()), Ok(("git".into(), socket)));
    let errors = [
        ("default", "`--ssh default` needs an SSH agent, but SSH_AUTH_SOCK is not set"),
        ("k=/etc/passwd", "`--ssh k=/etc/passwd`: key files are not supported yet"),
        ("k=a,b", "`--ssh k=a,b`: several keys and raw sockets are not supported yet"),
        ("k=/nowhere", "cannot use `/nowhere` for `--ssh`: No such file or directory (os error 2)"),
    ];
    for (text, expected) in errors {
        assert_eq!(read(text, &none()), Err(expected.into()));
    }
}
