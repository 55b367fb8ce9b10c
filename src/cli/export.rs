//! `kiln export`: an image's root file system as a tar.

use std::path::PathBuf;

use clap::Args;
use kiln::export::Dest;
use kiln::images::Library;

use super::progress;
use super::save::archive_dest;
use super::watch::{Watch, step};
use super::{Done, Session, enter_sandbox};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// Where to [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    progress: progress::Flags,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let dest: Dest = archive_dest(flags.output.as_deref())?;
    let root = session.state_root()?;
    enter_sandbox()?;
    Watch::new(mode, session).follow(|reporter, cancel| {
        let library = Library::open(&root, &Default::default(), cancel)?;
        let name = format!("exporting {}", flags.image);
        Ok(step((reporter, cancel), (0, name), |progress| {
            library.export(&flags.image, &dest, progress)
        })?)
    })
}
