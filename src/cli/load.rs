//! `kiln load`: images from an archive into the local store.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::images::{Input, Library};

use super::progress;
use super::watch::{Watch, step};
use super::{Done, Session, answer, enter_sandbox, report, say, settle};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// A docker or OCI archive, compressed or not, or an OCI layout directory [default: standard input]
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Of several images under one name only the one for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    progress: progress::Flags,
}

/// Runs the command. Standard output gets a line for each name, or the id of an image that has none.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let platform = flags.platform.as_deref().map(super::platform).transpose()?;
    let path = flags.input.as_deref().filter(|path| path.as_os_str() != "-");
    if path.is_none() && std::io::stdin().is_terminal() {
        let message = "there is no archive on standard input";
        let hint = "name it with `-i FILE`".to_owned();
        return Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)).into());
    }
    let root = session.state_root()?;
    let cap = session.config()?.keep_storage;
    enter_sandbox()?;
    let loaded = Watch::new(mode, session).follow(|reporter, cancel| {
        let library = Library::open(&root, &Default::default(), cancel)?.capped(cap);
        let (name, input) = match path {
            Some(path) => (format!("loading {}", path.display()), Input::Path(path)),
            None => ("loading".to_owned(), Input::Stream(Box::new(std::io::stdin()))),
        };
        Ok(step((reporter, cancel), (0, name), |progress| {
            library.load(input, platform.as_ref(), progress)
        })?)
    })?;
    settle::in_background(&root);
    for name in loaded.iter().flat_map(|image| &image.odd_names) {
        let message =
            format!("`{name}` is no name for an image, so the archive's image did not get it");
        say(&report::warning(&message, &session.terminal));
    }
    let mut lines = String::new();
    for image in &loaded {
        for name in &image.names {
            lines += &format!("Loaded image: {}\n", name.familiar());
        }
        if image.names.is_empty() {
            lines += &format!("Loaded image ID: {}\n", image.id);
        }
    }
    Ok(answer(&lines)?)
}
