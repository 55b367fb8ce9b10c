//! EXPOSE: from words to port keys.

use super::GraphError;
use super::facts::{Notes, Seen};
use super::state::State;
use crate::dockerfile::port;
use crate::dockerfile::word::Expander;

/// Expands the words and adds the ports to the config.
pub(super) fn expose(
    state: &mut State,
    words: &[String],
    expander: &Expander,
    notes: &mut Notes<'_>,
) -> Result<(), GraphError> {
    let lookup = |name: &str| state.env.get(name).map(str::to_owned);
    let mut expanded = Vec::new();
    for word in words {
        expanded.extend(expander.process_words(word, &lookup)?);
    }
    let mut ports = Vec::new();
    for word in expanded {
        notes.add(Seen::Port { word: word.clone() });
        ports.extend(port::port(&word)?.ports());
    }
    state.config.config.exposed_ports.extend(ports.iter().cloned());
    state.record(format!("EXPOSE {}", super::history::plain_list(&ports)), false);
    Ok(())
}
