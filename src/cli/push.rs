//! `kiln push`: images of the local store into registries.

use std::path::PathBuf;

use clap::Args;
use kiln::images::{Library, Pushed};

use super::compression;
use super::network::RegistryFlags;
use super::progress;
use super::watch::{Watch, step};
use super::{Done, Session, answer, build, enter_sandbox, say, settle};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// The name to push to [default: the image's own]
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
    /// Push only the image for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    compression: compression::Flags,
    /// Write the digest of what was pushed to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    progress: progress::Flags,
}

/// Runs the command. Standard output gets the name with the digest that it means now.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let platform = flags.platform.as_deref().map(super::platform).transpose()?;
    let wanted = flags.compression.wanted()?;
    let (root, settings) = (session.state_root()?, session.registry(&flags.registry)?);
    let cap = session.config()?.keep_storage;
    enter_sandbox()?;
    let mut watch = Watch::new(mode, session);
    let (image, target) = (&flags.image, flags.destination.as_deref());
    let pushed = watch.follow(|reporter, cancel| {
        let library = Library::open(&root, &settings, cancel)?.capped(cap);
        let name = format!("pushing {}", target.unwrap_or(image));
        let pushed = step((reporter, cancel), (0, name), |progress| {
            library.push(image, target, (platform.as_ref(), wanted), progress)
        });
        Ok(pushed?)
    })?;
    settle::in_background(&root);
    if let Some(file) = &flags.digestfile {
        build::write_file(file, &pushed.digest.to_string())?;
    }
    if mode.sums_up() {
        say(&summary(&pushed));
    }
    Ok(answer(&format!("{}@{}\n", pushed.name.name(), pushed.digest))?)
}

/// Says what a push did.
pub(super) fn summary(pushed: &Pushed) -> String {
    let sent = &pushed.sent;
    let name = pushed.name.familiar();
    let counts = [(sent.uploaded, "uploaded"), (sent.mounted, "mounted")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counted = |(count, how): &(usize, &str)| match count {
        1 => format!("1 blob {how}"),
        count => format!("{count} blobs {how}"),
    };
    let counts: Vec<_> = counts.map(counted).collect();
    match (sent.was_there, counts.as_slice()) {
        (true, _) => format!("up to date: {name}\n"),
        (false, []) => format!("pushed: {name}, no blob had to be sent\n"),
        (false, counts) => format!("pushed: {name}, {}\n", counts.join(", ")),
    }
}
