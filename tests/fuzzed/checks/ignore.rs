//! An ignore file, a zero byte, a path: a walk that goes down to the path agrees with matching it at once, and prunes
//! nothing that would be taken back in.

use kiln::dockerignore::{Matcher, Parents};
use kiln::wildcard;

/// Checks `patterns [0x00 path]`.
pub(crate) fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let patterns = parts.next().unwrap_or_default();
    check_patterns(patterns, &String::from_utf8_lossy(parts.next().unwrap_or(b"a/b/c")));
}

/// Checks a file's patterns against a path.
fn check_patterns(text: &[u8], path: &str) {
    for pattern in String::from_utf8_lossy(text).lines() {
        check_wildcard(pattern, path);
    }
    let Ok(matcher) = Matcher::parse(text) else { return };
    let path = wildcard::clean(path);
    let path = path.trim_start_matches('/');
    if path.is_empty() || path.starts_with("..") {
        return;
    }
    let at_once = matcher.matches(path);
    let mut parents = Parents::default();
    let mut pruned = false;
    for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
        // A walk that asks parent by parent never fails where one that asks at once, for the path or for a directory
        // above it, does not.
        let Ok(verdict) = matcher.check(&path[..end], &parents) else {
            let fails = at_once.is_err() || matcher.matches(&path[..end]).is_err();
            assert!(fails, "only the walk failed on {path:?}");
            return;
        };
        let whole = end == path.len();
        if whole && !matcher.has_exceptions() {
            assert_eq!(at_once, Ok(verdict.matched), "{path:?}");
        }
        if whole && pruned {
            assert!(verdict.matched, "{path:?} lies below what was pruned and is not excluded");
        }
        pruned |= !whole && verdict.matched && matcher.can_prune(&path[..end]);
        parents = verdict.parents;
    }
}

/// Checks a wildcard, and both texts as paths to be cleaned.
fn check_wildcard(pattern: &str, name: &str) {
    let matched = wildcard::matches(pattern, name);
    if !pattern.contains(['*', '?', '[', '\\']) {
        assert_eq!(matched, Ok(pattern == name));
    }
    for text in [pattern, name] {
        let cleaned = wildcard::clean(text);
        assert_eq!(wildcard::clean(&cleaned), cleaned);
        assert_eq!(cleaned.starts_with('/'), text.starts_with('/'));
        assert!(!cleaned.contains("//"));
        let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
        assert_eq!(wildcard::matches(&escaped, text), Ok(true));
    }
}
