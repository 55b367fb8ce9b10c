//! The command line: one variant and one arm for each command. Only this folder prints.

mod build;
mod explain;
mod flags;
mod history;
mod images;
mod inspect;
mod plain;
mod progress;
mod rawjson;
mod report;
mod run;
mod signals;
mod sizes;
mod tty;

use std::io::Write;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use kiln::diagnostic::{Blame, Diagnostic};

/// Why a command ends without having done what it should.
pub(crate) enum Failure {
    /// Something to report.
    Diagnostics(Vec<Diagnostic>),
    /// The user stopped it.
    Canceled,
    /// It ends with a code of its own, and all is said.
    Code(u8),
}

impl Failure {
    /// A mistake in what the user gave.
    pub(crate) fn input(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        Self::Diagnostics(vec![Diagnostic::new(Blame::Input, message).hint(hint)])
    }
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

/// The result of a command.
pub(crate) type Done = Result<(), Failure>;

/// Builds OCI images from Dockerfiles: no daemon, no root.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    /// Where images, layers and the cache are kept [env: KILN_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a Dockerfile
    Build(Box<flags::BuildFlags>),
    /// List the images of the local store
    Images(images::ImagesFlags),
    /// Show an image as JSON
    Inspect(inspect::InspectFlags),
    /// Show how an image was made
    History(history::HistoryFlags),
    /// Run an image's process, or a command in its place
    Run(run::RunFlags),
    /// Make what builds wrote survive a crash of the machine; started by builds
    #[command(hide = true)]
    Settle,
    /// Show how kiln reads a Dockerfile: its syntax tree or its build plan
    #[command(subcommand)]
    Explain(explain::ExplainCommand),
}

/// Runs the program; returns its exit code.
pub(crate) fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap prints either where it belongs.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    // The default root is that of the user who called, whoever that is inside the namespace.
    let root = cli.root.unwrap_or_else(default_root);
    if let Err(diagnostic) = enter(&cli.command) {
        return report::print(&[*diagnostic]);
    }
    let caught = std::panic::catch_unwind(|| match cli.command {
        Command::Build(flags) => build::run(root, *flags),
        Command::Images(flags) => images::run(&root, &flags),
        Command::Inspect(flags) => inspect::run(&root, &flags),
        Command::History(flags) => history::run(&root, &flags),
        Command::Run(flags) => run::run(&root, flags),
        Command::Explain(command) => explain::run(root, command),
        Command::Settle => build::settle(&root),
    });
    match caught {
        Ok(Ok(())) => 0,
        Ok(Err(Failure::Diagnostics(diagnostics))) => report::print(&diagnostics),
        Ok(Err(Failure::Canceled)) => {
            warn("canceled");
            130
        }
        Ok(Err(Failure::Code(code))) => code,
        Err(_) => {
            warn("this is a bug in kiln; please report it with the message above");
            70
        }
    }
}

/// Enters a user namespace, if need be, for the commands that run processes. There is no thread yet.
fn enter(command: &Command) -> Result<(), Box<Diagnostic>> {
    match command {
        Command::Build(_) | Command::Run(_) => {}
        Command::Images(_)
        | Command::Inspect(_)
        | Command::History(_)
        | Command::Explain(_)
        | Command::Settle => {
            return Ok(());
        }
    }
    kiln::sandbox::enter().map(drop).map_err(|error| {
        let diagnostic = Diagnostic::new(Blame::Machine, error.to_string());
        Box::new(diagnostic.hint(error.hint()).causes_of(&error))
    })
}

/// The state root if none is named.
fn default_root() -> PathBuf {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(root) = variable("KILN_ROOT") {
        return root;
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/kiln");
    }
    let data = variable("XDG_DATA_HOME");
    let data = data.or_else(|| variable("HOME").map(|home| home.join(".local/share")));
    data.unwrap_or_else(std::env::temp_dir).join("kiln")
}

/// Writes data to standard output; a reader that went away is no error.
pub(crate) fn print(text: &str) -> Done {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let message = "cannot write to standard output";
            Err(Failure::from(vec![Diagnostic::new(Blame::Machine, message).causes_of(&error)]))
        }
        _ => Ok(()),
    }
}

/// Writes a line for people.
pub(crate) fn warn(line: &str) {
    // There is nowhere to say that standard error cannot be written to.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
