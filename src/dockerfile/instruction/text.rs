//! MAINTAINER, STOPSIGNAL, USER and WORKDIR: the rest of the line is the one argument.

use super::super::ast::Instruction;
use super::super::error::ParseError;
use super::super::flags::Options;
use super::Request;

/// `maintainer ::= 'MAINTAINER' blank+ argument`
pub(super) fn maintainer(request: &Request<'_>) -> Result<Instruction, ParseError> {
    argument(request, "MAINTAINER").map(Instruction::Maintainer)
}

/// `stopsignal ::= 'STOPSIGNAL' blank+ argument`
///
/// Flags are not looked at, as the reference does not; the signal is checked once it is expanded.
pub(super) fn stopsignal(request: &Request<'_>) -> Result<Instruction, ParseError> {
    request.need_argument("STOPSIGNAL")?;
    Ok(Instruction::Stopsignal(request.rest.to_owned()))
}

/// `user ::= 'USER' blank+ argument`
pub(super) fn user(request: &Request<'_>) -> Result<Instruction, ParseError> {
    argument(request, "USER").map(Instruction::User)
}

/// `workdir ::= 'WORKDIR' blank+ argument`
pub(super) fn workdir(request: &Request<'_>) -> Result<Instruction, ParseError> {
    argument(request, "WORKDIR").map(Instruction::Workdir)
}

/// `argument ::= word (blank+ word)*`
fn argument(request: &Request<'_>, name: &'static str) -> Result<String, ParseError> {
    request.need_argument(name)?;
    Options::parse(request, &[])?;
    Ok(request.rest.to_owned())
}
