//! `kiln search-tags`: what a registry has of a repository.

use clap::{Args, ValueEnum};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::Library;
use kiln::oci::Reference;
use kiln::wildcard;

use super::network::RegistryFlags;
use super::progress::Mode;
use super::watch::Watch;
use super::{Done, Session, answer, text};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The repository, e.g. `debian` or `registry.example.com/team/app`
    repository: String,
    /// How they are shown
    #[arg(long, default_value = "text")]
    format: Format,
    /// Show only tags that match PATTERN, e.g. `v1.*`
    #[arg(long, value_name = "PATTERN")]
    filter: Option<String>,
    /// Show no more than N tags
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    #[command(flatten)]
    registry: RegistryFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One tag a line, in the registry's order.
    Text,
    /// One JSON object with `Repository` and `Tags`.
    Json,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let chosen = |tag: &str| match &flags.filter {
        Some(pattern) => wildcard::matches(pattern, tag),
        None => Ok(true),
    };
    chosen("").map_err(|error| Diagnostic::new(Blame::Input, format!("`--filter`: {error}")))?;
    let limit = flags.limit.unwrap_or(usize::MAX);
    // What is left out cannot be known before it was read.
    let wanted = if flags.filter.is_some() { usize::MAX } else { limit };
    let (root, settings) = (session.state_root()?, session.registry(&flags.registry)?);
    let names = Watch::new(Mode::Quiet, session).follow(|_, cancel| {
        let library = Library::open(&root, &settings, cancel)?;
        Ok(library.remote_tags(&flags.repository, wanted)?)
    })?;
    let tags = names.iter().filter_map(|name| name.tag().map(str::to_owned));
    let tags = tags.filter(|tag| chosen(tag).unwrap_or(false));
    let tags: Vec<_> = tags.take(limit).collect();
    let shown = match flags.format {
        Format::Text => tags.iter().map(|tag| text::single_line(tag) + "\n").collect(),
        Format::Json => {
            let repository = names.first().map(Reference::familiar_name);
            let repository = repository.unwrap_or_else(|| flags.repository.clone());
            let value = serde_json::json!({ "Repository": repository, "Tags": tags });
            format!("{value}\n")
        }
    };
    Ok(answer(&shown)?)
}
