//! `registries.conf`: where an image is looked for, and what a short name means.

use std::path::{Path, PathBuf};

use kiln::event::Cancel;
use kiln::oci::{Content, Descriptor, Family, Manifest, media_type};
use kiln::registry::{BlobSource, Client, Placed, Registries, Settings, Web};

use crate::fake::{Fake, Reply};
use crate::server::{Registry, Setup, tool};
use crate::support::{Ended, Kiln};
use crate::{build_on, dead, push_base};

const VARIABLE: &str = "CONTAINERS_REGISTRIES_CONF";

fn configuration(kiln: &Kiln, text: &str) -> PathBuf {
    let path = kiln.path("registries.conf");
    std::fs::write(&path, text).unwrap();
    path
}

fn build(kiln: &Kiln, base: &str, text: &str) -> Ended {
    let path = configuration(kiln, text);
    build_on(kiln, base, &[], &[(VARIABLE, &path)])
}

fn table(prefix: &str, location: &str, further: &str) -> String {
    format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"{location}\"\n{further}\n")
}

fn mirror(location: &str) -> String {
    format!("[[registry.mirror]]\nlocation = \"{location}\"\n")
}

#[test]
fn a_mirror_serves_when_others_are_dead() {
    let registry = Registry::start(&Setup::Plain);
    push_base(&format!("{}/cache/base:1", registry.host), &[]);
    let kiln = Kiln::new();
    let mirrors = [mirror(&dead()), mirror(&format!("{}/cache", registry.host))].concat();
    let text = table("example.test/x", &format!("{}/y", dead()), &mirrors);
    let ended = build(&kiln, "example.test/x/base:1", &text);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // It is known by its own name, and not asked for again.
    let images = kiln.run(&["images"]).stdout;
    assert!(images.contains("example.test/x/base") && !images.contains(&registry.host), "{images}");
    drop(registry);
    assert_eq!(build(&kiln, "example.test/x/base:1", &text).code, Some(0));
}

#[test]
fn all_places_are_named_if_none_helps() {
    let registry = Registry::start(&Setup::Plain);
    let (kiln, dead) = (Kiln::new(), dead());
    let mirrors = [mirror(&dead), mirror(&registry.host)].concat();
    let ended = build(&kiln, "example.test/base:1", &table("example.test", &dead, &mirrors));
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    let expected = [
        "  caused by: `example.test/base` is in none of its places:\n".to_owned(),
        format!("    `{}/base`: `{0}/base:1` not found\n", registry.host),
        format!("    `{dead}/base`: cannot reach `http://{dead}/v2/`"),
    ];
    for part in expected {
        assert!(ended.error().contains(&part), "{part}\n{}", ended.stderr);
    }
}

#[test]
fn a_name_may_mean_a_place_elsewhere() {
    let registry = Registry::start(&Setup::Plain);
    push_base(&format!("{}/library/base:1", registry.host), &[]);
    let text = [
        table("docker.io", &registry.host, ""),
        table("*.corp.test", &format!("{}/library", registry.host), ""),
    ];
    for name in
        ["base:1", "docker.io/library/base:1", "index.docker.io/base:1", "a.corp.test/base:1"]
    {
        let ended = build(&Kiln::new(), name, &text.concat());
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    }
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let registry = Registry::start(&Setup::Plain);
    push_base(&format!("{}/bad/base:1", registry.host), &[]);
    let prefix = format!("{}/bad", registry.host);
    let kiln = Kiln::new();
    let text = table(&prefix, &prefix, "blocked = true");
    let ended = build(&kiln, &format!("{prefix}/base:1"), &text);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let path = kiln.path("registries.conf");
    let expected = format!("caused by: `{prefix}/base` is blocked by `{}`\n", path.display());
    assert!(ended.error().contains(&expected), "{}", ended.stderr);
    // Its mirrors may be: that is how the registry itself is kept out.
    let mirrored = table("q.test", &prefix, "blocked = true") + &mirror(&prefix.replace("bad", ""));
    push_base(&format!("{}/base:1", registry.host), &[]);
    let ended = build(&Kiln::new(), "q.test/base:1", &mirrored);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn an_insecure_registry_may_show_any_certificate() {
    let registry = Registry::start(&Setup::Tls);
    let name = format!("{}/base:1", registry.host);
    push_base(&name, &[]);
    let insecure = table(&registry.host, &registry.host, "insecure = true");
    assert_eq!(build(&Kiln::new(), &name, "").code, Some(3));
    assert_eq!(build(&Kiln::new(), &name, &insecure).code, Some(0));
    let kiln = Kiln::new();
    let path = configuration(&kiln, &insecure);
    let verify = build_on(&kiln, &name, &["--tls-verify"], &[(VARIABLE, &path)]);
    assert_eq!(verify.code, Some(3), "{}", verify.stderr);
    let skip = build_on(&Kiln::new(), &name, &["--tls-verify=false"], &[]);
    assert_eq!(skip.code, Some(0), "{}", skip.stderr);
}

#[test]
fn short_names_are_aliases_or_searched_for() {
    let (first, second) = (Registry::start(&Setup::Plain), Registry::start(&Setup::Plain));
    push_base(&format!("{}/team/base:1", second.host), &[]);
    push_base(&format!("{}/found:1", second.host), &[]);
    let text = format!(
        "unqualified-search-registries = [\"{}\", \"{}\"]\nshort-name-mode = \"enforcing\"\n\
         [aliases]\nbase = \"{1}/team/base\"\n",
        first.host, second.host
    );
    let kiln = Kiln::new();
    for name in ["base:1", "found:1"] {
        let ended = build(&kiln, name, &text);
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    }
    let images = kiln.run(&["images"]).stdout;
    let (alias, found) = (format!("{}/team/base", second.host), format!("{}/found", second.host));
    assert!(images.contains(&alias) && images.contains(&found), "{images}");
    let ended = build(&kiln, "missing:1", &text);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for registry in [&first, &second] {
        let part = format!("    `{0}/missing`: `{0}/missing:1` not found\n", registry.host);
        assert!(ended.error().contains(&part), "{}", ended.stderr);
    }
    // Every command understands them alike.
    let path = configuration(&kiln, &text);
    let asked = [
        (&["pull", "--all-platforms", "base:1"][..], "sha256:"),
        (&["pull", "-q", "-a", "found"][..], "sha256:"),
        (&["search-tags", "base"][..], "1\n"),
        (&["referrers", "found:1"][..], "DIGEST"),
    ];
    for (words, said) in asked {
        // Who wants all platforms does not want the usual one; and an empty word names none.
        let platform = if words.contains(&"-a") { "" } else { "linux/arm64" };
        let variables = [(VARIABLE, &*path), ("DOCKER_DEFAULT_PLATFORM", Path::new(platform))];
        let ended = crate::with(&kiln, words, &variables);
        assert_eq!(ended.code, Some(0), "{words:?}: {}", ended.stderr);
        assert!(ended.stdout.starts_with(said), "{words:?}: {}", ended.stdout);
    }
    // What the local store has under docker's name comes first, and what it has under the others next.
    drop((first, second));
    assert_eq!(build(&kiln, "base:1", &text).code, Some(0));
    let own = kiln.build("FROM scratch\nCOPY busybox /bin/echo\nENV A=own\n", &["-t", "found:1"]);
    assert_eq!(own.code, Some(0), "{}", own.stderr);
    kiln.file("Dockerfile", "FROM found:1\nRUN [\"/bin/echo\", \"hello\"]\n");
    let path = configuration(&kiln, &text);
    let words = ["build", "--progress", "plain", "-t", "built", "."];
    let ended = crate::with(&kiln, &words, &[(VARIABLE, &path)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(kiln.run(&["inspect", "built"]).stdout.contains("A=own"));
}

#[test]
fn a_configuration_that_cannot_be_used_is_an_error() {
    let kiln = Kiln::new();
    let ended = build(&kiln, "scratch", "[registries.search]\nregistries = [\"docker.io\"]\n");
    let expected = format!(
        "error: `{}` has version 1 of the format, which is not supported any more\n",
        kiln.path("registries.conf").display()
    );
    assert!(ended.code == Some(2) && ended.error().starts_with(&expected), "{}", ended.stderr);
}

#[test]
fn a_mirror_may_serve_tags_or_digests_alone() {
    let (mirror, origin) = (Registry::start(&Setup::Plain), Registry::start(&Setup::Plain));
    push_base(&format!("{}/only/here:1", mirror.host), &[]);
    push_base(&format!("{}/both:1", origin.host), &[]);
    let text = |only: &str| {
        let further = format!(
            "[[registry.mirror]]\nlocation = \"{}\"\npull-from-mirror = \"{only}\"\n",
            mirror.host
        );
        table("example.test", &origin.host, &further)
    };
    // What its tag means has digests, and they are nowhere else.
    let tags = build(&Kiln::new(), "example.test/only/here:1", &text("tag-only"));
    assert_eq!(tags.code, Some(0), "{}", tags.stderr);
    let digests = build(&Kiln::new(), "example.test/only/here:1", &text("digest-only"));
    assert_eq!(digests.code, Some(2), "{}", digests.stderr);
    let raw = [
        "inspect",
        "--raw",
        "--tls-verify=false",
        &format!("docker://{}/only/here:1", mirror.host),
    ];
    let digest = kiln::digest::Digest::of(tool("skopeo", "skopeo", &raw).as_bytes());
    let name = format!("example.test/only/here@{digest}");
    assert_eq!(build(&Kiln::new(), &name, &text("digest-only")).code, Some(0));
    assert_eq!(build(&Kiln::new(), &name, &text("tag-only")).code, Some(2));
    for only in ["tag-only", "digest-only"] {
        let both = build(&Kiln::new(), "example.test/both:1", &text(only));
        assert_eq!(both.code, Some(0), "{only}: {}", both.stderr);
    }
}

#[test]
fn a_mirror_with_wrong_bytes_is_passed_over() {
    let registry = Registry::start(&Setup::Plain);
    push_base(&format!("{}/base:1", registry.host), &[]);
    let digest = kiln::digest::Digest::of(b"other");
    let wrong = Fake::start(move |_| {
        Reply::new(200, "{\"schemaVersion\":2}").header("docker-content-digest", digest)
    });
    let text = table("example.test", &registry.host, &mirror(&wrong.host()));
    let ended = build(&Kiln::new(), "example.test/base:1", &text);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!wrong.seen().is_empty());
}

/// A client that the configuration sends elsewhere.
fn client(text: &str) -> Client {
    let registries = Registries::parse(Path::new("/r.conf"), text).unwrap();
    let settings = Settings { registries, ..Settings::default() };
    Web::new(&settings, &Cancel::new()).unwrap().client
}

#[test]
fn what_is_written_goes_to_the_location_alone() {
    let (registry, other) = (Registry::start(&Setup::Plain), Registry::start(&Setup::Plain));
    let text = table("example.test", &format!("{}/y", registry.host), &mirror(&other.host))
        + &table("other.test", &format!("{}/z", registry.host), "");
    let client = client(&text);
    let name = |text: &str| kiln::oci::Reference::parse(text).unwrap();
    let target = name("example.test/x:1");
    let config = Descriptor::of(media_type(Content::Config, Family::Oci).unwrap(), b"{}");
    let content = b"{}".to_vec();
    let push = |to: &_, from| {
        let source = BlobSource { descriptor: &config, content: &content, from, progress: &|_| () };
        client.push_blob(to, &source).unwrap()
    };
    assert_eq!(push(&target, None), Placed::Uploaded);
    assert!(client.has_blob(&target, config.digest).unwrap());
    let elsewhere = name("other.test/w:1");
    assert_eq!(push(&elsewhere, Some(&target)), Placed::Mounted);
    let manifest = Manifest::new(Family::Oci, config.clone(), Vec::new());
    let media_type = media_type(Content::Manifest, Family::Oci).unwrap();
    for (to, place) in [(target, "y/x"), (elsewhere, "z/w")] {
        client.put_manifest(&to, &media_type, &manifest.to_bytes()).unwrap();
        let there = format!("docker://{}/{place}:1", registry.host);
        let raw = tool("skopeo", "skopeo", &["inspect", "--raw", "--tls-verify=false", &there]);
        assert_eq!(raw.as_bytes(), manifest.to_bytes());
    }
    let blocked = self::client(&table("example.test", "b.test", "blocked = true"));
    let error = blocked.has_blob(&name("example.test/x"), manifest.config.digest).unwrap_err();
    assert_eq!(error.to_string(), "`b.test/x` is blocked by `/r.conf`");
}

#[test]
fn what_the_registry_says_counts_however_its_mirrors_fail() {
    let registry = Registry::start(&Setup::Plain);
    let down = Fake::start(|_| Reply::new(503, ""));
    let mirrors = [mirror(&dead()), mirror(&down.host())].concat();
    let client = client(&table("example.test", &registry.host, &mirrors));
    let name = kiln::oci::Reference::parse("example.test/base:1").unwrap();
    for asked in 1..=2 {
        // The dead mirror is asked last the second time.
        let error = client.resolve(&name).unwrap_err();
        assert!(error.is_refusal(), "{error}");
        let last = error.to_string().lines().last().unwrap().to_owned();
        assert_eq!(last, format!("`{0}/base`: `{0}/base:1` not found", registry.host));
        // Nothing is waited for and asked again.
        assert_eq!(down.seen().len(), asked);
    }
}
