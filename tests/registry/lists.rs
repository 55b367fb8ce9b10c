//! Tags and referrers: pages, filters, registries without them, and lists that do not end.

use std::sync::Mutex;

use kiln::digest::Digest;
use kiln::oci::{Content, Descriptor, Family, Index, Manifest, MediaType, media_type};
use kiln::registry::{BlobSource, RegistryError};
use serde_json::json;

use crate::fake::{Fake, Reply, Seen};
use crate::server::{Registry, Setup, tool};
use crate::support::Kiln;
use crate::{client, reference};

fn tags(fake: &Fake, limit: usize) -> Result<Vec<String>, RegistryError> {
    client(None).tags(&reference(&format!("{}/x", fake.host())), limit)
}

fn page(names: &[&str]) -> Reply {
    Reply::new(200, json!({ "name": "x", "tags": names }).to_string())
}

fn paths(fake: &Fake) -> Vec<String> {
    fake.seen().into_iter().map(|seen| seen.path).collect()
}

#[test]
fn tags_come_in_pages() {
    let serve = || {
        Fake::start(|seen| match seen.path.as_str() {
            "/v2/x/tags/list?n=1000" => {
                page(&["b", "a"]).header("link", "</v2/x/tags/list?n=2&last=a>; rel=\"next\"")
            }
            "/v2/x/tags/list?n=2&last=a" if seen.earlier == 0 => Reply::new(503, ""),
            "/v2/x/tags/list?n=2&last=a" => page(&["c"]).header("link", "<list?n=9>; rel=next"),
            _ => Reply::new(200, r#"{"tags":null}"#),
        })
    };
    assert_eq!(tags(&serve(), usize::MAX).unwrap(), ["b", "a", "c"]);
    let fake = serve();
    assert_eq!(tags(&fake, 1000).unwrap(), ["b", "a", "c"]);
    assert_eq!(paths(&fake).last().unwrap(), "/v2/x/tags/list?n=9");
    let fake = Fake::start(|_| page(&["a", "b"]).header("link", "<?n=2&last=b>; rel=next"));
    assert_eq!(tags(&fake, 1).unwrap(), ["a"]);
    assert_eq!(paths(&fake), ["/v2/x/tags/list?n=1"]);
}

#[test]
fn a_registry_may_not_know_pages() {
    let fake = Fake::start(|seen| match seen.path.contains('?') {
        true => Reply::new(400, r#"{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}"#),
        false => page(&["a"]),
    });
    assert_eq!(tags(&fake, usize::MAX).unwrap(), ["a"]);
}

#[test]
fn the_next_page_is_on_the_same_server() {
    let fake = Fake::start(|seen| match seen.path.as_str() {
        "/v2/x/tags/list?n=1000" => {
            page(&["a"]).header("link", "<http://127.0.0.1:9/v2/x/tags/list?last=a>; rel=next")
        }
        "/v2/x/tags/list?last=a" => page(&["b"]),
        other => panic!("{other}"),
    });
    assert_eq!(tags(&fake, usize::MAX).unwrap(), ["a", "b"]);
}

#[test]
fn lists_end() {
    let refused = |handler: fn(&Seen) -> Reply, reason: &str| {
        let fake = Fake::start(handler);
        let error = tags(&fake, usize::MAX).unwrap_err();
        let expected = format!("cannot read the tags of `{}/x`: {reason}", fake.host());
        assert_eq!(error.to_string(), expected);
    };
    let same = |_: &Seen| page(&["a"]).header("link", "</v2/x/tags/list?n=1000&last=a>; rel=next");
    refused(same, "it leads back to where it was");
    let empty = |seen: &Seen| page(&[]).header("link", format!("<{}1>; rel=next", seen.path));
    refused(empty, "it does not end");
    refused(|_| Reply::new(200, "<html>"), "expected value at line 1 column 1");
    let fake = Fake::start(|_| Reply::new(404, ""));
    let error = tags(&fake, usize::MAX).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}/x` not found", fake.host()));
}

fn kind(name: &str, bytes: &[u8]) -> Descriptor {
    let mut it = Descriptor::of(MediaType::ImageManifest, bytes);
    it.artifact_type = Some(name.to_owned());
    it
}

fn index(manifests: Vec<Descriptor>) -> Reply {
    Reply::new(200, Index::new(Family::Oci, manifests).to_bytes())
        .header("content-type", "application/vnd.oci.image.index.v1+json; charset=utf-8")
}

#[test]
fn referrers_come_filtered_or_not() {
    let (a, b) = (kind("type/a", b"1"), kind("type/b", b"2"));
    let mut bare = kind("", b"3");
    bare.artifact_type = None;
    let subject = Digest::of(b"subject");
    let all = vec![a.clone(), b.clone(), bare.clone()];
    let (plain, filtered) = (all.clone(), vec![a.clone(), bare.clone()]);
    let fake = Fake::start(move |seen| match seen.path.split_once('?') {
        Some((_, "artifactType=type%2Fa")) if seen.path.contains("/filters/") => {
            index(filtered.clone()).header("oci-filters-applied", "artifactType")
        }
        Some((_, "page=2")) => index(plain[1..].to_vec()),
        _ => index(plain[..1].to_vec()).header("link", "<?page=2>; rel=\"next\""),
    });
    let get = |repository: &str, artifact_type| {
        let name = reference(&format!("{}/{repository}", fake.host()));
        client(None).referrers(&name, subject, artifact_type).unwrap()
    };
    assert_eq!(get("plain", None), all);
    assert_eq!(get("plain", Some("type/a")), all[..1]);
    assert_eq!(get("plain", Some("type/c")), []);
    bare.artifact_type = Some("type/a".to_owned());
    assert_eq!(get("filters", Some("type/a")), [a, bare]);
}

#[test]
fn without_the_api_there_is_a_tag() {
    let a = kind("type/a", b"1");
    let (subject, listed) = (Digest::of(b"subject"), a.clone());
    let tag = format!("/v2/x/manifests/sha256-{}", subject.hex());
    for answer in [|| Reply::new(404, ""), || Reply::new(200, "<html>"), || Reply::new(405, "")] {
        let (tag, listed) = (tag.clone(), listed.clone());
        let fake = Fake::start(move |seen| match seen.path == tag {
            true => index(vec![listed.clone()]),
            false => answer(),
        });
        let name = reference(&format!("{}/x", fake.host()));
        let found = client(None).referrers(&name, subject, None).unwrap();
        assert_eq!(found, std::slice::from_ref(&a));
    }
    let fake = Fake::start(|_| Reply::new(404, ""));
    let name = reference(&format!("{}/x", fake.host()));
    assert_eq!(client(None).referrers(&name, subject, None).unwrap(), []);
}

fn about(subject: &Descriptor, number: usize) -> Vec<u8> {
    let empty = Descriptor::of(MediaType::EmptyJSON, b"{}");
    let mut manifest = Manifest::new(Family::Oci, empty, Vec::new());
    manifest.subject = Some(subject.clone());
    manifest.artifact_type = Some(format!("type/{number}"));
    manifest.annotations.insert("number".into(), number.to_string());
    manifest.to_bytes()
}

#[test]
fn a_list_that_another_overwrote_is_completed_again() {
    let subject = Descriptor::of(MediaType::ImageManifest, b"subject");
    let (tag, other) = (format!("sha256-{}", subject.digest.hex()), kind("type/other", b"2"));
    let stored = Mutex::new(None);
    let (name, listed) = (tag.clone(), other.clone());
    let fake = Fake::start(move |seen| {
        let mut stored = stored.lock().unwrap();
        match (seen.method.as_str(), seen.path.ends_with(&name)) {
            ("PUT", false) => Reply::new(201, ""),
            // Somebody else is a moment later.
            ("PUT", true) if seen.earlier < 3 => {
                *stored = Some(Index::new(Family::Oci, vec![listed.clone()]).to_bytes());
                Reply::new(201, "")
            }
            ("PUT", true) => {
                *stored = Some(seen.body.clone().into_bytes());
                Reply::new(201, "")
            }
            ("GET", true) => match &*stored {
                Some(bytes) => Reply::new(200, bytes.clone()),
                None => Reply::new(404, ""),
            },
            _ => Reply::new(404, ""),
        }
    });
    let name = reference(&format!("{}/x", fake.host()));
    let bytes = about(&subject, 1);
    let client = client(None);
    client.put_manifest(&name, &MediaType::ImageManifest, &bytes).unwrap();
    let mut own = Descriptor::of(MediaType::ImageManifest, &bytes);
    own.artifact_type = Some("type/1".into());
    own.annotations.insert("number".into(), "1".into());
    assert_eq!(client.referrers(&name, subject.digest, None).unwrap(), [other, own]);
}

#[test]
fn a_registry_that_keeps_the_list_itself_is_left_alone() {
    let subject = Descriptor::of(MediaType::ImageManifest, b"subject");
    for says in [true, false] {
        let fake = Fake::start(move |seen| match seen.method.as_str() {
            "PUT" if says => Reply::new(201, "").header("oci-subject", "sha256:x"),
            "PUT" => Reply::new(201, ""),
            _ => index(Vec::new()),
        });
        let name = reference(&format!("{}/x", fake.host()));
        let bytes = about(&subject, 1);
        client(None).put_manifest(&name, &MediaType::ImageManifest, &bytes).unwrap();
        assert_eq!(fake.seen().iter().filter(|seen| seen.method == "PUT").count(), 1);
        assert_eq!(fake.seen().len(), if says { 1 } else { 2 });
    }
}

#[test]
fn a_real_registry_lists_what_was_pushed() {
    let registry = Registry::start(&Setup::Plain);
    let (client, kiln) = (client(None), Kiln::new());
    let repository = reference(&format!("{}/team/app", registry.host));
    let config = Descriptor::of(media_type(Content::Config, Family::Oci).unwrap(), b"{}");
    for descriptor in [&config, &Descriptor::of(MediaType::EmptyJSON, b"{}")] {
        let content = b"{}".to_vec();
        let source = BlobSource { descriptor, content: &content, from: None, progress: &|_| () };
        client.push_blob(&repository, &source).unwrap();
    }
    let bytes = Manifest::new(Family::Oci, config, Vec::new()).to_bytes();
    for tag in ["v1.0", "v1.1", "latest", "v2.0"] {
        let name = repository.with_tag(tag).unwrap();
        client.put_manifest(&name, &MediaType::ImageManifest, &bytes).unwrap();
    }
    let subject = Descriptor::of(MediaType::ImageManifest, &bytes);
    for number in 0..3 {
        let bytes = about(&subject, number);
        client.put_manifest(&repository, &MediaType::ImageManifest, &bytes).unwrap();
    }
    let about = client.referrers(&repository, subject.digest, None).unwrap();
    assert_eq!(about.len(), 3);
    let about = client.referrers(&repository, subject.digest, Some("type/2")).unwrap();
    assert_eq!(about[0].annotations["number"], "2");

    let name = format!("{}/team/app", registry.host);
    let search = |further: &[&str]| {
        let ended = kiln.run(&[&["search-tags", &name], further].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout
    };
    let fallback = format!("sha256-{}", subject.digest.hex());
    // This registry gives them in another order each time.
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(search(&[])), ["latest", &fallback, "v1.0", "v1.1", "v2.0"]);
    assert_eq!(sorted(search(&["--filter", "v1.*"])), ["v1.0", "v1.1"]);
    assert_eq!(search(&["--filter", "v*", "--limit", "1"]).lines().count(), 1);
    let from = format!("docker://{name}");
    let theirs = tool("skopeo", "skopeo", &["list-tags", "--tls-verify=false", &from]);
    let [ours, theirs] = [search(&["--format", "json"]), theirs].map(|text| {
        let mut list: serde_json::Value = serde_json::from_str(&text).unwrap();
        list["Tags"].as_array_mut().unwrap().sort_by_key(ToString::to_string);
        list
    });
    assert_eq!(ours, theirs);
    let ended = kiln.run(&["search-tags", &format!("{}/nobody", registry.host)]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("/nobody` not found"), "{}", ended.stderr);
    let ended = kiln.run(&["search-tags", &format!("{name}:v1.0")]);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
}
