//! The findings of lint: warnings of a build, or the error that `error=true` makes of them.

use super::{Inputs, plan};
use crate::diagnostic::{Blame, Diagnostic};
use crate::dockerfile::ast::Dockerfile;
use crate::event::{Event, Reporter};
use crate::graph::Plan;
use crate::lint::{self, Finding, Options};
use crate::source::image::Images;

/// What lint finds in the Dockerfile of a build.
pub struct Check {
    /// What the build names; [`Inputs::place`] shows where a finding is.
    pub inputs: Inputs,
    /// The findings, sorted by place.
    pub findings: Vec<Finding>,
}

/// Lowers a Dockerfile and sends what lint finds in it, also if it cannot be lowered. If findings are errors they
/// make the error, before any step has run.
pub(super) fn lower(
    inputs: &Inputs,
    file: &Dockerfile,
    images: &Images<'_>,
    reporter: &dyn Reporter,
) -> Result<Plan, Vec<Diagnostic>> {
    let options = options(inputs, file)?;
    let (plan, findings) = look(inputs, file, &options, images, reporter);
    if plan.is_ok() && options.error && !findings.is_empty() {
        return Err(vec![error(inputs, &findings)]);
    }
    for finding in &findings {
        reporter.report(Event::Warning { message: line(inputs, finding) });
    }
    plan
}

/// Returns what lint finds, whatever the options make of it; if the Dockerfile cannot be lowered, it is sent.
pub(super) fn check(
    inputs: &Inputs,
    file: &Dockerfile,
    images: &Images<'_>,
    reporter: &dyn Reporter,
) -> Result<Vec<Finding>, Vec<Diagnostic>> {
    let options = options(inputs, file)?;
    let (plan, findings) = look(inputs, file, &options, images, reporter);
    if plan.is_err() {
        for finding in &findings {
            reporter.report(Event::Warning { message: line(inputs, finding) });
        }
    }
    plan.map(|_| findings)
}

fn options(inputs: &Inputs, file: &Dockerfile) -> Result<Options, Vec<Diagnostic>> {
    Options::of(file, &inputs.requests[0].build_args).map_err(|error| {
        let hint = Some(error.hint());
        let mut diagnostic = Diagnostic::new(Blame::Input, error.to_string()).hint(hint);
        diagnostic.place = error.span.map(|span| inputs.place(span));
        vec![diagnostic]
    })
}

fn look(
    inputs: &Inputs,
    file: &Dockerfile,
    options: &Options,
    images: &Images<'_>,
    reporter: &dyn Reporter,
) -> (Result<Plan, Vec<Diagnostic>>, Vec<Finding>) {
    let mut facts = Vec::new();
    let plan = plan::lower(inputs, file, images, reporter, &mut facts);
    let findings = lint::findings(file, &facts, options, inputs.ignore_matcher().as_ref());
    (plan, findings)
}

/// A finding in one line.
fn line(inputs: &Inputs, finding: &Finding) -> String {
    let Finding { rule, message, span } = finding;
    format!("{rule}: {message} ({}:{})", inputs.display, span.first_line)
}

fn error(inputs: &Inputs, findings: &[Finding]) -> Diagnostic {
    let count = match findings.len() {
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    };
    let mut message =
        format!("the Dockerfile does not pass its checks: {count}, and `error=true` is set");
    for finding in findings {
        message.push('\n');
        message.push_str(&line(inputs, finding));
    }
    let mut diagnostic = Diagnostic::new(Blame::Input, message).hint(Some(hint(findings)));
    diagnostic.place = findings.first().map(|finding| inputs.place(finding.span));
    diagnostic
}

fn hint(findings: &[Finding]) -> String {
    let mut names: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
    names.retain(|rule| !rule.is_experimental());
    names.sort();
    names.dedup();
    let names: Vec<_> = names.into_iter().map(lint::Rule::name).collect();
    let skip = match names.as_slice() {
        [] => String::new(),
        names => format!(", or leave rules out with `skip={};error=true`", names.join(",")),
    };
    let address = findings.iter().find_map(|finding| finding.rule.url());
    let see = address.map_or(String::new(), |url| format!("; see {url}"));
    format!("correct what is found{skip}{see}")
}
