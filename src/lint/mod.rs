//! Lint: what a Dockerfile says that is allowed and probably not meant.
//!
//! Pure: [`findings`] takes the syntax tree and the facts that lowering saw, applies BuildKit's rules and leaves out
//! those that the [`Options`] leave out. Rules, messages and lines agree with the reference; it reads no file and says
//! nothing by itself: `builder` sends the findings as warnings, or fails where `error=true` asks for it.
//!
//! Rules about what is written look at every stage (`written`), those about what words come to only at the stages
//! that were lowered (`lowered`).

mod lowered;
mod options;
mod rule;
mod written;

pub use options::{OptionError, Options};
pub use rule::Rule;

use crate::dockerfile::ast::{Dockerfile, Span};
use crate::dockerignore::Matcher;
use crate::graph::Fact;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What was found, one line unless the Dockerfile's words bring line ends with them.
    pub message: String,
    /// Where. The lines are those that the reference reports; the bytes may be more exact.
    pub span: Span,
}

/// Returns what is found, each finding once, sorted by lines, rule and message.
///
/// `ignore` is the matcher of the main context's ignore file, if it has one with patterns.
pub fn findings(
    file: &Dockerfile,
    facts: &[Fact],
    options: &Options,
    ignore: Option<&Matcher>,
) -> Vec<Finding> {
    let mut report = Report { options, found: Vec::new() };
    written::check(file, &mut report);
    lowered::check(facts, ignore, &mut report);
    let mut found = report.found;
    fn key(finding: &Finding) -> (u32, u32, &str, &str) {
        let Span { first_line, last_line, .. } = finding.span;
        (first_line, last_line, finding.rule.name(), &finding.message)
    }
    found.sort_by(|a, b| key(a).cmp(&key(b)));
    found.dedup_by(|a, b| key(a) == key(b));
    found
}

/// Collects what is not left out.
struct Report<'o> {
    options: &'o Options,
    found: Vec<Finding>,
}

impl Report<'_> {
    /// Adds a finding, unless the options or the comments above the instruction leave its rule out.
    fn add(&mut self, rule: Rule, span: Span, comments: &[String], message: String) {
        if self.options.allow(rule, comments) {
            self.found.push(Finding { rule, message, span });
        }
    }
}
