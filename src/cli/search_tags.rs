//! `kiln search-tags`: what a registry has of a repository.

use clap::{Args, ValueEnum};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::Cancel;
use kiln::oci::Reference;
use kiln::registry::{RegistryError, Web};
use kiln::wildcard;

use super::network::RegistryFlags;
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
    let repository = repository(&flags.repository)?;
    let chosen = |tag: &str| match &flags.filter {
        Some(pattern) => wildcard::matches(pattern, tag),
        None => Ok(true),
    };
    chosen("").map_err(|error| Diagnostic::new(Blame::Input, format!("`--filter`: {error}")))?;
    let limit = flags.limit.unwrap_or(usize::MAX);
    // What is left out cannot be known before it was read.
    let wanted = if flags.filter.is_some() { usize::MAX } else { limit };
    let tags =
        web(flags, session)?.client.tags(&repository, wanted).map_err(|error| explain(&error))?;
    let tags = tags.into_iter().filter(|tag| chosen(tag).unwrap_or(false));
    let tags: Vec<_> = tags.take(limit).collect();
    let shown = match flags.format {
        Format::Text => tags.iter().map(|tag| text::single_line(tag) + "\n").collect(),
        Format::Json => {
            let value =
                serde_json::json!({ "Repository": repository.familiar_name(), "Tags": tags });
            format!("{value}\n")
        }
    };
    Ok(answer(&shown)?)
}

fn repository(name: &str) -> Result<Reference, Diagnostic> {
    let reference = Reference::parse(name)
        .map_err(|error| Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint()))?;
    match reference.tag().is_some() || reference.digest().is_some() {
        true => Err(Diagnostic::new(Blame::Input, format!("`{name}` is more than a repository"))
            .hint(Some(format!("give `{}`", reference.familiar_name())))),
        false => Ok(reference),
    }
}

fn web(flags: &Flags, session: &Session) -> Result<Web, Diagnostic> {
    let settings = session.registry(&flags.registry)?;
    // Nothing is to be put in order when a signal ends it.
    Web::new(&settings, &Cancel::new())
        .map_err(|error| Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint()))
}

fn explain(error: &RegistryError) -> Diagnostic {
    let blame = if error.is_refusal() { Blame::Input } else { Blame::Machine };
    Diagnostic::new(blame, error.to_string()).hint(error.hint()).causes_of(error)
}
