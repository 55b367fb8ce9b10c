//! kiln's configuration file: TOML, of which every key is known.
//!
//! ```toml
//! keep-storage = "20GB"
//! snapshotter = "copy"
//! ```
//!
//! `--config-file` or KILN_CONFIG name it; otherwise the first counts that is there of `kiln/config.toml` in the user's
//! configuration directory and `/etc/kiln/config.toml`. Files are not merged.

use std::ops::Range;
use std::path::{Path, PathBuf};

use kiln::diagnostic::{Blame, Diagnostic, Place};
use kiln::fs::PathError;
use serde::Deserialize;
use toml::Spanned;

use super::build::size;
use super::environment::Environment;
use super::snapshotter::Snapshotter;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// How many bytes the store may take after a build.
    pub(super) keep_storage: Option<u64>,
    /// How the file systems of commands are made.
    pub(super) snapshotter: Option<Snapshotter>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    keep_storage: Option<Spanned<String>>,
    snapshotter: Option<Snapshotter>,
}

/// Reads the file that `named` says, or that counts without it.
pub(super) fn read(named: Option<&Path>, environment: &Environment) -> Result<Config, Diagnostic> {
    let failed =
        |error: PathError| Diagnostic::new(Blame::Input, error.to_string()).causes_of(&error);
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        return parse(path, kiln::fs::read(path).map_err(failed)?);
    }
    for path in usual(environment) {
        if let Some(bytes) = kiln::fs::read_if_present(&path).map_err(failed)? {
            return parse(&path, bytes);
        }
    }
    Ok(Config::default())
}

fn usual(environment: &Environment) -> Vec<PathBuf> {
    let home = environment.path("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let home = home.or_else(|| Some(environment.path("HOME")?.join(".config")));
    let etc = PathBuf::from("/etc");
    home.into_iter().chain([etc]).map(|folder| folder.join("kiln/config.toml")).collect()
}

fn parse(path: &Path, bytes: Vec<u8>) -> Result<Config, Diagnostic> {
    let named = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|_| {
        Diagnostic::new(Blame::Input, format!("the configuration `{named}` is not UTF-8"))
    })?;
    let problem = |message: &str, hint: Option<String>, at: Option<Range<usize>>| {
        let message = format!("invalid configuration: {}", message.trim_end());
        let mut diagnostic = Diagnostic::new(Blame::Input, message).hint(hint);
        let at = at.unwrap_or(0..0);
        diagnostic.place =
            Some(Place { file: named.clone(), text: text.clone(), start: at.start, end: at.end });
        diagnostic
    };
    let file: File =
        toml::from_str(&text).map_err(|error| problem(error.message(), None, error.span()))?;
    let bytes = |value: Spanned<String>| {
        size("keep-storage", value.get_ref())
            .map_err(|error| problem(&error.message, error.hint, Some(value.span())))
    };
    let keep_storage = file.keep_storage.map(bytes).transpose()?;
    Ok(Config { keep_storage, snapshotter: file.snapshotter })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Config, String> {
        parse(Path::new("c.toml"), text.into()).map_err(|problem| {
            let place = problem.place.expect("it is in the file");
            format!("{} at {:?}", problem.message, &place.text[place.start..place.end])
        })
    }

    #[test]
    fn what_it_may_say() {
        assert_eq!(parsed("").unwrap(), Config::default());
        let twenty = Config { keep_storage: Some(20 << 30), snapshotter: None };
        assert_eq!(parsed("# disk\nkeep-storage = \"20GB\"\n").unwrap(), twenty);
        let copies = Config { keep_storage: None, snapshotter: Some(Snapshotter::Copy) };
        for name in ["copy", "native", "vfs"] {
            assert_eq!(parsed(&format!("snapshotter = \"{name}\"")).unwrap(), copies);
        }
        let cases = [
            (
                "snapshotter = \"zfs\"",
                "unknown variant `zfs`, expected one of `auto`, `overlay`, `copy`, `native`, `vfs` at \"\\\"zfs\\\"\"",
            ),
            (
                "keep-storage = \"much\"",
                "invalid size `much` for `keep-storage` at \"\\\"much\\\"\"",
            ),
            ("keep-storage = 5", "invalid type: integer `5`, expected a string at \"5\""),
            (
                "keep_storage = \"1\"",
                "unknown field `keep_storage`, expected `keep-storage` or `snapshotter` at \"keep_storage\"",
            ),
            ("keep-storage = ", "string values must be quoted, expected literal string at \"\""),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text).unwrap_err(), format!("invalid configuration: {expected}"));
        }
    }

    #[test]
    fn where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let environment = Environment::of(&[("XDG_CONFIG_HOME", home), ("HOME", "/nowhere")]);
        std::fs::create_dir(folder.path().join("kiln")).unwrap();
        std::fs::write(folder.path().join("kiln/config.toml"), "keep-storage = \"1k\"").unwrap();
        let found = Config { keep_storage: Some(1024), snapshotter: None };
        assert_eq!(read(None, &environment).unwrap(), found);
        assert_eq!(usual(&environment)[1], Path::new("/etc/kiln/config.toml"));
        let environment = Environment::of(&[("HOME", "/h")]);
        assert_eq!(usual(&environment)[0], Path::new("/h/.config/kiln/config.toml"));
        let missing = read(Some(&folder.path().join("absent")), &environment).unwrap_err();
        assert!(missing.message.contains("absent"), "{missing:?}");
    }
}
