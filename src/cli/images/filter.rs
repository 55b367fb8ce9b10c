//! `--filter` of `kiln images`, with docker's keys.
//!
//! Of several references one must match, of everything else all.

use kiln::diagnostic::{Blame, Diagnostic};
use kiln::dockerfile;
use kiln::images::{Library, Listed};
use kiln::oci::Reference;
use kiln::wildcard;

use crate::cli::filter::until;

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct Filters {
    dangling: Option<bool>,
    /// With the value, if it counts.
    labels: Vec<(String, Option<String>)>,
    before: Vec<jiff::Timestamp>,
    since: Vec<jiff::Timestamp>,
    references: Vec<String>,
}

impl Filters {
    /// Reads filters, and the name that stands for one of references.
    pub(super) fn read(
        texts: &[String],
        name: Option<&str>,
        library: &Library,
    ) -> Result<Self, Diagnostic> {
        let mut filters = Self::default();
        for text in texts {
            let (key, value) = text.split_once('=').ok_or_else(|| {
                wrong(format!("invalid filter `{text}`"), "write it as `KEY=VALUE`")
            })?;
            filters.add(key.trim(), value.trim(), library)?;
        }
        name.map_or(Ok(()), |name| filters.add("reference", name, library))?;
        Ok(filters)
    }

    fn add(&mut self, key: &str, value: &str, library: &Library) -> Result<(), Diagnostic> {
        match key {
            "dangling" => {
                let wanted = dockerfile::boolean(value);
                let hint = "it is `true` or `false`";
                let message = || format!("invalid value `{value}` for the filter `dangling`");
                self.dangling = Some(wanted.ok_or_else(|| wrong(message(), hint))?);
            }
            "label" => self.labels.push(match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            }),
            "before" => self.before.push(created(value, library)?),
            "since" => self.since.push(created(value, library)?),
            "until" => self.before.push(until(value, jiff::Timestamp::now())?),
            "reference" => {
                let message = || format!("invalid pattern `{value}` for the filter `reference`");
                let hint = "a bracket is not closed, or a backslash stands at the end";
                wildcard::matches(value, "").map_err(|_| wrong(message(), hint))?;
                self.references.push(value.to_owned());
            }
            other => {
                let hint = "the filters are dangling, label, before, since, until and reference";
                return Err(wrong(format!("there is no filter `{other}`"), hint));
            }
        }
        Ok(())
    }

    /// Returns whether an image may be shown, whichever name it is shown by.
    pub(super) fn suit(&self, listed: &Listed) -> bool {
        let config = &listed.image.config;
        let label = |(name, wanted): &(String, Option<String>)| {
            let found = config.config.labels.get(name);
            found.is_some_and(|value| wanted.as_ref().is_none_or(|wanted| wanted == value))
        };
        let before = |time: &jiff::Timestamp| config.created.is_some_and(|it| it < *time);
        let since = |time: &jiff::Timestamp| config.created.is_some_and(|it| it > *time);
        self.dangling.is_none_or(|wanted| wanted == listed.names.is_empty())
            && self.labels.iter().all(label)
            && self.before.iter().all(before)
            && self.since.iter().all(since)
    }

    /// Returns whether a name may be shown.
    pub(super) fn suit_name(&self, name: &Reference) -> bool {
        let fits = |pattern: &String, text: &str| wildcard::matches(pattern, text) == Ok(true);
        let (whole, repository) = (name.familiar(), name.familiar_name());
        let suits = |pattern| fits(pattern, &whole) || fits(pattern, &repository);
        self.references.is_empty() || self.references.iter().any(suits)
    }

    /// Returns whether images without a name may be shown.
    pub(super) fn suit_nameless(&self) -> bool {
        self.references.is_empty()
    }
}

fn wrong(message: String, hint: &str) -> Diagnostic {
    Diagnostic::new(Blame::Input, message).hint(Some(hint.to_owned()))
}

/// Returns when an image was made; one that does not say counts as made at the beginning of time.
fn created(name: &str, library: &Library) -> Result<jiff::Timestamp, Diagnostic> {
    Ok(library.image(name)?.config.created.unwrap_or(jiff::Timestamp::MIN))
}
