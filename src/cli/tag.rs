//! `kiln tag`: another name for an image.

use clap::Args;
use kiln::images::new_name;

use super::{Done, Session, settle};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The image: a name or an id
    image: String,
    /// Its further names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs the command. Wrong names are found before any is given.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let names = flags.names.iter().map(|name| new_name(name)).collect::<Result<Vec<_>, _>>()?;
    let state = session.state_root()?;
    let library = super::library_at(&state)?;
    for name in &names {
        library.tag(&flags.image, name)?;
    }
    settle::in_background(&state);
    Ok(())
}
