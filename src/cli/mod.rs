//! The command line: what can be asked, how it is shown, which exit code it gives.
//!
//! One file (or folder) per command; a new one is a variant and an arm here. Answers go to standard output, everything
//! else to standard error. Exit codes: 0 all is well, 1 a step failed, 2 the user's input, 3 this machine or the
//! network, 70 a bug in kiln, 130 interrupted; `kiln run` passes on that of the image's process.

mod build;
mod check_store;
mod compression;
mod config;
mod config_files;
mod copy;
mod diff;
mod docker;
mod doctor;
mod du;
mod environment;
mod excerpt;
mod explain;
mod export;
mod filter;
mod format;
mod gateway;
mod history;
mod image;
mod images;
mod import;
mod inspect;
mod interrupt;
mod layers;
mod limits;
mod load;
mod login;
mod logout;
mod manifest;
mod network;
mod paint;
mod panics;
mod progress;
mod prune;
mod pull;
mod push;
mod referrers;
mod report;
mod rmi;
mod run;
mod save;
mod search_tags;
mod secret;
mod settle;
mod snapshotter;
mod squash;
mod table;
mod tag;
mod text;
mod watch;

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kiln::builder::RegistrySettings;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::Cancel;
use kiln::images::{ImagesError, Library};
use kiln::oci::Platform;

use environment::{Environment, Terminal};
use network::RegistryFlags;
use report::CommandOutput;

const EVERYWHERE: &str = "What every command knows";

/// Builds OCI images from Dockerfiles: no daemon, no root.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, arg_required_else_help = true, args_override_self = true)]
#[command(disable_help_subcommand = true)]
struct Cli {
    /// Where images, cache and temporary files are kept
    /// [default: $XDG_DATA_HOME/kiln, as root /var/lib/kiln]
    #[arg(long, value_name = "DIR", env = "KILN_ROOT", global = true, hide_env_values = true,
          help_heading = EVERYWHERE)]
    root: Option<PathBuf>,
    /// The configuration file
    /// [default: kiln/config.toml in $XDG_CONFIG_HOME or ~/.config, else /etc/kiln/config.toml]
    #[arg(
        long = "config-file",
        value_name = "FILE",
        id = "config-file",
        env = "KILN_CONFIG",
        global = true,
        hide_env_values = true,
        help_heading = EVERYWHERE
    )]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a Dockerfile
    Build(Box<build::Flags>),
    /// Bring images from registries into the local store
    Pull(pull::Flags),
    /// Send an image to a registry
    Push(push::Flags),
    /// Copy an image between registries, archives, layouts and the local store
    Copy(copy::Flags),
    /// Write images into an archive
    Save(save::Flags),
    /// Take images from an archive into the local store
    Load(load::Flags),
    /// Write an image's root file system as a tar
    Export(export::Flags),
    /// Make an image of a tar of a root file system
    Import(import::Flags),
    /// Give an image another name
    Tag(tag::Flags),
    /// Take names of images away
    Rmi(rmi::Flags),
    /// List the images of the local store
    Images(images::Flags),
    /// Show images as JSON
    Inspect(inspect::Flags),
    /// Show how an image was made
    History(history::Flags),
    /// List the tags that a registry has of a repository
    SearchTags(search_tags::Flags),
    /// List what a registry has about an image: signatures, attestations, …
    Referrers(referrers::Flags),
    /// Show what each layer of an image adds, and what it wastes
    Layers(layers::Flags),
    /// List what another image changes
    Diff(diff::Flags),
    /// Make an image with fewer layers and the same files
    Squash(squash::Flags),
    /// Make lists of images for several platforms, and send them
    #[command(subcommand)]
    Manifest(manifest::Manifest),
    /// Check a name and a password with a registry, and keep them
    Login(login::Flags),
    /// Forget the credentials of a registry
    Logout(logout::Flags),
    /// Docker's other spelling of the commands about images
    #[command(hide = true)]
    Image(image::Words),
    /// Run an image's process, or a command in its place
    Run(Box<run::Flags>),
    /// Show how kiln reads a Dockerfile: its syntax tree or its build plan
    #[command(subcommand)]
    Explain(explain::Explain),
    /// Show what the local store takes on the disk
    Du(du::Flags),
    /// Remove what nobody needs from the local store
    Prune(prune::Flags),
    /// Verify everything in the local store, and repair or drop what is damaged
    CheckStore(check_store::Flags),
    /// Say what this machine lets kiln do, and how to be let do more
    Doctor(doctor::Flags),
    /// Make what builds wrote survive a crash of the machine; started by builds
    #[command(hide = true)]
    Settle,
}

/// What every command is given.
#[derive(Debug, Clone)]
struct Session {
    root: Option<PathBuf>,
    config: Option<PathBuf>,
    environment: Environment,
    terminal: Terminal,
}

impl Session {
    /// Opens the local store for commands that only look.
    fn library(&self) -> Result<Library, Diagnostic> {
        Ok(library_at(&self.state_root()?)?.unmarked())
    }

    /// Returns how registries are reached, and says what the user should be warned of.
    fn registry(&self, flags: &RegistryFlags) -> Result<RegistrySettings, Diagnostic> {
        let (settings, warnings) = flags.settings(self)?;
        for warning in &warnings {
            say(&report::warning(warning, &self.terminal));
        }
        Ok(settings)
    }

    /// Reads kiln's configuration.
    fn config(&self) -> Result<config::Config, Diagnostic> {
        config::read(self.config.as_deref(), &self.environment)
    }

    /// Returns the state root as an absolute path.
    fn state_root(&self) -> Result<PathBuf, Diagnostic> {
        let root = self.root.clone().filter(|root| !root.as_os_str().is_empty());
        let root = root.or_else(|| self.environment.state_root()).ok_or_else(|| {
            let hint = "give `--root DIR` or set KILN_ROOT or HOME".to_owned();
            Diagnostic::new(Blame::Input, "there is no home to keep kiln's state in")
                .hint(Some(hint))
        })?;
        std::path::absolute(&root).map_err(|error| {
            Diagnostic::new(Blame::Machine, format!("cannot use `{}`: {error}", root.display()))
        })
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
enum Failure {
    /// These problems, to be reported.
    Problems(Vec<Diagnostic>, CommandOutput),
    /// The user stopped it.
    Canceled,
    /// The image's process ended with this code; all is said.
    Code(u8),
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::from(vec![diagnostic])
    }
}

impl From<ImagesError> for Failure {
    fn from(error: ImagesError) -> Self {
        Diagnostic::from(error).into()
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Problems(diagnostics, CommandOutput::Show)
    }
}

/// The result of a command.
type Done = Result<(), Failure>;

/// Does what the command line asks.
pub(crate) fn main() -> ExitCode {
    let panics = panics::Panics::collect();
    interrupt::survive_large_files();
    let code = catch_unwind(AssertUnwindSafe(run)).unwrap_or(PANICKED);
    panics.report(code == PANICKED);
    ExitCode::from(code)
}

const PANICKED: u8 = 70;

/// This program, also when its file was replaced or removed since it was started.
const INIT: &str = "/proc/self/exe";

fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output, an error to standard error; a reader that has gone away is no error.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let environment = Environment::of_process();
    let terminal = Terminal::of_stderr(&environment);
    let session = Session { root: cli.root, config: cli.config, environment, terminal };
    match command(&cli.command, &session) {
        Ok(()) => 0,
        Err(Failure::Code(code)) => code,
        Err(Failure::Canceled) => {
            say("canceled\n");
            report::CANCELED
        }
        Err(Failure::Problems(problems, output)) => {
            say(&report::draw(&problems, &session.terminal, output));
            report::exit_code(&problems)
        }
    }
}

fn command(command: &Command, session: &Session) -> Done {
    match command {
        Command::Build(flags) => build::run(flags, session),
        Command::Pull(flags) => pull::run(flags, session),
        Command::Push(flags) => push::run(flags, session),
        Command::Copy(flags) => copy::run(flags, session),
        Command::Save(flags) => save::run(flags, session),
        Command::Load(flags) => load::run(flags, session),
        Command::Export(flags) => export::run(flags, session),
        Command::Import(flags) => import::run(flags, session),
        Command::Tag(flags) => tag::run(flags, session),
        Command::Rmi(flags) => rmi::run(flags, session),
        Command::Images(flags) => images::run(flags, session),
        Command::Inspect(flags) => inspect::run(flags, session),
        Command::History(flags) => history::run(flags, session),
        Command::SearchTags(flags) => search_tags::run(flags, session),
        Command::Referrers(flags) => referrers::run(flags, session),
        Command::Layers(flags) => layers::run(flags, session),
        Command::Diff(flags) => diff::run(flags, session),
        Command::Squash(flags) => squash::run(flags, session),
        Command::Manifest(manifest) => manifest::run(manifest, session),
        Command::Login(flags) => login::run(flags, session),
        Command::Logout(flags) => logout::run(flags, session),
        Command::Image(words) => image::run(words, session),
        Command::Run(flags) => run::run(flags, session),
        Command::Explain(explain) => explain::run(explain, session),
        Command::Du(flags) => du::run(flags, session),
        Command::Prune(flags) => prune::run(flags, session),
        Command::CheckStore(flags) => check_store::run(flags, session),
        Command::Doctor(flags) => doctor::run(flags, session),
        Command::Settle => settle::run(session),
    }
}

/// Opens a local store for commands that ask no registry.
fn library_at(state: &Path) -> Result<Library, Diagnostic> {
    Ok(Library::open(state, &RegistrySettings::default(), &Cancel::new())?)
}

/// Enters a user namespace, if need be, for commands that run processes. To be called before there is any thread, and
/// after everything that depends on who the user is: inside it everybody is root.
fn enter_sandbox() -> Result<(), Diagnostic> {
    kiln::sandbox::enter().map(drop).map_err(|error| {
        Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint()).causes_of(&error)
    })
}

/// Reads a platform.
fn platform(text: &str) -> Result<Platform, Diagnostic> {
    Platform::parse(text)
        .map_err(|error| Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint()))
}

/// Writes to standard error; nobody can be told that it failed.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Writes an answer to standard output; on a terminal without what could act on it, elsewhere as it is. A reader that
/// has heard enough is no error.
fn answer(shown: &str) -> Result<(), Diagnostic> {
    let mut stdout = std::io::stdout().lock();
    let safe = |c| if matches!(c, '\n' | '\t') { c } else { text::visible(c) };
    let shown: Cow<'_, str> = match stdout.is_terminal() {
        true => shown.chars().map(safe).collect::<String>().into(),
        false => shown.into(),
    };
    match stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = format!("cannot write to standard output: {error}");
            Err(Diagnostic::new(Blame::Machine, message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
