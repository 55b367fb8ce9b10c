//! The reference implementation's own tables, and kiln's differences.

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn names_are_completed() {
    let digested = format!("xyz@sha256:{HEX}");
    let complete = format!("docker.io/library/xyz@sha256:{HEX}");
    let both = format!("127.0.0.1:5000/a/b:1@sha256:{HEX}");
    #[rustfmt::skip]
    let cases = [
        ("alpine", "docker.io/library/alpine", "alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("library/alpine", "docker.io/library/alpine", "alpine"),
        ("user/repo:tag", "docker.io/user/repo:tag", "user/repo:tag"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/user/x", "docker.io/user/x", "user/x"),
        ("registry-1.docker.io/x", "registry-1.docker.io/x", "registry-1.docker.io/x"),
        ("quay.io/x", "quay.io/x", "quay.io/x"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("host:5000", "docker.io/library/host:5000", "host:5000"),
        ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
        ("[2001:db8::1]/x", "[2001:db8::1]/x", "[2001:db8::1]/x"),
        ("HOST/x", "HOST/x", "HOST/x"),
        ("Foo.com/a__b/c---d.e_f", "Foo.com/a__b/c---d.e_f", "Foo.com/a__b/c---d.e_f"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080", "foo/foo_bar.com:8080"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        ("a:_T-1.x", "docker.io/library/a:_T-1.x", "a:_T-1.x"),
        (digested.as_str(), complete.as_str(), digested.as_str()),
        (both.as_str(), both.as_str(), both.as_str()),
    ];
    for (text, full, familiar) in cases {
        let parsed = Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((parsed.to_string().as_str(), parsed.familiar().as_str()), (full, familiar));
        assert_eq!(Reference::parse(full).as_ref(), Ok(&parsed));
        assert_eq!(Reference::parse(familiar).as_ref(), Ok(&parsed));
    }
}

#[test]
fn short_names_have_no_registry() {
    for (text, short) in [
        ("alpine", true),
        ("user/x:1", true),
        ("host:5000", true),
        ("docker.io/alpine", false),
        ("localhost/x", false),
        ("host:5000/x", false),
    ] {
        assert_eq!(Reference::is_short(text), short, "{text}");
        assert_eq!(Reference::parse_full(text).is_err(), short, "{text}");
    }
    let moved = Reference::parse("alpine:3").unwrap().moved_to("quay.io/a/b").unwrap();
    assert_eq!(moved.to_string(), "quay.io/a/b:3");
}

#[test]
fn what_is_no_reference_says_why() {
    let long = "a".repeat(256);
    let long_tag = format!("a:{}", "t".repeat(129));
    let sha512 = format!("a@sha512:{HEX}{HEX}");
    let short = format!("a@sha256:{}", &HEX[1..]);
    #[rustfmt::skip]
    let cases = [
        ("", "invalid image reference ``"),
        (":tag", "invalid image reference `:tag`"),
        ("/x", "invalid image reference `/x`"),
        ("x/", "invalid image reference `x/`"),
        ("a//b", "invalid image reference `a//b`"),
        ("docker.io/", "invalid image reference `docker.io/`"),
        ("-foo/x", "invalid image reference `-foo/x`"),
        ("-foo.com/x", "invalid image reference `-foo.com/x`"),
        ("foo-.com/x", "invalid image reference `foo-.com/x`"),
        ("a_b.com/x", "invalid image reference `a_b.com/x`"),
        ("a.com:/x", "invalid image reference `a.com:/x`"),
        ("a.com:80a/x", "invalid image reference `a.com:80a/x`"),
        ("fe80::1/x", "invalid image reference `fe80::1/x`"),
        ("[fe80::1%eth0]/x", "invalid image reference `[fe80::1%eth0]/x`"),
        ("a___b", "invalid image reference `a___b`"),
        ("a..b", "invalid image reference `a..b`"),
        ("a-", "invalid image reference `a-`"),
        ("a:", "invalid image reference `a:`"),
        ("a:-1", "invalid image reference `a:-1`"),
        ("a b", "invalid image reference `a b`"),
        ("a:b:c", "invalid image reference `a:b:c`"),
        ("a@", "invalid image reference `a@`"),
        ("a@sha256", "invalid image reference `a@sha256`"),
        ("https://a.com/x", "invalid image reference `https://a.com/x`"),
        ("ä/x", "invalid image reference `ä/x`"),
        (long_tag.as_str(), &format!("invalid image reference `{long_tag}`")),
        (long.as_str(), "invalid image reference: repository name must not be more than 255 characters"),
        (HEX, &format!("invalid image reference `{HEX}`: a repository cannot be named by 64 hexadecimal digits")),
        ("Foo", "invalid image reference `Foo`: repository name `library/Foo` must be lowercase"),
        ("a/Foo:x", "invalid image reference `a/Foo:x`: repository name `a/Foo` must be lowercase"),
        ("localhost/Uppercase:tag", "invalid image reference `localhost/Uppercase:tag`: repository name `Uppercase` must be lowercase"),
        (sha512.as_str(), &format!("invalid image reference `{sha512}`")),
        (short.as_str(), &format!("invalid image reference `{short}`")),
    ];
    for (text, message) in cases {
        assert_eq!(Reference::parse(text).unwrap_err().to_string(), message);
    }
}

#[test]
fn tag_and_digest_can_be_changed() {
    let x = Reference::parse("x").unwrap();
    let digest = Digest::of(b"");
    assert_eq!(x.target(), "latest");
    assert_eq!(x.clone().or_latest().familiar(), "x:latest");
    assert_eq!(x.with_digest(digest).or_latest().tag(), None);
    let tagged = x.with_tag("v1").unwrap();
    assert_eq!(tagged.with_digest(digest).target(), digest.to_string());
    assert_eq!(tagged.with_digest(digest).repository(), x);
    assert_eq!(x.with_tag("a/b"), Err(ReferenceError::Tag("a/b".into())));
}
