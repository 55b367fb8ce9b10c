//! `kiln doctor`: what this machine lets kiln do, and how to be let do more.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kiln::doctor::{Finding, Report, Request, Status, examine};

use super::config_files::auth_files;
use super::{Done, Failure, INIT, Session, answer, text};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// How it is shown
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// JSON.
    Json,
}

/// The exit code where RUN steps cannot work.
const CANNOT_RUN: u8 = 3;

/// Runs the command.
pub(super) fn run(flags: &Flags, session: &Session) -> Done {
    let environment = &session.environment;
    let path = environment.get("PATH").unwrap_or_default();
    let auth_files = match environment.path("REGISTRY_AUTH_FILE") {
        Some(file) => vec![file],
        None => auth_files(environment),
    };
    let request = Request {
        state: session.state_root()?,
        init: PathBuf::from(INIT),
        auth_files,
        path: std::env::split_paths(&path).collect(),
    };
    let report = Report::of(&examine(&request));
    answer(&match flags.format {
        Format::Table => table(&report),
        Format::Json => format!("{:#}\n", json(&report)),
    })?;
    if report.runs { Ok(()) } else { Err(Failure::Code(CANNOT_RUN)) }
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Limited => "limited",
        Status::Missing => "missing",
    }
}

fn table(report: &Report) -> String {
    let mut shown = String::new();
    for Finding { subject, status, found, fix } in &report.findings {
        let found = text::single_line(found);
        shown.push_str(&format!("{:9}{subject:13}{found}\n", word(*status)));
        if let Some(fix) = fix {
            shown.push_str(&format!("{:22}fix: {}\n", "", text::single_line(fix)));
        }
    }
    shown.push_str(match report.runs {
        true => "\nBuilds work, with RUN.\n",
        false => "\nBuilds with RUN cannot work here.\n",
    });
    shown
}

fn json(report: &Report) -> serde_json::Value {
    let finding = |Finding { subject, status, found, fix }: &Finding| {
        let status = word(*status);
        serde_json::json!({ "subject": subject, "status": status, "found": found, "fix": fix })
    };
    let findings: Vec<_> = report.findings.iter().map(finding).collect();
    serde_json::json!({ "runs": report.runs, "findings": findings })
}
