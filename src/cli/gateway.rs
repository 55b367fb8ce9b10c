//! `--network=private`, and the names of what makes such a network.

use kiln::diagnostic::{Blame, Diagnostic};
use kiln::sandbox::Gateway;

/// Returns what connects the network that a flag asks for, or that it is missing; `None` if it is no private one.
pub(super) fn gateway(mode: &str) -> Option<Result<Gateway, Diagnostic>> {
    let wanted = match mode {
        "private" => None,
        "pasta" => Some(Gateway::Pasta),
        "slirp4netns" => Some(Gateway::Slirp4netns),
        _ => return None,
    };
    Some(
        Gateway::find(wanted)
            .map_err(|error| Diagnostic::new(Blame::Machine, error.to_string()).hint(error.hint())),
    )
}
