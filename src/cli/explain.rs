//! `kiln explain`: what kiln makes of a Dockerfile, without building it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kiln::builder;
use kiln::diagnostic::{Blame, Diagnostic};
use kiln::event::{Cancel, Event};
use kiln::graph::{plan_dot, plan_text};

use super::{Done, Failure, Session, answer, build};

#[derive(Debug, Subcommand)]
pub(super) enum Explain {
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PlanFormat {
    /// For people.
    Text,
    /// For Graphviz.
    Dot,
}

#[derive(Debug, Args)]
pub(super) struct PlanFlags {
    #[command(flatten)]
    build: build::Flags,
    /// How it is shown
    #[arg(long, default_value = "text")]
    format: PlanFormat,
}

/// Runs the command.
pub(super) fn run(explain: &Explain, session: &Session) -> Done {
    match explain {
        Explain::Ast(flags) => ast(flags),
        Explain::Plan(flags) => plan(flags, session),
    }
}

fn ast(flags: &AstFlags) -> Done {
    let bytes = kiln::fs::read(&flags.file).map_err(|error| {
        Failure::from(Diagnostic::new(Blame::Input, error.to_string()).causes_of(&error))
    })?;
    let file = builder::parse(&flags.file.display().to_string(), &bytes)?;
    let text = serde_json::to_string_pretty(&file).unwrap_or_default();
    Ok(answer(&format!("{text}\n"))?)
}

fn plan(flags: &PlanFlags, session: &Session) -> Done {
    let request = build::request(&flags.build, session)?;
    let silent = |_: Event| {};
    let plan = builder::plan(&request.build, &silent, &Cancel::new())?;
    let shown = match flags.format {
        PlanFormat::Text => plan_text(&plan),
        PlanFormat::Dot => plan_dot(&plan),
    };
    Ok(answer(&shown)?)
}
