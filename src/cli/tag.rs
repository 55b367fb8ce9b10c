//! `kiln tag`: another name for an image.

use clap::Args;

use super::{Done, Session};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// Its further names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = session.library()?;
    for name in &flags.names {
        library.tag(&flags.image, name)?;
    }
    Ok(())
}
