//! `kiln explain`: what kiln makes of a Dockerfile, without building it.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kiln::builder;
use kiln::diagnostic::{Blame, Diagnostic, Place};
use kiln::dockerfile::Dockerfile;
use kiln::event::{Cancel, Event};
use kiln::graph::{plan_dot, plan_text};

use super::flags::BuildFlags;
use super::{Done, Failure, build, print};

#[derive(Debug, Subcommand)]
pub(super) enum ExplainCommand {
    /// The syntax tree of a Dockerfile
    Ast(AstFlags),
    /// What a build would do, and in which order
    Plan(Box<PlanFlags>),
}

#[derive(Debug, Args)]
pub(super) struct AstFlags {
    /// The Dockerfile
    #[arg(default_value = "Dockerfile")]
    file: PathBuf,
    /// json
    #[arg(long, default_value = "json", value_parser = ["json"])]
    format: String,
}

#[derive(Debug, Args)]
pub(super) struct PlanFlags {
    #[command(flatten)]
    build: BuildFlags,
    /// text, or dot for Graphviz
    #[arg(long, default_value = "text", value_parser = ["text", "dot"])]
    format: String,
}

pub(super) fn run(root: PathBuf, command: ExplainCommand) -> Done {
    match command {
        ExplainCommand::Ast(flags) => ast(&flags),
        ExplainCommand::Plan(flags) => plan(root, *flags),
    }
}

fn ast(flags: &AstFlags) -> Done {
    let bytes = kiln::fs::read(&flags.file).map_err(|error| {
        Failure::from(vec![Diagnostic::new(Blame::Input, error.to_string()).causes_of(&error)])
    })?;
    let file = Dockerfile::parse(&bytes).map_err(|errors| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let diagnostic = |error: &kiln::dockerfile::ParseError| {
            let mut diagnostic =
                Diagnostic::new(Blame::Input, error.to_string()).hint(error.hint());
            let (start, end) = (error.span.start, error.span.end);
            let name = flags.file.display().to_string();
            diagnostic.place = Some(Place { file: name, text: text.clone(), start, end });
            diagnostic
        };
        Failure::from(errors.iter().map(diagnostic).collect::<Vec<_>>())
    })?;
    let text = serde_json::to_string_pretty(&file).unwrap_or_default();
    print(&format!("{text}\n"))
}

fn plan(root: PathBuf, flags: PlanFlags) -> Done {
    let (request, _spool) = build::request(root, flags.build)?;
    let silent = |_: Event| {};
    let plan = builder::plan(&request, &silent, &Cancel::new())?;
    match flags.format.as_str() {
        "dot" => print(&plan_dot(&plan)),
        _ => print(&plan_text(&plan)),
    }
}
