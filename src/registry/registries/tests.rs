//! Files of containers/image's own documentation, and what it refuses.

use std::path::Path;

use super::*;

fn parsed(text: &str) -> Registries {
    Registries::parse(Path::new("/r.conf"), text).unwrap_or_else(|error| panic!("{error:?}"))
}

fn refused(text: &str) -> String {
    Registries::parse(Path::new("/r.conf"), text).unwrap_err().to_string()
}

fn named(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

/// `name`, `name!` where it is insecure, `name#` where it is blocked.
fn places(registries: &Registries, name: &str, purpose: Purpose) -> Vec<String> {
    let places = registries.places(&named(name), purpose).unwrap();
    let shown = |place: &Place| {
        let marks = [(place.insecure, "!"), (place.blocked.is_some(), "#")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        format!("{}{marks}", place.reference)
    };
    places.iter().map(shown).collect()
}

const TABLES: &str = r#"
unqualified-search-registries = ["example.com", "quay.io/"]
short-name-mode = "enforcing"

[[registry]]
prefix = "example.com/foo"
location = "internal:5000/bar/"
insecure = true

[[registry]]
location = "example.com"

[[registry.mirror]]
location = "m1.io/cache"
insecure = true
[[registry.mirror]]
location = "m2.io"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "m3.io"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "*.corp.net"
blocked = true

[[registry]]
prefix = "app.corp.net"
location = "app.corp.net"
mirror-by-digest-only = true
mirror = [{ location = "m1.io" }]

[aliases]
"me/tool" = "quay.io/me/tool"
alpine = "docker.io/library/alpine"
"#;

#[test]
fn the_longest_prefix_counts() {
    use Purpose::{PullDigest, PullTag, Push};
    let registries = parsed(TABLES);
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let digest = format!("@sha256:{hex}");
    let cases: [(&str, Purpose, &[&str]); 9] = [
        ("example.com/foo/x:1", PullTag, &["internal:5000/bar/x:1!"]),
        ("example.com/foo/x:1", Push, &["internal:5000/bar/x:1!"]),
        ("example.com/fool", PullTag, &["m1.io/cache/fool!", "m3.io/fool", "example.com/fool"]),
        ("example.com/y", PullDigest, &["m1.io/cache/y!", "m2.io/y", "example.com/y"]),
        ("example.com/y", Push, &["example.com/y"]),
        ("x.y.corp.net:5000/z", PullTag, &["x.y.corp.net:5000/z#"]),
        ("corp.net/z", PullTag, &["corp.net/z"]),
        ("app.corp.net/z", PullTag, &["app.corp.net/z"]),
        ("other.io/z", PullTag, &["other.io/z"]),
    ];
    for (name, purpose, expected) in cases {
        assert_eq!(places(&registries, name, purpose), expected, "{name} {purpose:?}");
    }
    let found = places(&registries, &format!("app.corp.net/z{digest}"), PullDigest);
    assert_eq!(found, [format!("m1.io/z{digest}"), format!("app.corp.net/z{digest}")]);
    assert!(!registries.is_insecure("example.com"));
}

#[test]
fn a_location_has_the_settings_of_its_own_table() {
    let registries = parsed(
        "[[registry]]\nprefix = 'docker.io'\nlocation = 'hub.corp:5000'\n\
         [[registry]]\nlocation = 'hub.corp:5000'\n[[registry]]\nlocation = 'm.io'\ninsecure = true\nblocked = true\n\
         [[registry]]\nlocation = 'q.io'\nmirror = [{ location = 'm.io/q' }]\n",
    );
    let found = places(&registries, "alpine:3", Purpose::PullTag);
    assert_eq!(found, ["hub.corp:5000/library/alpine:3"]);
    assert_eq!(places(&registries, "q.io/x", Purpose::PullTag), ["m.io/q/x!#", "q.io/x"]);
    assert!(registries.is_insecure("m.io"));
    // A name is forbidden wherever it leads.
    let blocked = parsed("[[registry]]\nprefix = 'b.io'\nlocation = 'q.io'\nblocked = true\n");
    assert_eq!(places(&blocked, "b.io/x", Purpose::Push), ["q.io/x#"]);
    assert_eq!(places(&blocked, "q.io/x", Purpose::Push), ["q.io/x"]);
}

#[test]
fn short_names_have_candidates() {
    let registries = parsed(TABLES);
    let names = |registries: &Registries, text: &str| -> Vec<String> {
        let found = registries.candidates(&named(text)).unwrap();
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&registries, "me/tool:2"), ["quay.io/me/tool:2"]);
    assert_eq!(names(&registries, "alpine"), ["docker.io/library/alpine"]);
    assert_eq!(names(&registries, "busybox:1"), ["example.com/busybox:1", "quay.io/busybox:1"]);
    assert_eq!(names(&Registries::default(), "busybox"), ["docker.io/library/busybox"]);
    let docker = parsed("unqualified-search-registries = ['docker.io']");
    assert_eq!(names(&docker, "busybox"), ["docker.io/library/busybox"]);
}

#[test]
fn later_files_override_earlier_ones() {
    let later = "unqualified-search-registries = []\n[aliases]\nalpine = ''\ntool = 'a.io/tool'\n\
                 [[registry]]\nlocation = 'example.com'\nblocked = true\n";
    let registries = parsed(TABLES).overridden_by(parsed(later));
    assert_eq!(places(&registries, "example.com/x", Purpose::PullTag), ["example.com/x#"]);
    let found = places(&registries, "example.com/foo/x", Purpose::PullTag);
    assert_eq!(found, ["internal:5000/bar/x!"]);
    let one = |text: &str| registries.candidates(&named(text)).unwrap()[0].to_string();
    assert_eq!(one("alpine"), "docker.io/library/alpine");
    assert_eq!(one("tool"), "a.io/tool");
    assert_eq!(one("busybox"), "docker.io/library/busybox");
    let untouched = parsed(TABLES).overridden_by(parsed("credential-helpers = ['pass']"));
    assert_eq!(untouched.candidates(&named("busybox")).unwrap().len(), 2);
    assert_eq!(untouched.credential_helpers(), ["pass"]);
}

#[test]
fn what_is_refused() {
    let invalid = "cannot use the registries of `/r.conf`: ";
    let cases = [
        ("[[registry]]\ninsecure = true", "a `[[registry]]` has neither `prefix` nor `location`"),
        ("[[registry]]\nprefix = 'a.io'", "the registry `a.io` has no `location`"),
        (
            "[[registry]]\nlocation = 'https://a.io'",
            "the location `https://a.io` has a scheme; write `a.io` instead",
        ),
        (
            "[[registry]]\nprefix = '*.a.io/x'",
            "the prefix `*.a.io/x` must have the form `*.example.com`",
        ),
        (
            "[[registry]]\nlocation = 'a.io'\npull-from-mirror = 'all'",
            "`pull-from-mirror` of `a.io` belongs to one of its mirrors",
        ),
        ("[[registry]]\nlocation = 'a.io'\nmirror = [{}]", "a mirror of `a.io` has no `location`"),
        (
            "[[registry]]\nlocation = 'a.io'\nmirror = [{location = 'b.io', pull-from-mirror = 'x'}]",
            "the mirror `b.io` has `pull-from-mirror = \"x\"`",
        ),
        (
            "[[registry]]\nlocation = 'a.io'\n[[registry]]\nprefix = 'b.io'\nlocation = 'a.io'\ninsecure = true",
            "`a.io` is there several times, with different `insecure` or `blocked`",
        ),
        ("short-name-mode = 'x'", "the `short-name-mode` `x` does not exist"),
        (
            "unqualified-search-registries = ['a.io/b']",
            "`a.io/b` in `unqualified-search-registries` is no registry",
        ),
        ("[aliases]\n'a.io/x' = 'b.io/x'", "the alias `a.io/x` is no short name"),
        (
            "[aliases]\nx = 'b.io/x:1'",
            "the alias `x` must mean a name with a registry and without a tag, not `b.io/x:1`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), format!("{invalid}{expected}"), "{text}");
    }
    let old = "[registries.search]\nregistries = ['docker.io']";
    let expected = "`/r.conf` has version 1 of the format, which is not supported any more";
    assert_eq!(refused(old), expected);
    assert_eq!(refused("[[registry"), "cannot read the registries of `/r.conf`");
    assert_eq!(refused("registry = 1"), "cannot read the registries of `/r.conf`");
}
