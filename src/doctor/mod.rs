//! What this machine lets kiln do: facts found by trying, and what they mean.
//!
//! [`examine`] looks and tries; [`Report::of`] is a pure function of what was found, so that every machine can be
//! described in a test.

mod examine;
mod facts;
mod report;

pub use examine::{Request, examine};
pub use facts::{Control, Credentials, Facts, Foreign, Helper, State, Subordinate, Tried};

/// How well something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As well as it can.
    Ok,
    /// Not all of it, or not as well as elsewhere.
    Limited,
    /// Not at all.
    Missing,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `kernel`, `rights`, …
    pub subject: &'static str,
    /// How well it works.
    pub status: Status,
    /// What was found, in a line.
    pub found: String,
    /// What to do, if something can be done.
    pub fix: Option<String>,
}

/// What was found, in order of what depends on what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One for each subject.
    pub findings: Vec<Finding>,
    /// Whether a build with RUN steps will work.
    pub runs: bool,
}
