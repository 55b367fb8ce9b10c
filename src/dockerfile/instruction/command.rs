//! CMD, ENTRYPOINT and SHELL: a command in shell or exec form. RUN shares the forms.

use super::super::ast::{CommandLine, Instruction};
use super::super::error::{ArgumentError, ParseError};
use super::super::flags::Options;
use super::super::json::Form;
use super::Request;

/// `command_line ::= json_array | word (blank+ word)*`
pub(super) fn command_line(
    request: &Request<'_>,
    name: &'static str,
) -> Result<CommandLine, ParseError> {
    let text = || match request.rest {
        "" => Vec::new(),
        text => vec![text.to_owned()],
    };
    Ok(match request.form(name)? {
        Form::Strings(args) => CommandLine { shell_form: false, args },
        Form::Text | Form::NotStrings => CommandLine { shell_form: true, args: text() },
    })
}

/// `cmd ::= 'CMD' (blank+ command_line)?`
pub(super) fn cmd(request: &Request<'_>) -> Result<Instruction, ParseError> {
    Options::parse(request, &[])?;
    command_line(request, "CMD").map(Instruction::Cmd)
}

/// `entrypoint ::= 'ENTRYPOINT' (blank+ command_line)?`
pub(super) fn entrypoint(request: &Request<'_>) -> Result<Instruction, ParseError> {
    Options::parse(request, &[])?;
    command_line(request, "ENTRYPOINT").map(Instruction::Entrypoint)
}

/// `shell ::= 'SHELL' blank+ (json_array - ("[" blanks "]"))`
pub(super) fn shell(request: &Request<'_>) -> Result<Instruction, ParseError> {
    Options::parse(request, &[])?;
    let command = command_line(request, "SHELL")?;
    if command.args.is_empty() {
        return Err(request.error(ArgumentError::Missing("SHELL")));
    }
    if command.shell_form {
        return Err(request.error(ArgumentError::NotJson("SHELL")));
    }
    Ok(Instruction::Shell(command.args))
}
