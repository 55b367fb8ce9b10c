//! Uploads: in one piece, in chunks, after a break; and what registries say to them.

use std::sync::{Arc, Mutex};

use kiln::oci::{Descriptor, MediaType};
use kiln::registry::agent::{Agent, AgentOptions};
use kiln::registry::{BlobSource, Client, Options, Placed, RegistryError, Retry};

use crate::fake::{Fake, Reply, Seen};
use crate::{client, password, reference};

/// What a registry has of the one upload that it takes.
#[derive(Default)]
struct Taken {
    bytes: String,
    done: bool,
}

type Special = dyn Fn(&Seen, &mut Taken) -> Option<Reply> + Send + Sync;

/// A registry that takes one upload as the specification says, except where `special` answers.
fn registry(
    special: impl Fn(&Seen, &mut Taken) -> Option<Reply> + Send + Sync + 'static,
) -> (Fake, Arc<Mutex<Taken>>) {
    let taken = Arc::<Mutex<Taken>>::default();
    let (state, special): (_, Box<Special>) = (taken.clone(), Box::new(special));
    let fake = Fake::start(move |seen| {
        let mut taken = state.lock().unwrap();
        special(seen, &mut taken).unwrap_or_else(|| ordinary(seen, &mut taken))
    });
    (fake, taken)
}

fn ordinary(seen: &Seen, taken: &mut Taken) -> Reply {
    let place = |bytes: &str| format!("/v2/x/blobs/uploads/u?at={}", bytes.len());
    let range = |bytes: &str| format!("0-{}", bytes.len().saturating_sub(1));
    match seen.method.as_str() {
        "HEAD" if taken.done => Reply::new(200, ""),
        "HEAD" => Reply::new(404, ""),
        "POST" => {
            taken.bytes.clear();
            Reply::new(202, "").header("location", place(""))
        }
        "PATCH" => {
            let start = seen.header("content-range").unwrap().split('-').next().unwrap();
            if start.parse() != Ok(taken.bytes.len()) {
                return Reply::new(416, "");
            }
            taken.bytes += &seen.body;
            let (place, range) = (place(&taken.bytes), range(&taken.bytes));
            Reply::new(202, "").header("location", place).header("range", range)
        }
        "GET" => {
            let (place, range) = (place(&taken.bytes), range(&taken.bytes));
            Reply::new(204, "").header("location", place).header("range", range)
        }
        _ => {
            taken.bytes += &seen.body;
            taken.done = true;
            Reply::new(201, "")
        }
    }
}

fn blob() -> String {
    (0..10_000).map(|i| char::from(b'a' + (i % 23) as u8)).collect()
}

/// A client whose chunks have 3000 bytes.
fn chunking() -> Client {
    let pause = std::time::Duration::from_millis(1);
    let retry = Retry { attempts: 3, pause, longest: pause, ..Retry::default() };
    let options = Options { retry, chunk: 3000, ..Options::default() };
    Client::new(Arc::new(Agent::new(AgentOptions::default())), options)
}

fn push(fake: &Fake, client: &Client) -> Result<(Placed, Vec<u64>), RegistryError> {
    let blob = blob();
    let descriptor = Descriptor::of(MediaType::ImageLayer, blob.as_bytes());
    let heard = Mutex::new(Vec::new());
    let source = BlobSource {
        descriptor: &descriptor,
        content: &blob.as_bytes().to_vec(),
        from: None,
        progress: &|bytes| heard.lock().unwrap().push(bytes),
    };
    let placed = client.push_blob(&reference(&format!("{}/x", fake.host())), &source)?;
    Ok((placed, heard.into_inner().unwrap()))
}

/// The requests in order: method, and the range of a chunk.
fn asked(fake: &Fake) -> Vec<String> {
    let word = |seen: Seen| match seen.header("content-range") {
        Some(range) => format!("{} {range}", seen.method),
        None => seen.method,
    };
    fake.seen().into_iter().map(word).collect()
}

#[test]
fn a_large_blob_goes_in_chunks() {
    let (fake, taken) = registry(|_, _| None);
    let (placed, heard) = push(&fake, &chunking()).unwrap();
    assert_eq!((placed, heard.last()), (Placed::Uploaded, Some(&10_000)));
    assert!(heard.is_sorted());
    assert_eq!(taken.lock().unwrap().bytes, blob());
    let chunks = ["PATCH 0-2999", "PATCH 3000-5999", "PATCH 6000-8999", "PATCH 9000-9999"];
    assert_eq!(asked(&fake)[2..6], chunks);
    let last = fake.seen().pop().unwrap();
    assert!(last.path.starts_with("/v2/x/blobs/uploads/u?at=10000&digest=sha256%3A"), "{last:?}");
    assert_eq!((last.body.as_str(), last.header("content-length")), ("", Some("0")));
}

#[test]
fn a_small_blob_goes_in_one_piece() {
    let (fake, taken) = registry(|_, _| None);
    push(&fake, &client(None)).unwrap();
    assert_eq!(asked(&fake), ["HEAD", "POST", "PUT"]);
    assert_eq!(taken.lock().unwrap().bytes, blob());
    let (placed, heard) = push(&fake, &client(None)).unwrap();
    assert_eq!((placed, heard), (Placed::Present, Vec::new()));
}

#[test]
fn a_registry_may_want_larger_chunks() {
    let (fake, taken) = registry(|seen, taken| {
        (seen.method == "POST").then(|| ordinary(seen, taken).header("oci-chunk-min-length", 6000))
    });
    push(&fake, &chunking()).unwrap();
    assert_eq!(asked(&fake), ["HEAD", "POST", "PATCH 0-5999", "PATCH 6000-9999", "PUT"]);
    assert_eq!(taken.lock().unwrap().bytes, blob());
}

#[test]
fn an_upload_that_broke_is_continued_where_the_registry_is() {
    let (fake, taken) = registry(|seen, taken| {
        let first = seen.header("content-range") == Some("3000-5999");
        first.then(|| {
            taken.bytes += &seen.body[..1000];
            Reply::new(503, "")
        })
    });
    push(&fake, &chunking()).unwrap();
    let expected = ["PATCH 3000-5999", "HEAD", "GET", "PATCH 4000-6999", "PATCH 7000-9999", "PUT"];
    assert_eq!(asked(&fake)[3..], expected);
    assert_eq!(taken.lock().unwrap().bytes, blob());
}

#[test]
fn a_registry_may_take_a_part_of_a_chunk() {
    let (fake, taken) = registry(|seen, taken| {
        let first = seen.header("content-range") == Some("0-2999");
        first.then(|| {
            taken.bytes += &seen.body[..2000];
            Reply::new(202, "").header("range", "0-1999")
        })
    });
    push(&fake, &chunking()).unwrap();
    assert_eq!(asked(&fake)[2..5], ["PATCH 0-2999", "PATCH 2000-4999", "PATCH 5000-7999"]);
    assert_eq!(taken.lock().unwrap().bytes, blob());
}

#[test]
fn an_upload_that_the_registry_forgot_begins_anew() {
    let (fake, taken) =
        registry(|seen, _| match (seen.method.as_str(), seen.header("content-range")) {
            ("PATCH", Some("3000-5999")) if seen.earlier == 0 => Some(Reply::new(502, "")),
            ("GET", _) => Some(Reply::new(404, "")),
            _ => None,
        });
    push(&fake, &chunking()).unwrap();
    let expected = ["PATCH 3000-5999", "HEAD", "GET", "POST", "PATCH 0-2999", "PATCH 3000-5999"];
    assert_eq!(asked(&fake)[3..9], expected);
    assert_eq!(taken.lock().unwrap().bytes, blob());
}

#[test]
fn a_registry_that_takes_no_chunks_gets_one_piece() {
    for status in [404, 405, 413, 416, 501] {
        let (fake, taken) =
            registry(move |seen, _| (seen.method == "PATCH").then(|| Reply::new(status, "")));
        let client = chunking();
        push(&fake, &client).unwrap();
        assert_eq!(asked(&fake), ["HEAD", "POST", "PATCH 0-2999", "POST", "PUT"]);
        assert_eq!(taken.lock().unwrap().bytes, blob());
        taken.lock().unwrap().done = false;
        push(&fake, &client).unwrap();
        assert_eq!(asked(&fake)[5..], ["HEAD", "POST", "PUT"]);
    }
}

#[test]
fn a_registry_that_counts_wrongly_gets_one_piece() {
    let (fake, taken) = registry(|seen, taken| {
        (seen.method == "PATCH").then(|| ordinary(seen, taken).header("range", "0-2999"))
    });
    push(&fake, &chunking()).unwrap();
    assert_eq!(asked(&fake)[2..], ["PATCH 0-2999", "PATCH 3000-5999", "POST", "PUT"]);
    assert_eq!(taken.lock().unwrap().bytes, blob());
}

#[test]
fn a_registry_that_hardly_takes_anything_gets_one_piece() {
    let (fake, taken) = registry(|seen, taken| {
        (seen.method == "PATCH").then(|| {
            taken.bytes += &seen.body[..2];
            let range = format!("0-{}", taken.bytes.len() - 1);
            Reply::new(202, "").header("range", range)
        })
    });
    push(&fake, &chunking()).unwrap();
    assert!(fake.seen().len() < 30);
    assert_eq!(taken.lock().unwrap().bytes, blob());
}

#[test]
fn an_answer_that_was_lost_is_not_a_reason_to_send_again() {
    let (fake, _) = registry(|seen, taken| {
        (seen.method == "PUT").then(|| {
            ordinary(seen, taken);
            Reply::new(502, "")
        })
    });
    push(&fake, &client(None)).unwrap();
    assert_eq!(asked(&fake), ["HEAD", "POST", "PUT", "HEAD"]);
}

#[test]
fn bytes_that_were_spoilt_are_sent_again() {
    let (fake, _) = registry(|seen, _| {
        (seen.method == "PUT" && seen.earlier == 0).then(|| Reply::new(400, "digest invalid"))
    });
    push(&fake, &client(None)).unwrap();
    assert_eq!(asked(&fake), ["HEAD", "POST", "PUT", "HEAD", "POST", "PUT"]);
}

#[test]
fn what_is_refused_stays_refused() {
    for (status, message) in [(403, "denied"), (413, "413"), (507, "507")] {
        let (fake, _) =
            registry(move |seen, _| (seen.method == "PUT").then(|| Reply::new(status, "")));
        let error = push(&fake, &client(None)).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(asked(&fake), ["HEAD", "POST", "PUT"]);
    }
    let (fake, _) = registry(|seen, _| (seen.method == "PUT").then(|| Reply::new(503, "")));
    let error = push(&fake, &client(None)).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(asked(&fake).iter().filter(|it| *it == "PUT").count(), 3);
}

#[test]
fn the_place_of_a_refused_mount_is_used() {
    let (fake, taken) = registry(|_, _| None);
    let blob = blob();
    let descriptor = Descriptor::of(MediaType::ImageLayer, blob.as_bytes());
    let from = reference(&format!("{}/other", fake.host()));
    let content = blob.as_bytes().to_vec();
    let source = BlobSource {
        descriptor: &descriptor,
        content: &content,
        from: Some(&from),
        progress: &|_| (),
    };
    let target = reference(&format!("{}/x", fake.host()));
    assert_eq!(client(None).push_blob(&target, &source).unwrap(), Placed::Uploaded);
    assert_eq!(asked(&fake), ["HEAD", "POST", "PUT"]);
    assert!(fake.seen()[1].path.ends_with("&from=other"));
    assert_eq!(taken.lock().unwrap().bytes, blob);
}

#[test]
fn a_mount_that_may_not_be_is_an_upload() {
    let fake = Fake::start(|seen| {
        let host = seen.header("host").unwrap();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"reg\"");
        if seen.path.starts_with("/token") {
            return match seen.path.contains("other") {
                true => Reply::new(403, "no"),
                false => Reply::new(200, r#"{"token":"good"}"#),
            };
        }
        match (seen.header("authorization"), seen.method.as_str()) {
            (Some("Bearer good"), _) => ordinary(seen, &mut Taken::default()),
            _ => Reply::new(401, "").header("www-authenticate", challenge),
        }
    });
    let blob = blob();
    let descriptor = Descriptor::of(MediaType::ImageLayer, blob.as_bytes());
    let from = reference(&format!("{}/other", fake.host()));
    let content = blob.as_bytes().to_vec();
    let source = BlobSource {
        descriptor: &descriptor,
        content: &content,
        from: Some(&from),
        progress: &|_| (),
    };
    let target = reference(&format!("{}/x", fake.host()));
    assert_eq!(client(None).push_blob(&target, &source).unwrap(), Placed::Uploaded);
    let last: Vec<_> = asked(&fake).into_iter().rev().take(2).collect();
    assert_eq!(last, ["PUT", "POST"]);
}

#[test]
fn credentials_do_not_follow_an_upload_to_another_host() {
    let elsewhere = Fake::start(|_| Reply::new(201, ""));
    let target = format!("http://{}/signed?secret=1", elsewhere.host());
    let (fake, _) =
        registry(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
            (Some("Basic dTpw"), "POST") => Some(Reply::new(202, "").header("location", &target)),
            (Some("Basic dTpw"), _) => None,
            _ => Some(Reply::new(401, "").header("www-authenticate", "Basic realm=\"x\"")),
        });
    push(&fake, &client(password("u", "p"))).unwrap();
    let seen = &elsewhere.seen()[0];
    assert_eq!((seen.method.as_str(), seen.header("authorization")), ("PUT", None));
    assert!(seen.path.starts_with("/signed?secret=1&digest="));
    assert_eq!(seen.body, blob());
}
