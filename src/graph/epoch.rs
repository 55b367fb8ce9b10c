//! SOURCE_DATE_EPOCH: the time of what a build makes, from `--build-arg` or a global ARG.

use std::borrow::Cow;

use super::args::Env;
use super::stage::named_context;
use super::{GraphError, Request};
use crate::dockerfile::ast::{Command, Instruction, Span};

const NAME: &str = "SOURCE_DATE_EPOCH";

/// Reads the time in seconds; the word that gave it becomes that number wherever an ARG can see it, or disappears.
///
/// A build argument wins, and an empty one says that there is no time. The name of a context stands for the time
/// of its source, which files and images do not have.
pub(super) fn resolve<'a>(
    global_args: &[Command],
    request: &'a Request,
    globals: &mut Env,
) -> Result<(Cow<'a, Request>, Option<i64>), GraphError> {
    let mut request = Cow::Borrowed(request);
    let given = request.build_args.get(NAME);
    let default = globals.get(NAME).filter(|value| !value.is_empty());
    let Some(word) = given.map(String::as_str).or(default).map(str::to_owned) else {
        return Ok((request, None));
    };
    let seconds = match word.parse::<i64>() {
        Ok(seconds) => Some(seconds),
        Err(_) if matches!(word.as_str(), "" | "context") => None,
        Err(_) if named_context(&request, &word, None).is_some() => None,
        Err(_) => {
            let error = GraphError::new(format!("invalid {NAME} `{word}`"))
                .hint("give it as seconds since 1970-01-01");
            let place = if given.is_some() { None } else { place(global_args) };
            return Err(place.into_iter().fold(error, GraphError::at));
        }
    };
    let number = seconds.map(|seconds| seconds.to_string());
    if given.is_some() {
        let args = &mut request.to_mut().build_args;
        match &number {
            Some(number) => drop(args.insert(NAME.to_owned(), number.clone())),
            None => drop(args.remove(NAME)),
        }
    }
    if globals.get(NAME).is_some() {
        match &number {
            Some(number) => globals.set(NAME, number),
            None => globals.remove(NAME),
        }
    }
    Ok((request, seconds))
}

/// Where a global ARG last gives it.
fn place(global_args: &[Command]) -> Option<Span> {
    let gives = |command: &&Command| match &command.instruction {
        Instruction::Arg(definitions) => definitions.iter().any(|one| one.key == NAME),
        _ => false,
    };
    global_args.iter().rev().find(gives).map(|command| command.span)
}
