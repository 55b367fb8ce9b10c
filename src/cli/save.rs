//! `kiln save`: images of the local store into an archive.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::export::Dest;
use kiln::export::archive::Format;
use kiln::images::{Library, Save};

use super::progress;
use super::watch::{Watch, step};
use super::{Done, Session, enter_sandbox};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The images: names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Where to [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// What is written
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    format: Kind,
    /// Of several images under one name the one for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    progress: progress::Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// An archive that `docker load` and `podman load` read; an OCI layout as well
    DockerArchive,
    /// An OCI layout as one tar
    OciArchive,
    /// An OCI layout as a directory
    OciDir,
}

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let mode = flags.progress.mode(&session.environment)?;
    let platform = flags.platform.as_deref().map(super::platform).transpose()?;
    let dest = dest(flags)?;
    let root = session.state_root()?;
    enter_sandbox()?;
    let save = Save {
        format: if flags.format == Kind::DockerArchive { Format::Docker } else { Format::Oci },
        dest: &dest,
        tar: flags.format != Kind::OciDir,
        platform,
    };
    let images = &flags.images;
    Watch::new(mode, session).follow(|reporter, cancel| {
        let library = Library::open(&root, &Default::default(), cancel)?;
        let name = format!("saving {}", images.join(" "));
        Ok(step((reporter, cancel), (0, name), |progress| library.save(images, &save, progress))?)
    })
}

fn dest(flags: &Flags) -> Result<Dest, Diagnostic> {
    match (archive_dest(flags.output.as_deref()), flags.format) {
        (Ok(Dest::Path(path)), _) => Ok(Dest::Path(path)),
        (_, Kind::OciDir) => {
            let message = "a directory cannot be written to standard output";
            let hint = "name it with `-o DIR`".to_owned();
            Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)))
        }
        (dest, Kind::DockerArchive | Kind::OciArchive) => dest,
    }
}

/// Where an archive goes: to a path, else to standard output if that is no terminal.
pub(super) fn archive_dest(path: Option<&Path>) -> Result<Dest, Diagnostic> {
    match path {
        Some(path) if path.as_os_str() != "-" => Ok(Dest::Path(path.to_owned())),
        _ if std::io::stdout().is_terminal() => {
            let message = "an archive is nothing for a terminal";
            let hint = "write it to a file with `-o FILE`".to_owned();
            Err(Diagnostic::new(Blame::Input, message).hint(Some(hint)))
        }
        _ => Ok(Dest::Stdout),
    }
}
