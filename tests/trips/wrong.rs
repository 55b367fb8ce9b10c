//! Registries that answer wrongly: each ends in one clear error, and the store is as it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kiln::digest::Digest;
use serde_json::{Value, json};

use crate::fake::{Fake, Reply, Seen};
use crate::server::{Registry, Setup};
use crate::support::Kiln;
use crate::{arg, built, done, everything, fails, run};

/// What is advised then.
const WRONG_BYTES: &str =
    "  hint: the registry, or a proxy on the way, sent wrong bytes; nothing of them was used\n";

/// An image of one layer as a registry has it.
#[derive(Clone)]
struct Image {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

fn image() -> Image {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(6);
    header.set_mode(0o644);
    builder.append_data(&mut header, "hello", &b"hello\n"[..]).unwrap();
    let layer = builder.into_inner().unwrap();
    let platform = kiln::oci::Platform::host();
    let rootfs = json!({"type": "layers", "diff_ids": [Digest::of(&layer).to_string()]});
    let config = json!({"architecture": platform.architecture, "os": "linux", "config": {}, "rootfs": rootfs});
    let config = config.to_string().into_bytes();
    let describe = |kind: &str, bytes: &[u8]| {
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("config.v1+json", &config),
        "layers": [describe("layer.v1.tar", &layer)],
    });
    Image { manifest: manifest.to_string().into_bytes(), config, layer }
}

impl Image {
    /// The same with another manifest.
    fn changed(mut self, change: impl Fn(&mut Value)) -> Self {
        let mut manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        change(&mut manifest);
        self.manifest = manifest.to_string().into_bytes();
        self
    }

    /// What an honest registry answers.
    fn answer(&self, seen: &Seen) -> Reply {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let name = |bytes: &[u8]| format!("/v2/app/blobs/{}", Digest::of(bytes));
        match seen.path.as_str() {
            path if path.starts_with("/v2/app/manifests/") => {
                Reply::new(200, self.manifest.clone()).header("content-type", kind)
            }
            path if path == name(&self.config) => Reply::new(200, self.config.clone()),
            path if path == name(&self.layer) => Reply::new(200, self.layer.clone()),
            _ => Reply::new(404, "{}"),
        }
    }

    fn is_layer(&self, seen: &Seen) -> bool {
        seen.path.ends_with(&Digest::of(&self.layer).to_string())
    }
}

/// Pulls from a registry, which must fail for these reasons; the store must be as it was.
fn refused(registry: &Fake, code: i32, causes: &str) {
    let kiln = built();
    let before = everything(&kiln);
    let name = format!("{}/app:1", registry.host());
    let error = fails(&kiln, code, &["pull", &name]);
    let expected =
        format!("error: cannot use the image `{name}`\n{causes}").replace("HOST", &registry.host());
    assert_eq!(error, expected);
    assert_eq!(everything(&kiln), before);
    assert_eq!(done(&kiln, &["run", "app"]), crate::SAID);
    let left = std::fs::read_dir(kiln.path("state/tmp")).unwrap().flatten();
    assert_eq!(
        left.map(|entry| entry.path()).collect::<Vec<_>>(),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn an_honest_one_is_pulled() {
    let image = image();
    let registry = Fake::start(move |seen| image.answer(seen));
    let kiln = Kiln::new();
    done(&kiln, &["pull", &format!("{}/app:1", registry.host())]);
}

#[test]
fn bytes_that_are_not_the_layer() {
    let image = image();
    let (digest, len) = (Digest::of(&image.layer), image.layer.len());
    let mut other = image.layer.clone();
    other[0] ^= 1;
    let actual = Digest::of(&other);
    let serving = image.clone();
    let registry = Fake::start(move |seen| match serving.is_layer(seen) {
        true => Reply::new(200, other.clone()),
        false => serving.answer(seen),
    });
    refused(
        &registry,
        3,
        &format!(
            "  caused by: `HOST/app@{digest}` has digest `{actual}`, expected `{digest}`\n{WRONG_BYTES}"
        ),
    );

    // More than was said, and less.
    for by in [-512_i64, 512] {
        let said = (len as i64 + by) as u64;
        let lying = image.clone().changed(|manifest| manifest["layers"][0]["size"] = said.into());
        let registry = Fake::start(move |seen| lying.answer(seen));
        refused(
            &registry,
            3,
            &format!(
                "  caused by: `HOST/app@{digest}` has {len} bytes, expected {said}\n{WRONG_BYTES}"
            ),
        );
    }
}

/// A name goes on to mean what it meant until all of something newer is here.
#[test]
fn an_update_that_fails() {
    let old = image();
    // Its layer is another one, which never comes.
    let lost = |manifest: &mut Value| {
        manifest["layers"][0]["digest"] = Digest::of(b"new").to_string().into()
    };
    let (new, is_new) = (old.clone().changed(lost), Arc::<AtomicBool>::default());
    let updated = is_new.clone();
    let registry = Fake::start(move |seen| match updated.load(Ordering::Acquire) {
        true => new.answer(seen),
        false => old.answer(seen),
    });
    let kiln = Kiln::new();
    let name = format!("{}/app:1", registry.host());
    done(&kiln, &["pull", &name]);
    let before = everything(&kiln);
    is_new.store(true, Ordering::Release);
    let error = fails(&kiln, 2, &["pull", &name]);
    assert!(error.contains("not found"), "{error}");
    assert_eq!(everything(&kiln), before);
    assert_eq!(done(&kiln, &["export", "-q", &name]).len() % 512, 0);
}

#[test]
fn a_layer_that_ends_early() {
    let image = image();
    let registry = Fake::start(move |seen| match image.is_layer(seen) {
        true => image.answer(seen).truncated(100),
        false => image.answer(seen),
    });
    let kiln = Kiln::new();
    let name = format!("{}/app:1", registry.host());
    let error = fails(&kiln, 3, &["pull", &name]);
    assert!(
        error.starts_with(&format!(
            "error: cannot use the image `{name}`\n  caused by: the transfer from "
        )),
        "{error}"
    );
    assert_eq!(done(&kiln, &["images", "-a", "-q"]), "");
}

#[test]
fn a_manifest_without_end() {
    for is_said in [true, false] {
        let registry = Fake::start(move |_| {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            let reply = Reply::new(200, vec![b' '; 1 << 20]).header("content-type", kind);
            match is_said {
                true => reply.header("content-length", 100 << 20),
                false => reply.endless(),
            }
        });
        let kiln = Kiln::new();
        let error = fails(&kiln, 3, &["pull", &format!("{}/app:1", registry.host())]);
        assert!(error.contains("more than 4194304 bytes\n"), "{error}");
    }
}

#[test]
fn a_manifest_that_is_not_the_one_asked_for() {
    let image = image();
    let (asked, actual) = (Digest::of(b"another"), Digest::of(&image.manifest));
    let registry = Fake::start(move |seen| image.answer(seen));
    let kiln = Kiln::new();
    let name = format!("{}/app@{asked}", registry.host());
    let error = fails(&kiln, 3, &["pull", &name]);
    assert_eq!(
        error,
        format!(
            "error: cannot use the image `{name}`\n  caused by: `{name}` has digest `{actual}`, expected `{asked}`\n{WRONG_BYTES}"
        )
    );
}

#[test]
fn a_layer_elsewhere_is_asked_for_without_credentials() {
    let image = image();
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let (log, stored) = (seen.clone(), image.clone());
    let elsewhere = Fake::start(move |seen| {
        log.lock().unwrap().push(seen.clone());
        Reply::new(200, stored.layer.clone())
    });
    // Another name of this machine is another host.
    let place = elsewhere.host().replace("127.0.0.1", "localhost");
    let registry = Fake::start(move |seen| {
        if seen.header("authorization").is_none() {
            return Reply::new(401, "{}").header("www-authenticate", "Basic realm=\"test\"");
        }
        match image.is_layer(seen) {
            true => Reply::new(307, "").header("location", format!("http://{place}/layer")),
            false => image.answer(seen),
        }
    });
    let kiln = Kiln::new();
    done(&kiln, &["pull", "--creds", "me:secret", &format!("{}/app:1", registry.host())]);
    let seen = seen.lock().unwrap();
    assert!(
        !seen.is_empty() && seen.iter().all(|seen| seen.header("authorization").is_none()),
        "{seen:?}"
    );
    assert!(registry.seen().iter().any(|seen| seen.header("authorization").is_some()));
}

#[test]
fn names_that_a_registry_does_not_know() {
    let (registry, kiln) = (Registry::start(&Setup::Plain), built());
    let name = |rest: &str| format!("{}/{rest}", registry.host);
    done(&kiln, &["push", "app", &name("app:1")]);
    for unknown in [name("app:2"), name("nothing:1")] {
        let error = fails(&kiln, 2, &["pull", &unknown]);
        let expected = format!(
            "error: cannot use the image `{unknown}`\n  caused by: `{unknown}` not found\n  hint: check the name and the tag\n"
        );
        assert_eq!(error, expected);
    }
    let error = fails(&kiln, 2, &["push", "nothing", &name("x")]);
    assert!(
        error.starts_with("error: there is no image `nothing` in the local store\n"),
        "{error}"
    );
    let image = crate::id(&kiln, "app");
    let error = fails(&kiln, 2, &["push", &image]);
    assert_eq!(
        error,
        format!(
            "error: `{image}` is no name to push to\n  hint: name the destination after the image\n"
        )
    );
    // What was there before the one that failed stays.
    let other = Kiln::new();
    assert_eq!(run(&other, &["pull", &name("app:1"), &name("app:2")]).code, Some(2));
    assert_eq!(done(&other, &["run", &name("app:1")]), crate::SAID);
}

#[test]
fn a_certificate_for_another_name() {
    let (registry, kiln) = (Registry::start(&Setup::Tls), built());
    let certificates = kiln.path("certificates");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::copy(registry.certificate(), certificates.join("ca.crt")).unwrap();
    let name = format!("{}/app", registry.host);
    let trust = ["--cert-dir", arg(&certificates)];
    done(&kiln, &[&["push", "app", &name], &trust[..]].concat());
    let other = name.replace("127.0.0.1", "localhost");
    for words in [["push", "app", &other], ["pull", "--quiet", &other]] {
        let error = fails(&kiln, 3, &[&words[..], &trust].concat());
        assert!(error.contains("certificate not valid for name \"localhost\""), "{error}");
    }
}
