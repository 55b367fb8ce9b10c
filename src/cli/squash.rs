//! `kiln squash`: an image with fewer layers and the same files.

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::{Squash, Squashed, new_name};
use kiln::oci::Reference;

use super::environment::{EPOCH, epoch};
use super::{Done, Session, answer, enter_sandbox, say, settle, text};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// Name the result
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// Keep the layers up to this one, and merge those above it: a number of `kiln layers`, the beginning of a diff id
    /// (`sha256:` or at least 12 digits), or an image that this one is built on [default: no layer is kept]
    #[arg(long, value_name = "LAYER|BASE")]
    from: Option<String>,
    /// The time of the merged layer and of the image [default: $SOURCE_DATE_EPOCH, or the image's own time]
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<String>,
    /// Give files of the merged layer that are younger than SOURCE_DATE_EPOCH that time
    #[arg(long)]
    rewrite_timestamp: bool,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let names: Vec<Reference> =
        flags.tag.iter().map(|tag| new_name(tag)).collect::<Result<_, _>>()?;
    let epoch = epoch(flags.source_date_epoch.as_deref(), &session.environment)?;
    if flags.rewrite_timestamp && epoch.is_none() {
        let hint = format!("give `--source-date-epoch SECONDS` or set {EPOCH}");
        let message = "`--rewrite-timestamp` needs a time";
        return Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)).into());
    }
    let (state, cap) = (session.state_root()?, session.config()?.keep_storage);
    enter_sandbox()?;
    let squashed = super::library_at(&state)?.capped(cap).squash(&Squash {
        image: &flags.image,
        from: flags.from.as_deref(),
        names: &names,
        epoch,
        rewrite_timestamp: flags.rewrite_timestamp,
    })?;
    settle::in_background(&state);
    say(&summary(&squashed, &names));
    Ok(answer(&format!("{}\n", squashed.id))?)
}

fn summary(squashed: &Squashed, names: &[Reference]) -> String {
    let Squashed { before, after, kept, .. } = squashed;
    let layers = |count: usize| match count {
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    let [old, new] = [before.bytes, after.bytes].map(text::bytes);
    let saved = match before.bytes.checked_sub(after.bytes) {
        Some(0) => "nothing to save".to_owned(),
        Some(saved) => format!("{} saved", text::bytes(saved)),
        None => format!("{} more", text::bytes(after.bytes - before.bytes)),
    };
    let mut said = format!(
        "{} of {old} -> {} of {new} uncompressed, {saved}\n",
        layers(before.count),
        layers(after.count)
    );
    if *kept > 0 {
        said += &format!("  kept      {}\n", layers(*kept));
    }
    said += &format!("  manifest  {}\n", squashed.manifest);
    for name in names {
        said += &format!("  name      {name}\n");
    }
    said
}
