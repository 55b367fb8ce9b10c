//! HTTPS through a proxy that wants a password, which nobody is shown.

use std::io::{BufRead, BufReader, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::server::{Registry, Setup};
use crate::support::Kiln;
use crate::{build_on, push_base, with};

/// A proxy for CONNECT that leads everywhere to one address. It runs as long as the test.
pub(crate) struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn to(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (log, host) = (asked.clone(), host.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (log, host) = (log.clone(), host.clone());
                std::thread::spawn(move || serve(client.unwrap(), &host, &log));
            }
        });
        Self { address, asked }
    }

    /// The proxy's URL with this password.
    pub(crate) fn url(&self, password: &str) -> String {
        format!("http://kate:{password}@{}", self.address)
    }

    /// What was asked for, `CONNECT host:port`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, host: &str, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    log.lock().unwrap().push(lines.first()?.trim_end_matches(" HTTP/1.1").to_owned());
    // kate:s3cret
    if !lines.iter().any(|line| line.ends_with("Basic a2F0ZTpzM2NyZXQ=")) {
        client.write_all(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n").ok()?;
        return None;
    }
    let mut server = TcpStream::connect(host).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut back, mut answers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let upward = std::thread::spawn(move || copy(&mut answers, &mut back));
    // What the client sent with its first line must not be lost.
    let buffered = reader.buffer().to_vec();
    server.write_all(&buffered).ok()?;
    copy(reader.get_mut(), &mut server).ok()?;
    server.shutdown(std::net::Shutdown::Write).ok()?;
    upward.join().ok()?.ok()?;
    client.shutdown(std::net::Shutdown::Both).ok()
}

#[test]
fn https_goes_through_the_proxy() {
    let registry = Registry::start(&Setup::Tls);
    push_base(&format!("{}/base:1", registry.host), &[]);
    let proxy = Proxy::to(&registry.host);
    let certificate = registry.certificate();
    let build = |name: &str, url: &str| {
        let variables = [("SSL_CERT_FILE", certificate.as_path()), ("HTTPS_PROXY", Path::new(url))];
        build_on(&Kiln::new(), name, &[], &variables)
    };
    let ended = build("registry.test/base:1", &proxy.url("s3cret"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        proxy.asked().iter().all(|it| it == "CONNECT registry.test:443"),
        "{:?}",
        proxy.asked()
    );
    let ended = build("registry.test/base:1", &proxy.url("wr0ng"));
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(ended.stderr.contains("407") && !ended.stderr.contains("wr0ng"), "{}", ended.stderr);
    for url in ["http://kate:wr0ng@", "nonsense://kate:wr0ng@p:1", "http://kate:wr0ng@127.0.0.1:1"]
    {
        let ended = build("registry.test/base:1", url);
        assert_eq!(ended.code, Some(3), "{url}: {}", ended.stderr);
        assert!(!ended.stderr.contains("wr0ng"), "{}", ended.stderr);
    }
}

#[test]
fn docker_hub_is_logged_in_to_without_a_name() {
    let registry = Registry::start(&Setup::TlsPassword("kate", "pass:word"));
    let (kiln, proxy) = (Kiln::new(), Proxy::to(&registry.host));
    let (certificate, url) = (registry.certificate(), proxy.url("s3cret"));
    let variables = [("SSL_CERT_FILE", certificate.as_path()), ("HTTPS_PROXY", Path::new(&url))];
    let words = ["login", "-u", "kate", "-p", "pass:word"];
    let ended = with(&kiln, &words, &variables);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "Login Succeeded\n"),
        "{}",
        ended.stderr
    );
    let expected = "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\n\t\t\t\"auth\": \
                    \"a2F0ZTpwYXNzOndvcmQ=\"\n\t\t}\n\t}\n}\n";
    let file = kiln.path("home/.docker/config.json");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
    assert!(proxy.asked().iter().all(|it| it == "CONNECT registry-1.docker.io:443"));
    push_base(&format!("{}/library/base:1", registry.host), &["--dest-creds=kate:pass:word"]);
    let ended = build_on(&kiln, "base:1", &[], &variables);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ended = with(&kiln, &["logout"], &[]);
    assert_eq!(ended.stdout, "Removed login credentials for docker.io\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\n\t\"auths\": {}\n}\n");
}
