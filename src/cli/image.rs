//! `kiln image …`: docker's other spelling of the commands about images.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser};

use super::{Cli, Done, Failure, Session};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Words {
    /// One of docker's words, and what the command of its kind takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Docker's words, and what kiln calls them.
const WORDS: [(&str, &str); 14] = [
    ("build", "build"),
    ("history", "history"),
    ("import", "import"),
    ("inspect", "inspect"),
    ("list", "images"),
    ("load", "load"),
    ("ls", "images"),
    ("prune", "prune"),
    ("pull", "pull"),
    ("push", "push"),
    ("remove", "rmi"),
    ("rm", "rmi"),
    ("save", "save"),
    ("tag", "tag"),
];

/// Runs the command that is meant.
pub(super) fn run(words: &Words, session: &Session) -> Done {
    let cli = meant(words, session).map_err(|error| {
        // Help goes to standard output, an error to standard error.
        let _ = error.print();
        Failure::Code(u8::try_from(error.exit_code()).unwrap_or(2))
    })?;
    let session = Session { root: cli.root, ..session.clone() };
    super::command(&cli.command, &session)
}

fn meant(words: &Words, session: &Session) -> Result<Cli, clap::Error> {
    let [word, rest @ ..] = words.words.as_slice() else {
        return Err(unknown(""));
    };
    let known = WORDS.iter().find(|(theirs, _)| word == theirs);
    let (_, ours) = known.ok_or_else(|| unknown(&word.to_string_lossy()))?;
    let root = session.root.iter().flat_map(|root| ["--root".into(), root.clone().into()]);
    let line = std::iter::once("kiln".into()).chain(root).chain([OsString::from(ours)]);
    Cli::try_parse_from(line.chain(rest.iter().cloned()))
}

fn unknown(word: &str) -> clap::Error {
    let words: Vec<_> = WORDS.iter().map(|(theirs, _)| *theirs).collect();
    let what = format!("image {word}");
    let message = format!("there is no `kiln {}`; there are {}\n", what.trim(), words.join(", "));
    Cli::command().error(ErrorKind::InvalidSubcommand, message)
}
