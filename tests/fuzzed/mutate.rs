//! Damage, the same in every run.

use super::rng::Rng;

/// What means something somewhere.
const SNIPPETS: [&str; 22] = [
    "\\\n",
    "`\n",
    "<<EOF",
    "<<-",
    "<<",
    "${",
    "}",
    "$",
    "\"",
    "'",
    "\\",
    "`",
    "--",
    "[",
    "\u{feff}",
    "#",
    "# escape=`\n",
    "FROM a AS b\n",
    "\r",
    "\n",
    "**",
    "!",
];

/// Changes a text in one to four places.
pub(crate) fn mutate(text: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.below(text.len() + 1);
        let end = (at + 1 + rng.below(8)).min(text.len());
        match rng.below(7) {
            0 if at < text.len() => text[at] ^= 1 << rng.below(8),
            1 => drop(text.drain(at..end)),
            2 => {
                let copy = text[at..end].to_vec();
                text.splice(at..at, copy);
            }
            3 if rng.one_in(4) => text.truncate(at),
            4 => text.insert(at, rng.below(32) as u8),
            5 => text.insert(at, 32 + rng.below(95) as u8),
            _ => {
                let snippet = SNIPPETS[rng.below(SNIPPETS.len())].bytes();
                text.splice(at..at, snippet);
            }
        }
    }
    text
}
