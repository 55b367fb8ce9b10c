//! The small languages: registries.conf, files of credentials, values of flags and options, users. The first byte says
//! which one the rest is read as.

use std::path::Path;

use kiln::dockerfile::csv_record;
use kiln::dockerfile::heredoc::is_single;
use kiln::dockerfile::{chmod, device, duration, mount, port, signal};
use kiln::oci::{Reference, owner, process_ids};
use kiln::registry::{AuthFile, AuthFileEdit, Purpose, Registries};

/// Checks `kind rest`.
pub(crate) fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind {
        b'r' => check_registries(&text),
        b'a' => check_credentials(rest),
        b'u' => check_users(&text),
        _ => check_values(&text),
    }
}

fn check_registries(text: &str) {
    let registries = match Registries::parse(Path::new("registries.conf"), text) {
        Ok(registries) => registries,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for name in ["alpine", "a.example/b/c:1", "localhost:5000/x"] {
        let reference = Reference::parse(name).expect("it is one");
        for purpose in [Purpose::PullTag, Purpose::PullDigest, Purpose::Push] {
            if let Ok(places) = registries.places(&reference, purpose) {
                assert!(places.last().is_some_and(|place| !place.is_mirror));
                let mirrors = places.iter().filter(|place| place.is_mirror).count();
                assert!(purpose != Purpose::Push || mirrors == 0);
                let same = |place: &kiln::registry::Place| place.reference.tag() == reference.tag();
                assert!(places.iter().all(same));
            }
        }
        if let Ok(candidates) = registries.candidates(&reference) {
            assert!(!candidates.is_empty());
        }
    }
    let twice = registries.clone().overridden_by(registries.clone());
    assert_eq!(twice, registries);
}

fn check_credentials(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        AuthFileEdit::read(&AuthFile { path: "config.json".into(), bytes: bytes.to_vec() })
    };
    let Ok(mut edit) = read(bytes) else { return };
    let before = edit.names();
    let again = read(&edit.to_bytes()).expect("what was written is read");
    assert_eq!(again.names(), before);
    edit.set("registry.example", "user", "secret");
    let mut again = read(&edit.to_bytes()).expect("what was written is read");
    assert!(again.has("registry.example"));
    assert!(before.iter().all(|name| again.has(name)), "a login lost another one");
    assert!(again.remove("registry.example"));
    assert!(!again.names().is_empty() || before.is_empty() || before == ["registry.example"]);
}

fn check_users(text: &str) {
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let (spec, passwd, group) = (part(), part().as_bytes(), part().as_bytes());
    for files in [(None, None), (Some(passwd), Some(group))] {
        if let Ok(ids) = process_ids(spec, files.0, files.1) {
            assert!(spec.is_empty() || ids.groups.contains(&ids.gid) || ids.groups.is_empty());
        }
        let _ = owner(spec, files.0, files.1);
    }
}

/// Checks a text as the value of every option that has a language of its own.
fn check_values(text: &str) {
    let _ = mount::parse(text, &mut |word| Ok(word.to_owned()));
    let _ = (mount::from(text), device::device(text), signal::signal(text), is_single(text));
    if let Ok(range) = port::port(text) {
        assert!(range.ports().count() <= 65536);
    }
    if let Ok(changed) = chmod::chmod(text) {
        let once = [0o644, 0o7777].map(|mode| changed.apply(mode, false));
        assert!(once.iter().all(|mode| mode & !0o7777 == 0), "{text:?}: {once:?}");
    }
    if let Ok(nanoseconds) = duration::duration(text) {
        assert_eq!(duration::duration(&format!("{nanoseconds}ns")), Ok(nanoseconds));
    }
    if let Some(fields) = csv_record(text) {
        let quote = |field: &String| format!("\"{}\"", field.replace('"', "\"\""));
        let written = fields.iter().map(quote).collect::<Vec<_>>().join(",");
        assert!(fields.is_empty() || csv_record(&written) == Some(fields), "{text:?}");
    }
}
