//! `kiln copy`: an image from one place to another.

use std::path::PathBuf;

use clap::Args;
use kiln::images::{Copy, Library, Place};
use kiln::oci::Platform;
use kiln::source::closure::Selection;

use super::compression;
use super::network::RegistryFlags;
use super::progress;
use super::watch::{Watch, step};
use super::{Done, Session, answer, build, enter_sandbox, settle};

const PLACES: &str = "\
Places:
  NAME                        The local store
  docker://NAME               A registry
  oci:DIRECTORY[:NAME]        An OCI layout
  oci-archive:FILE[:NAME]     An OCI layout as one tar
  docker-archive:FILE[:NAME]  An archive of `docker save`";

#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub(super) struct Flags {
    /// From where
    #[arg(value_name = "FROM")]
    from: String,
    /// To where
    #[arg(value_name = "TO")]
    to: String,
    /// Copy the images of all platforms, with their index
    #[arg(short, long)]
    all: bool,
    /// The platform whose image is copied [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all")]
    platform: Option<String>,
    #[command(flatten)]
    compression: compression::Flags,
    /// Write the digest of what was copied to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    progress: progress::Flags,
}

/// Runs the command. Standard output gets the digest of what was copied.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let platform = match &flags.platform {
        Some(text) => super::platform(text)?,
        None => Platform::host(),
    };
    let copy = Copy {
        from: Place::parse(&flags.from)?,
        to: Place::parse(&flags.to)?,
        selection: match flags.all {
            true => Selection::All,
            false => Selection::Platform(Box::new(platform)),
        },
        wanted: flags.compression.wanted()?,
    };
    let (root, settings) = (session.state_root()?, session.registry(&flags.registry)?);
    let cap = session.config()?.keep_storage;
    enter_sandbox()?;
    let copied = Watch::new(mode, session).follow(|reporter, cancel| {
        let library = Library::open(&root, &settings, cancel)?.capped(cap);
        let name = format!("copying {} to {}", flags.from, flags.to);
        Ok(step((reporter, cancel), (0, name), |progress| library.copy(&copy, progress))?)
    })?;
    settle::in_background(&root);
    if let Some(file) = &flags.digestfile {
        build::write_file(file, &copied.digest.to_string())?;
    }
    Ok(answer(&format!("{}\n", copied.digest))?)
}
