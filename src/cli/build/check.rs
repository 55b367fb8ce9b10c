//! `--check`: what lint finds in a Dockerfile, without building it.

use kiln::builder::{Build, Check};
use kiln::event::{Cancel, Event};

use crate::cli::environment::Terminal;
use crate::cli::{Done, Failure, Session, answer, excerpt, report, say, text};

/// As docker: something was found.
const FOUND: u8 = 1;

/// Says what is found on standard output.
pub(super) fn run(build: &Build, session: &Session) -> Done {
    let reporter = |event: Event| {
        if let Event::Warning { message } = event {
            say(&report::warning(&message, &session.terminal));
        }
    };
    let check = kiln::builder::check(build, &reporter, &Cancel::new())?;
    // The colours are those of standard error, and this may be a file.
    answer(&draw(&check, &Terminal { colour: false, ..session.terminal }))?;
    if check.findings.is_empty() { Ok(()) } else { Err(Failure::Code(FOUND)) }
}

fn draw(check: &Check, terminal: &Terminal) -> String {
    let mut drawn = String::new();
    for finding in &check.findings {
        let message = format!("{}: {}", finding.rule, finding.message);
        drawn += &report::warning(&message, terminal);
        drawn += &excerpt::draw(&check.inputs.place(finding.span), terminal);
        drawn += &format!("  {}\n", text::single_line(finding.rule.description()));
        drawn += &finding.rule.url().map_or(String::new(), |url| format!("  see {url}\n"));
        drawn.push('\n');
    }
    drawn
        + &match check.findings.len() {
            0 => "Check complete, no warnings found.\n".to_owned(),
            1 => "Check complete, 1 warning has been found!\n".to_owned(),
            many => format!("Check complete, {many} warnings have been found!\n"),
        }
}
