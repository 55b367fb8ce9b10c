//! RUN: a command with its mounts, network, security and devices.

use super::super::ast::{Instruction, Run, RunNetwork, RunSecurity};
use super::super::error::ParseError;
use super::super::flags::{FlagError, Known, Options, Takes};
use super::super::{device, mount};
use super::Request;
use super::command::command_line;

/// ```text
/// run_flags ::= "--mount=" mount | "--network=" network | "--security=" security | "--device=" device
/// ```
const RUN_FLAGS: [Known; 4] = [
    ("mount", Takes::List),
    ("network", Takes::Text),
    ("security", Takes::Text),
    ("device", Takes::List),
];

/// ```text
/// run ::= 'RUN' (blank+ run_flags)*
///         (blank+ (command_line | (word blank+)* heredoc (blank+ (word | heredoc))*))?
/// ```
pub(super) fn run(request: &Request<'_>) -> Result<Instruction, ParseError> {
    let command = command_line(request, "RUN")?;
    let options = Options::parse(request, &RUN_FLAGS)?;
    for (text, range) in options.list("mount") {
        mount::check(&text).map_err(|error| request.line.error(range, error))?;
    }
    for (text, range) in options.list("device") {
        device::device(&text).map_err(|error| request.line.error(range, error))?;
    }
    let texts = |name| options.list(name).into_iter().map(|(text, _)| text).collect();
    Ok(Instruction::Run(Run {
        command,
        mounts: texts("mount"),
        network: network(request, &options)?,
        security: security(request, &options)?,
        devices: texts("device"),
        flags_used: options.names(),
    }))
}

/// `network ::= "default" | "none" | "host"`
fn network(request: &Request<'_>, options: &Options) -> Result<RunNetwork, ParseError> {
    let Some((value, range)) = options.given("network") else { return Ok(RunNetwork::Default) };
    match value {
        "default" => Ok(RunNetwork::Default),
        "none" => Ok(RunNetwork::None),
        "host" => Ok(RunNetwork::Host),
        other => {
            let known = &["default", "none", "host"];
            let error = FlagError::NotOneOf { name: "network", value: other.to_owned(), known };
            Err(request.line.error(range, error))
        }
    }
}

/// `security ::= "sandbox" | "insecure"`
fn security(request: &Request<'_>, options: &Options) -> Result<RunSecurity, ParseError> {
    let Some((value, range)) = options.given("security") else { return Ok(RunSecurity::Sandbox) };
    match value {
        "sandbox" => Ok(RunSecurity::Sandbox),
        "insecure" => Ok(RunSecurity::Insecure),
        other => {
            let known = &["sandbox", "insecure"];
            let error = FlagError::NotOneOf { name: "security", value: other.to_owned(), known };
            Err(request.line.error(range, error))
        }
    }
}
