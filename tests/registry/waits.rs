//! Waits end: for a server that trickles or is silent, and at once when the user asks to stop. And where a redirect may
//! not lead, and what need not be asked.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use kiln::event::Cancel;
use kiln::graph::{ImageLocation, ImageRequest};
use kiln::oci::{
    Content, Descriptor, Family, ImageConfig, Manifest, MediaType, Platform, media_type,
};
use kiln::registry::agent::{
    Agent, AgentError, AgentOptions, Certificates, Method, Request, RequestBody, Roots, Timeouts,
    Verification,
};
use kiln::registry::{BlobSource, Client, Options, RegistryError};
use kiln::source::image::Images;
use kiln::store::Store;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fake::{Fake, Reply};
use crate::server::make_certificate;
use crate::{client, reference};

#[test]
fn a_trickle_is_given_up() {
    let fake = Fake::start(|_| Reply::new(200, [0; 10_000]).dripping());
    let descriptor = Descriptor::of(MediaType::ImageLayer, &[0; 10_000]);
    let name = reference(&format!("{}/x", fake.host()));
    let error = client(None).blob_bytes(&name, &descriptor, 1 << 20).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("only "), "{cause}");
    // Without ranges, what is skipped trickles as well.
    assert!(fake.seen().len() <= 9);
}

#[test]
fn whoever_listens_and_is_silent_is_not_asked_the_other_way() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let error = client(None).resolve(&reference(&format!("{host}/x"))).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach `http://{host}/v2/`"));
    // One connection for each attempt, and none for a guess at TLS.
    listener.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| listener.accept().ok()).count(), 3);
}

/// A client that would wait for hours, and what stops it.
fn patient() -> (Client, Cancel) {
    let (cancel, hours) = (Cancel::new(), Duration::from_secs(20_000));
    let timeouts =
        Timeouts { connect: hours, response: hours, idle: hours, document: hours, slow: hours };
    let options = AgentOptions { timeouts, cancel: cancel.clone(), ..AgentOptions::default() };
    let options = (Arc::new(Agent::new(options)), cancel.clone());
    (Client::new(options.0, Options { cancel: options.1, ..Options::default() }), cancel)
}

type Wait = fn(&Client, &str, &Descriptor, &[u8]) -> Result<(), RegistryError>;

#[test]
fn whoever_waits_is_woken() {
    let bytes = vec![0; 20 << 20];
    let descriptor = Descriptor::of(MediaType::ImageLayer, &bytes);
    let waits: [Wait; 4] = [
        |client, host, _, _| client.resolve(&reference(&format!("{host}/x"))).map(drop),
        |client, host, descriptor, _| {
            let name = reference(&format!("{host}/x"));
            client.blob_bytes(&name, descriptor, 1 << 30).map(drop)
        },
        |client, host, _, _| client.tags(&reference(&format!("{host}/x")), 9).map(drop),
        |client, host, descriptor, bytes| {
            let content = bytes.to_vec();
            let source =
                BlobSource { descriptor, content: &content, from: None, progress: &|_| () };
            client.push_blob(&reference(&format!("{host}/x")), &source).map(drop)
        },
    ];
    for (number, wait) in waits.into_iter().enumerate() {
        let (client, cancel) = patient();
        let (sender, asked) = std::sync::mpsc::channel();
        // It answers the first look, and after that it takes requests and says nothing, or half of it.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 1024];
                let read = stream.read(&mut buffer).unwrap();
                let head = String::from_utf8_lossy(&buffer[..read]).into_owned();
                let answer = match (count, number, &head[..4]) {
                    (0, _, _) => {
                        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
                    }
                    (_, _, "HEAD") => {
                        "HTTP/1.1 404 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                    }
                    (_, _, "POST") => {
                        "HTTP/1.1 202 OK\r\nconnection: close\r\nlocation: /up\r\ncontent-length: 0\r\n\r\n"
                    }
                    (_, 1, _) => "HTTP/1.1 200 OK\r\ncontent-length: 20971520\r\n\r\nsome",
                    _ => "",
                };
                stream.write_all(answer.as_bytes()).unwrap();
                let last = count > 0 && !matches!(&head[..4], "HEAD" | "POST");
                if last {
                    held.push(stream);
                    sender.send(()).unwrap();
                }
            }
        });
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(&client, &host, &descriptor, &bytes));
            asked.recv().unwrap();
            cancel.cancel();
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error, RegistryError::Canceled), "{number}: {error:?}");
        });
    }
}

/// A TLS server that redirects every request; `https://127.0.0.1:port`, and its certificate.
fn redirecting(to: String) -> (String, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    make_certificate(directory.path());
    let pem = std::fs::read(directory.path().join("cert.pem")).unwrap();
    let key = std::fs::read(directory.path().join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem).unwrap()],
            PrivateKeyDer::from_pem_slice(&key).unwrap(),
        )
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let host = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            // A client that does not trust it goes away.
            if stream.read(&mut [0; 4096]).is_ok() {
                let answer = format!(
                    "HTTP/1.1 307 Go\r\nconnection: close\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (format!("https://{host}"), pem)
}

#[test]
fn a_redirect_does_not_leave_tls() {
    let plain = Fake::start(|_| Reply::new(200, "here"));
    let (url, pem) = redirecting(format!("http://{}/", plain.host()));
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&trusted, pem).unwrap();
    let roots = Roots::Paths { file: Some(trusted.path().into()), directories: Vec::new() };
    let certificates = Certificates { roots, ..Certificates::default() };
    let agent = Agent::new(AgentOptions { certificates, ..AgentOptions::default() });
    let ask = |verification| {
        let (method, headers, body) = (Method::GET, &[][..], RequestBody::Empty);
        let authorization = Some("Basic dTpw");
        agent.send(Request { method, url: &url, headers, authorization, verification, body })
    };
    let Err(error) = ask(Verification::Verify) else { panic!("the redirect was followed") };
    assert_eq!(error.to_string(), format!("`{url}` redirects from HTTPS to plain HTTP"));
    assert!(matches!(error, AgentError::Redirect { .. }));
    assert_eq!(plain.seen().len(), 0);
    for verification in [Verification::VerifyIfTls, Verification::Skip] {
        assert_eq!(ask(verification).unwrap().status, 200);
    }
    assert!(plain.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn an_image_that_did_not_change_is_not_asked_for_again() {
    let config = ImageConfig::scratch(&Platform::host()).to_bytes();
    let name = media_type(Content::Config, Family::Oci).unwrap();
    let descriptor = Descriptor::of(name, &config);
    let manifest = Manifest::new(Family::Oci, descriptor.clone(), Vec::new()).to_bytes();
    let digest = kiln::digest::Digest::of(&manifest);
    let fake = Fake::start(move |seen| match seen.path.contains("/manifests/") {
        true => Reply::new(200, manifest.clone())
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .header("docker-content-digest", digest),
        false => Reply::new(200, config.clone()),
    });
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let location = ImageLocation::Reference(reference(&format!("{}/x:1", fake.host())));
    let request = ImageRequest { location, platform: Platform::host() };
    for _ in 0..2 {
        let images = Images::new(&store, client(None), true, Cancel::new());
        assert_eq!(images.resolve(&request).unwrap().digest, digest);
    }
    let methods: Vec<_> = fake.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["GET", "GET", "HEAD"]);
}
