//! EXPOSE: from words to port keys.

use super::GraphError;
use super::state::State;
use crate::dockerfile::port;
use crate::dockerfile::word::Expander;

/// Expands the words, adds the ports to the config and returns the history text.
pub(super) fn expose(
    state: &mut State,
    words: &[String],
    expander: &Expander,
) -> Result<(), GraphError> {
    let lookup = |name: &str| state.env.get(name).map(str::to_owned);
    let mut ports = Vec::new();
    for word in words {
        let expanded = expander.process_words(word, &lookup);
        for word in expanded.map_err(|error| GraphError::new(error.to_string()))? {
            let range = port::port(&word).map_err(|error| GraphError::new(error.to_string()))?;
            ports.extend(range.ports());
        }
    }
    state.config.config.exposed_ports.extend(ports.iter().cloned());
    state.record(format!("EXPOSE {}", super::history::plain_list(&ports)), false);
    Ok(())
}
