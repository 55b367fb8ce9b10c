//! Rules about what instructions come to once their words are expanded, made from the facts of lowering.

use super::{Report, Rule};
use crate::dockerfile::port;
use crate::dockerignore::Matcher;
use crate::graph::{Fact, Seen, quote};
use crate::wildcard;

pub(super) fn check(facts: &[Fact], ignore: Option<&Matcher>, report: &mut Report<'_>) {
    for fact in facts {
        for (rule, message) in found(&fact.seen, ignore) {
            report.add(rule, fact.span, &fact.comments, message);
        }
    }
}

/// Returns what a fact amounts to.
#[rustfmt::skip]
fn found(seen: &Seen, ignore: Option<&Matcher>) -> Vec<(Rule, String)> {
    let (rule, message) = match seen {
        Seen::UndefinedVariable { name, near } => {
            let near = near.as_ref().map_or(String::new(), |near| format!(" (did you mean ${near}?)"));
            (Rule::UndefinedVar, format!("Usage of undefined variable '${name}'{near}"))
        }
        Seen::UndeclaredArgument { name, near } => {
            let near = near.as_ref().map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            (Rule::UndefinedArgInFrom, format!("FROM argument '{name}' is not declared{near}"))
        }
        Seen::InvalidDefaultBase { written } => {
            (Rule::InvalidDefaultArgInFrom, format!("Default value for ARG {written} results in empty or invalid base image name"))
        }
        Seen::ConstantPlatform { value, platform, stage } => {
            // Who names the stage after the platform means it.
            if stage.contains(&platform.os) || stage.contains(&platform.architecture) {
                return Vec::new();
            }
            (Rule::FromPlatformFlagConstDisallowed, format!("FROM --platform flag should not use constant value {}", quote(value)))
        }
        Seen::TargetPlatform { written } => {
            (Rule::RedundantTargetPlatform, format!("Setting platform to predefined {written} in FROM is redundant as this is the default behavior"))
        }
        Seen::BasePlatform { image, expected, actual } => {
            let (expected, actual) = (quote(&expected.format_all()), quote(&actual.format_all()));
            (Rule::InvalidBaseImagePlatform, format!("Base image {image} was pulled with platform {actual}, expected {expected} for current build"))
        }
        Seen::LegacyPair { keyword } => {
            (Rule::LegacyKeyValueFormat, format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format"))
        }
        Seen::Variable { name, .. } if !is_secret(name) => return Vec::new(),
        Seen::Variable { keyword, name } => {
            (Rule::SecretsUsedInArgOrEnv, format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {})", quote(name)))
        }
        Seen::RelativeWorkdir { path } => {
            (Rule::WorkdirRelativePath, format!("Relative workdir {} can have unexpected results if the base image changes", quote(path)))
        }
        Seen::ShellForm { keyword } => {
            (Rule::JSONArgsRecommended, format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals"))
        }
        Seen::Replaced { keyword } => {
            (Rule::MultipleInstructionsDisallowed, format!("Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"))
        }
        Seen::Port { word } => return exposed(word),
        Seen::ContextPath { keyword, path } => return ignored(keyword, path, ignore).into_iter().collect(),
    };
    vec![(rule, message)]
}

fn exposed(word: &str) -> Vec<(Rule, String)> {
    let Some(notation) = port::notation(word) else { return Vec::new() };
    let casing = notation.upper_case.then(|| {
        let message =
            format!("Defined protocol '{word}' in EXPOSE instruction should be lowercase");
        (Rule::ExposeProtoCasing, message)
    });
    let format = notation.published.then(|| {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
        );
        (Rule::ExposeInvalidFormat, message)
    });
    casing.into_iter().chain(format).collect()
}

/// A path that the ignore file leaves out. Where something is taken back in, nothing can be said without the files.
fn ignored(keyword: &str, path: &str, ignore: Option<&Matcher>) -> Option<(Rule, String)> {
    let matcher = ignore.filter(|matcher| !matcher.is_empty() && !matcher.has_exceptions())?;
    let path = wildcard::clean(path);
    let is_root = matches!(path.as_str(), "." | "/");
    if is_root && !matcher.has_pattern(|text| matches!(text, "*" | "**" | "**/*")) {
        return None;
    }
    if !matcher.matches(&path).unwrap_or_default() {
        return None;
    }
    let what = if keyword == "ADD" { "Add" } else { "Copy" };
    let path = quote(&path);
    let message = format!("Attempting to {what} file {path} that is excluded by .dockerignore");
    Some((Rule::CopyIgnoredFile, message))
}

/// Whether one of the words of a variable's name speaks of secrets, and none says that it is not one itself.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "passwd",
        "password",
        "pword",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["file", "public", "version"];
    let name = name.to_lowercase();
    let has = |words: &[&str]| name.split('_').any(|word| words.contains(&word));
    has(&SECRET) && !has(&HARMLESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_the_words_of_their_names() {
        for name in ["API_KEY", "password", "git_Token_2", "AUTH", "my__secret"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["APIKEYS", "PUBLIC_KEY", "secret_file", "AUTH_VERSION", "monkey", ""] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn ignored_paths() {
        let found = |patterns: &[&str], keyword, path| {
            let matcher = Matcher::new(patterns).unwrap();
            ignored(keyword, path, Some(&matcher)).map(|(_, message)| message)
        };
        let message = "Attempting to Add file \"a/b\" that is excluded by .dockerignore".to_owned();
        assert_eq!(found(&["a"], "ADD", "./a//b/"), Some(message));
        assert_eq!(found(&["a", "!a/c"], "ADD", "a/b"), None, "something is taken back in");
        assert_eq!(found(&["a"], "COPY", "/a"), None, "patterns have no leading slash");
        assert_eq!(found(&[".*"], "COPY", "."), None, "the root is no file");
        assert!(found(&["*"], "COPY", ".").is_some());
        assert!(found(&["**"], "COPY", "./").is_some());
        assert_eq!(found(&[], "COPY", "a"), None);
    }
}
