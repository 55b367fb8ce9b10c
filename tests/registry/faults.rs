//! What a registry, or a proxy on the way, can do wrong: each ends in a result or a clear error, in time.

use std::io::Read;
use std::time::{Duration, Instant};

use kiln::digest::Digest;
use kiln::oci::{Content, Descriptor, Family, Manifest, MediaType, media_type};
use kiln::registry::RegistryError;

use crate::fake::{Fake, Reply, Seen};
use crate::{client, password, reference};

fn layer() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::of(MediaType::ImageLayer, bytes)
}

fn manifest() -> Vec<u8> {
    let config = Descriptor::of(media_type(Content::Config, Family::Oci).unwrap(), b"{}");
    Manifest::new(Family::Oci, config, Vec::new()).to_bytes()
}

/// Reads a blob; what was handed out, and how it ended.
fn pull(fake: &Fake, descriptor: &Descriptor) -> (Vec<u8>, Result<(), RegistryError>) {
    let mut bytes = Vec::new();
    let opened = client(None).blob(&reference(&format!("{}/x", fake.host())), descriptor);
    let outcome = opened.and_then(|mut blob| match blob.read_to_end(&mut bytes) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.downcast().expect("errors of a blob are the registry's")),
    });
    (bytes, outcome)
}

fn resolve(fake: &Fake, name: &str) -> Result<Vec<u8>, RegistryError> {
    let image = reference(&format!("{}/{name}", fake.host()));
    client(None).resolve(&image).map(|fetched| fetched.bytes)
}

/// An error with its causes in one line, with the server's address left out.
fn text(fake: &Fake, error: &RegistryError) -> String {
    let mut out = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        out += &format!(": {cause}");
        next = cause.source();
    }
    out.replace(&fake.host(), "HOST")
}

fn range_start(seen: &Seen) -> usize {
    let range = seen.header("range").and_then(|it| it.strip_prefix("bytes="));
    range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap())
}

/// Serves the rest of `bytes` that a request asks for.
fn partial(bytes: &[u8], start: usize) -> Reply {
    let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
    Reply::new(206, &bytes[start..]).header("content-range", range)
}

#[test]
fn a_blob_that_breaks_off_is_resumed() {
    let fake = Fake::start(|seen| match (seen.earlier, range_start(seen)) {
        (0, _) => Reply::new(200, layer()).truncated(1000),
        (1, start) => partial(&layer(), start).truncated(70_000),
        (2, _) => Reply::new(503, "busy"),
        (_, start) => partial(&layer(), start),
    });
    let (bytes, outcome) = pull(&fake, &descriptor(&layer()));
    outcome.unwrap();
    assert!(bytes == layer());
    let starts: Vec<_> = fake.seen().iter().map(range_start).collect();
    assert_eq!(starts, [0, 1000, 71_000, 71_000]);
}

#[test]
fn a_server_without_ranges_is_read_again() {
    let fake = Fake::start(|seen| match seen.earlier {
        0 => Reply::new(200, layer()).truncated(100_000),
        _ => Reply::new(200, layer()),
    });
    let (bytes, outcome) = pull(&fake, &descriptor(&layer()));
    outcome.unwrap();
    assert!(bytes == layer());
}

#[test]
fn a_server_whose_ranges_are_wrong_is_read_again() {
    for wrong in [|| Reply::new(416, ""), || partial(&layer(), 17)] {
        let fake = Fake::start(move |seen| match (seen.earlier, seen.header("range")) {
            (0, None) => Reply::new(200, layer()).truncated(100_000),
            (_, Some(_)) => wrong(),
            (_, None) => Reply::new(200, layer()),
        });
        let (bytes, outcome) = pull(&fake, &descriptor(&layer()));
        outcome.unwrap();
        assert!(bytes == layer());
        let ranges: Vec<_> =
            fake.seen().iter().map(|seen| seen.header("range").is_some()).collect();
        assert_eq!(ranges, [false, true, false]);
    }
}

#[test]
fn what_came_with_wrong_bytes_is_asked_for_past_the_caches() {
    let caching = |right: Vec<u8>, wrong: Vec<u8>| {
        let digest = Digest::of(&right);
        Fake::start(move |seen| {
            let fresh = seen.header("cache-control") == Some("no-cache");
            let body = if fresh { right.clone() } else { wrong.clone() };
            Reply::new(200, body).header("docker-content-digest", digest)
        })
    };
    let spoilt = |bytes: Vec<u8>| {
        let mut bytes = bytes;
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let fake = caching(layer(), spoilt(layer()));
    let name = reference(&format!("{}/x", fake.host()));
    let bytes = client(None).blob_bytes(&name, &descriptor(&layer()), 1 << 20).unwrap();
    assert!(bytes == layer());
    let fake = caching(layer(), layer()[1..].to_vec());
    let name = reference(&format!("{}/x", fake.host()));
    let bytes = client(None).blob_bytes(&name, &descriptor(&layer()), 1 << 20).unwrap();
    assert!(bytes == layer());
    let fake = caching(manifest(), spoilt(manifest()));
    assert_eq!(resolve(&fake, "x").unwrap(), manifest());
    let fake = caching(spoilt(manifest()), manifest());
    let error = resolve(&fake, &format!("x@{}", Digest::of(&layer()))).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }));
    assert_eq!(fake.seen().len(), 2);
}

#[test]
fn a_manifest_is_stored_until_it_is_the_right_one() {
    let fake = Fake::start(|seen| match seen.earlier {
        0 => Reply::new(400, "malformed"),
        1 => Reply::new(201, "").header("docker-content-digest", Digest::of(b"other")),
        _ => Reply::new(201, "").header("docker-content-digest", Digest::of(&manifest())),
    });
    let name = reference(&format!("{}/x:1", fake.host()));
    client(None).put_manifest(&name, &MediaType::ImageManifest, &manifest()).unwrap();
    assert_eq!(fake.seen().len(), 3);
    let fake = Fake::start(|_| Reply::new(400, "malformed"));
    let name = reference(&format!("{}/x:1", fake.host()));
    client(None).put_manifest(&name, &MediaType::ImageManifest, &manifest()).unwrap_err();
    assert_eq!(fake.seen().len(), 2);
}

#[test]
fn a_blob_that_never_ends_is_given_up() {
    let fake = Fake::start(|seen| match range_start(seen) {
        0 => Reply::new(200, layer()).truncated(10),
        start => partial(&layer(), start).truncated(0),
    });
    let (bytes, outcome) = pull(&fake, &descriptor(&layer()));
    assert_eq!(bytes.len(), 10);
    let error = text(&fake, &outcome.unwrap_err());
    assert!(error.starts_with("the transfer from `HOST/x@sha256:"), "{error}");
    assert_eq!(fake.seen().len(), 3);
}

#[test]
fn wrong_bytes_are_not_a_blob() {
    let mut wrong = layer();
    *wrong.last_mut().unwrap() ^= 1;
    let actual = Digest::of(&wrong);
    let fake = Fake::start(move |_| Reply::new(200, wrong.clone()));
    let expected = descriptor(&layer());
    let (bytes, outcome) = pull(&fake, &expected);
    assert!(bytes.len() < layer().len());
    let error = outcome.unwrap_err();
    assert_eq!(
        text(&fake, &error),
        format!("`HOST/x@{0}` has digest `{actual}`, expected `{0}`", expected.digest)
    );
    assert!(error.hint().unwrap().contains("sent wrong bytes"));
}

#[test]
fn a_size_that_is_not_the_descriptors_is_refused() {
    let fake = Fake::start(|_| Reply::new(200, layer()));
    let mut lying = descriptor(&layer());
    lying.size = 17;
    let error = pull(&fake, &lying).1.unwrap_err();
    assert!(text(&fake, &error).ends_with("has 800000 bytes, expected 17"));
    let fake = Fake::start(|_| Reply::new(200, &layer()[..1000]).endless());
    lying.size = 5000;
    let (bytes, outcome) = pull(&fake, &lying);
    assert!(bytes.len() < 5000);
    assert!(matches!(outcome, Err(RegistryError::Digest { .. })));
}

#[test]
fn an_empty_blob_is_verified_too() {
    let fake = Fake::start(|_| Reply::new(200, ""));
    assert!(pull(&fake, &descriptor(b"")).1.is_ok());
    let wrong = Descriptor::new(MediaType::ImageLayer, Digest::of(b"x"), 0);
    assert!(matches!(pull(&fake, &wrong).1, Err(RegistryError::Digest { .. })));
}

#[test]
fn a_blob_in_its_descriptor_is_not_asked_for() {
    let fake = Fake::start(|_| Reply::new(500, ""));
    let mut inline = descriptor(b"{}");
    inline.data = Some("e30=".into());
    let (bytes, outcome) = pull(&fake, &inline);
    outcome.unwrap();
    assert_eq!(bytes, b"{}");
    inline.data = Some("fX0=".into());
    assert!(matches!(pull(&fake, &inline).1, Err(RegistryError::Digest { .. })));
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let fake = Fake::start(|seen| match seen.earlier {
        0 => Reply::new(429, "slow down").header("retry-after", 1),
        1 => Reply::new(500, ""),
        _ => Reply::new(200, manifest()),
    });
    let start = Instant::now();
    assert_eq!(resolve(&fake, "x:1").unwrap(), manifest());
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_registry_that_stays_busy_is_an_error() {
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"rate\nlimit"}]}"#;
    let fake = Fake::start(move |_| Reply::new(429, body).header("retry-after", 3600));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(text(&fake, &error), "`http://HOST/v2/x/manifests/1` answered 429: ratelimit");
    assert_eq!(fake.seen().len(), 1);
    assert!(error.hint().is_some());
    let fake = Fake::start(|_| Reply::new(502, "<html>"));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(text(&fake, &error), "`http://HOST/v2/x/manifests/1` answered 502: <html>");
    assert_eq!(fake.seen().len(), 3);
}

#[test]
fn a_broken_manifest_is_read_again() {
    let fake = Fake::start(|seen| match seen.earlier {
        0 => Reply::new(200, manifest()).truncated(20),
        _ => Reply::new(200, manifest()),
    });
    assert_eq!(resolve(&fake, "x").unwrap(), manifest());
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let elsewhere = Fake::start(|_| Reply::new(200, layer()));
    let target = format!("http://{}/signed?secret=1", elsewhere.host());
    let fake = Fake::start(move |seen| match seen.header("authorization") {
        Some("Basic dTpw") => Reply::new(307, "").header("location", &target),
        _ => Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\""),
    });
    let client = client(password("u", "p"));
    let name = reference(&format!("{}/x", fake.host()));
    let bytes = client.blob_bytes(&name, &descriptor(&layer()), 1 << 20).unwrap();
    assert!(bytes == layer());
    assert_eq!(fake.seen().len(), 2);
    assert_eq!(elsewhere.seen()[0].header("authorization"), None);
}

#[test]
fn another_host_cannot_ask_for_the_credentials() {
    let elsewhere = Fake::start(|seen| {
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        Reply::new(401, "").header("www-authenticate", realm)
    });
    let target = format!("http://{}/", elsewhere.host());
    let fake = Fake::start(move |_| Reply::new(302, "").header("location", &target));
    let name = reference(&format!("{}/x", fake.host()));
    let error = client(password("u", "p")).resolve(&name).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    let paths: Vec<_> = elsewhere.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/"]);
}

#[test]
fn redirects_end() {
    let fake = Fake::start(|_| Reply::new(302, "").header("location", "/v2/x/manifests/again"));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(text(&fake, &error), "`http://HOST/v2/x/manifests/1` redirects too often");
    let fake = Fake::start(|_| Reply::new(302, "").header("location", "gopher://x"));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(
        text(&fake, &error),
        "`http://HOST/v2/x/manifests/1` redirects to no usable address"
    );
}

#[test]
fn a_huge_manifest_is_not_read() {
    let fake = Fake::start(|_| Reply::new(200, " ").header("content-length", 100 << 20));
    let error = resolve(&fake, "x:1").unwrap_err();
    let expected = "`http://HOST/v2/x/manifests/1` sends more than 4194304 bytes";
    assert_eq!(text(&fake, &error), expected);
    let fake = Fake::start(|_| Reply::new(200, [b' '; 65536]).endless());
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(text(&fake, &error), expected);
}

#[test]
fn a_manifest_must_have_its_digest() {
    let fake = Fake::start(|_| Reply::new(200, manifest()));
    let other = Digest::of(b"");
    let error = resolve(&fake, &format!("x@{other}")).unwrap_err();
    let actual = Digest::of(&manifest());
    assert_eq!(
        text(&fake, &error),
        format!("`HOST/x@{other}` has digest `{actual}`, expected `{other}`")
    );
    assert_eq!(resolve(&fake, &format!("x@{actual}")).unwrap(), manifest());
    let fake =
        Fake::start(move |_| Reply::new(200, manifest()).header("docker-content-digest", other));
    assert!(matches!(resolve(&fake, "x"), Err(RegistryError::Digest { .. })));
}

#[test]
fn what_is_no_manifest_says_why() {
    let fake = Fake::start(|_| Reply::new(200, "<html>"));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(
        text(&fake, &error),
        "cannot read the manifest of `HOST/x:1`: malformed manifest: expected value at line 1 column 1"
    );
    let fake = Fake::start(|_| Reply::new(404, ""));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(text(&fake, &error), "`HOST/x:1` not found");
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let start = Instant::now();
    let fake = Fake::start(|_| Reply::new(200, manifest()).hanging(10));
    let error = resolve(&fake, "x:1").unwrap_err();
    assert_eq!(
        text(&fake, &error),
        "the transfer from `http://HOST/v2/x/manifests/1` broke off: timeout: per read"
    );
    let fake = Fake::start(|_| Reply::new(200, layer()).hanging(10));
    let (_, outcome) = pull(&fake, &descriptor(&layer()));
    assert!(text(&fake, &outcome.unwrap_err()).contains("timeout"));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn nobody_at_home_is_an_error_at_once() {
    let host = Fake::start(|_| Reply::new(200, "")).host();
    let error = client(None).resolve(&reference(&format!("{host}/x"))).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach `http://{host}/v2/`"));
    assert_eq!(error.hint().unwrap(), "check that the server runs and listens on this port");
}
