//! The token flow against a registry and a token server in one.

use kiln::oci::{Content, Descriptor, Family, Manifest, media_type};
use kiln::registry::{Credential, RegistryError};

use crate::fake::{Fake, Reply, Seen};
use crate::{client, password, reference};

fn manifest() -> Vec<u8> {
    let config = Descriptor::of(media_type(Content::Config, Family::Oci).unwrap(), b"{}");
    Manifest::new(Family::Oci, config, Vec::new()).to_bytes()
}

/// A registry that wants the token `good`; `token` answers for its token server.
fn registry(token: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Fake {
    Fake::start(move |seen| {
        if seen.path.starts_with("/token") {
            return token(seen);
        }
        let host = seen.header("host").unwrap();
        let challenge = format!(
            "Bearer realm=\"http://{host}/token\",service=\"reg\",scope=\"repository:a/x:pull\""
        );
        match seen.header("authorization") {
            Some("Bearer good") => Reply::new(200, manifest()),
            _ => Reply::new(401, "").header("www-authenticate", challenge),
        }
    })
}

fn resolve(fake: &Fake, credential: Option<Credential>) -> Result<(), RegistryError> {
    client(credential).resolve(&reference(&format!("{}/a/x", fake.host()))).map(drop)
}

#[test]
fn a_token_is_fetched_once() {
    let fake = registry(|_| Reply::new(200, r#"{"token":"good","expires_in":300}"#));
    let client = client(None);
    let name = reference(&format!("{}/a/x", fake.host()));
    for _ in 0..3 {
        client.resolve(&name).unwrap();
    }
    let paths: Vec<_> = fake.seen().into_iter().map(|seen| seen.path).collect();
    let (manifest, token) =
        ("/v2/a/x/manifests/latest", "/token?service=reg&scope=repository%3Aa%2Fx%3Apull");
    assert_eq!(paths, [manifest, token, manifest, manifest, manifest]);
}

#[test]
fn a_password_is_posted() {
    let fake = registry(|seen| match seen.method.as_str() {
        "POST" => Reply::new(200, r#"{"access_token":"good"}"#),
        _ => Reply::new(500, ""),
    });
    resolve(&fake, password("u&", "p=")).unwrap();
    assert_eq!(
        fake.seen()[1].body,
        "client_id=kiln&scope=repository%3Aa%2Fx%3Apull&service=reg&grant_type=password&username=u%26&password=p%3D"
    );
    resolve(&fake, Some(Credential::IdentityToken("id".into()))).unwrap();
    assert!(fake.seen()[4].body.ends_with("grant_type=refresh_token&refresh_token=id"));
}

#[test]
fn a_server_without_post_is_asked_by_get() {
    let fake = registry(|seen| match (seen.method.as_str(), seen.header("authorization")) {
        ("GET", Some("Basic dTpw")) => Reply::new(200, r#"{"token":"good"}"#),
        ("POST", _) => Reply::new(405, ""),
        _ => Reply::new(401, ""),
    });
    resolve(&fake, password("u", "p")).unwrap();
    let error = resolve(&fake, password("u", "wrong")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("access to `{}/a/x` denied: the token server refuses the credentials", fake.host())
    );
}

#[test]
fn a_token_that_does_not_do_is_not_sent_for_ever() {
    let fake = registry(|_| Reply::new(200, r#"{"token":"bad"}"#));
    let error = resolve(&fake, None).unwrap_err();
    assert_eq!(error.to_string(), format!("access to `{}/a/x` denied", fake.host()));
    assert_eq!(fake.seen().len(), 3);
    let direct = Some(Credential::RegistryToken("good".into()));
    resolve(&fake, direct).unwrap();
}

#[test]
fn a_token_that_expired_is_fetched_again() {
    let fake = registry(|_| Reply::new(200, r#"{"token":"good","expires_in":0}"#));
    let client = client(None);
    let name = reference(&format!("{}/a/x", fake.host()));
    client.resolve(&name).unwrap();
    client.resolve(&name).unwrap();
    let tokens = fake.seen().into_iter().filter(|seen| seen.path.starts_with("/token"));
    assert_eq!(tokens.count(), 2);
}

#[test]
fn an_answer_without_token_is_an_error() {
    for body in ["", "{}", r#"{"token":""}"#, "\"good\"", r#"{"token":"a\nb"}"#] {
        let fake = registry(move |_| Reply::new(200, body));
        let error = resolve(&fake, None).unwrap_err();
        assert!(
            matches!(error, RegistryError::Token { .. } | RegistryError::Agent(_)),
            "{body}: {error}"
        );
    }
}

#[test]
fn a_password_is_not_sent_in_clear() {
    let fake = Fake::start(|_| {
        Reply::new(401, "")
            .header("www-authenticate", "Bearer realm=\"http://tokens.example.com/t\"")
    });
    let error = resolve(&fake, password("u", "p")).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot log in to `{}`: its token server would read the password over plain HTTP",
            fake.host()
        )
    );
}
