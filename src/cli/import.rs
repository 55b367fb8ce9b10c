//! `kiln import`: a root file system as an image of one layer.

use std::io::IsTerminal;
use std::path::Path;

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::{Import, Library, new_name};
use kiln::oci::Platform;

use super::environment::epoch;
use super::progress;
use super::watch::{Watch, step};
use super::{Done, Session, answer, enter_sandbox, settle};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// A tar of a root file system, compressed or not; `-` is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// The image's name
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// An instruction of a Dockerfile that changes the config, such as `CMD ["sh"]`
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// The comment in its history [default: Imported from FILE]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the image is for [default: this machine's platform]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// The time that the image gets, in seconds since 1970 [default: $SOURCE_DATE_EPOCH, or now]
    #[arg(long, value_name = "SECONDS")]
    source_date_epoch: Option<String>,
    #[command(flatten)]
    progress: progress::Flags,
}

/// Runs the command. Standard output gets the image id.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    if flags.file == "-" && std::io::stdin().is_terminal() {
        let message = "there is no archive on standard input";
        return Err(Diagnostic::new(Blame::Input, message).into());
    }
    let import = import(flags, session)?;
    let root = session.state_root()?;
    let cap = session.config()?.keep_storage;
    enter_sandbox()?;
    let imported = Watch::new(mode, session).follow(|reporter, cancel| {
        let library = Library::open(&root, &Default::default(), cancel)?.capped(cap);
        let name = format!("importing {}", flags.file);
        Ok(step((reporter, cancel), (0, name), |progress| match flags.file.as_str() {
            "-" => library.import(std::io::stdin(), &import, progress),
            path => library.import(kiln::fs::open(Path::new(path))?, &import, progress),
        })?)
    })?;
    settle::in_background(&root);
    Ok(answer(&format!("{}\n", imported.id))?)
}

fn import(flags: &Flags, session: &Session) -> Result<Import, Diagnostic> {
    let now = || jiff::Timestamp::now().as_second();
    let seconds = epoch(flags.source_date_epoch.as_deref(), &session.environment)?;
    let seconds = seconds.unwrap_or_else(now);
    Ok(Import {
        file: match flags.file.as_str() {
            "-" => "standard input".to_owned(),
            path => path.to_owned(),
        },
        name: flags.name.as_deref().map(new_name).transpose()?,
        changes: flags.change.clone(),
        message: flags.message.clone().unwrap_or_else(|| format!("Imported from {}", flags.file)),
        platform: match &flags.platform {
            Some(text) => super::platform(text)?,
            None => Platform::host(),
        },
        created: seconds.saturating_mul(1_000_000_000),
    })
}
