//! `kiln rmi`: images out of the local store.

use clap::Args;
use kiln::images::{ImagesError, Removed};

use super::{Done, Failure, Session, answer};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The images: names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Remove an image by its id though it has several names; an image that is not there is no error
    #[arg(short, long)]
    force: bool,
    /// Untagged parents are never removed
    #[arg(long, hide = true)]
    no_prune: bool,
}

/// Runs the command. All are tried; the first problem decides the exit code.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let library = session.library()?;
    let mut problems = Vec::new();
    for image in &flags.images {
        match library.remove(image, flags.force) {
            Ok(removed) => {
                answer(&removed.iter().map(Removed::to_string).collect::<String>())?;
            }
            Err(ImagesError::NotHere(_)) if flags.force => {}
            Err(error) => problems.push(error.into()),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::from(problems)),
    }
}
