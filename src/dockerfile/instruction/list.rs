//! EXPOSE and VOLUME: a list of words.

use super::super::ast::Instruction;
use super::super::error::{ArgumentError, ParseError};
use super::super::flags::Options;
use super::super::json::Form;
use super::Request;

/// `expose ::= 'EXPOSE' blank+ word (blank+ word)*`
///
/// What the words mean is known once they are expanded.
pub(super) fn expose(request: &Request<'_>) -> Result<Instruction, ParseError> {
    request.need_argument("EXPOSE")?;
    Options::parse(request, &[])?;
    let mut ports: Vec<String> =
        request.words().into_iter().map(|word| word.text.to_owned()).collect();
    ports.sort();
    Ok(Instruction::Expose(ports))
}

/// `volume ::= 'VOLUME' blank+ ((json_array - ("[" blanks "]")) | word (blank+ word)*)`
pub(super) fn volume(request: &Request<'_>) -> Result<Instruction, ParseError> {
    let paths: Vec<String> = match request.form("VOLUME")? {
        Form::Strings(members) => members,
        Form::Text | Form::NotStrings => {
            request.words().into_iter().map(|word| word.text.to_owned()).collect()
        }
    };
    if paths.is_empty() {
        return Err(request.error(ArgumentError::Missing("VOLUME")));
    }
    Options::parse(request, &[])?;
    let paths: Vec<String> = paths.iter().map(|path| path.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        return Err(request.error(ArgumentError::EmptyVolume));
    }
    Ok(Instruction::Volume(paths))
}
