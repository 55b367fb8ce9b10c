//! Names: what was read as a reference, a platform or a digest is written as something that reads the same.

use kiln::digest::Digest;
use kiln::oci::{Platform, Reference};

/// Checks a text as each of them.
pub(crate) fn check(data: &[u8]) {
    check_text(&String::from_utf8_lossy(data));
}

/// Checks a text as each of them.
fn check_text(text: &str) {
    match Reference::parse(text) {
        Ok(reference) => check_reference(&reference),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_ne!(error.hint().as_deref(), Some(""));
        }
    }
    if let Ok(platform) = Platform::parse(text) {
        // What may not stand there as it is cannot be written, which is the reference's rule too.
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.%+()/".contains(c);
        let options = platform.os_features.iter().chain([&platform.os_version]);
        if options.flat_map(|option| option.chars()).all(plain) {
            assert_eq!(Platform::parse(&platform.format_all()).as_ref(), Ok(&platform));
        }
        assert_eq!(platform.clone().normalized(), platform);
        // Windows suits by its version, and of an unknown arm64 nothing is known.
        let known = platform.os != "windows" && platform.architecture != "arm64";
        assert!(!known || platform.rank(&platform).is_some(), "{platform:?}");
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(digest.hex().len(), 64);
    }
}

fn check_reference(reference: &Reference) {
    for written in [reference.to_string(), reference.familiar()] {
        assert_eq!(Reference::parse(&written).as_ref(), Ok(reference), "{written}");
    }
    // Whoever makes a path or a URL of a name relies on these.
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
    assert!(reference.path().chars().all(plain), "{reference}");
    let parts = || reference.path().split('/');
    assert!(parts().all(|part| !part.is_empty() && part != "." && part != ".."), "{reference}");
    assert!(!reference.domain().contains(['/', '@', '?', '#', '%', ' ']), "{reference}");
    assert!(reference.tag().is_none_or(|tag| !tag.contains(['/', '@', ':'])), "{reference}");
    let complete = reference.clone().or_latest();
    assert!(complete.tag().is_some() || complete.digest().is_some());
    assert_eq!(complete.clone().or_latest(), complete);
    assert_eq!(complete.target(), reference.target());
    let bare = reference.repository();
    assert_eq!(bare.name(), reference.name());
    assert_eq!(Reference::parse(&bare.name()), Ok(bare));
}
