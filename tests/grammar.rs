//! The grammar files against the parsers: what they name, what they derive, and what they do not.
//!
//! Everything here is repeatable: seeds are fixed, and nothing is written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod grammar {
    mod agreement;
    mod binding;
    mod constraint;
    mod ebnf;
    mod generate;
    mod hostile;
    mod properties;
    mod recognise;
    mod rng;
    mod spell;
}
