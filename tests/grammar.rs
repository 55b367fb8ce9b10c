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

    #[path = "../fuzzed/checks/configuration.rs"]
    mod configuration;
    #[path = "../fuzzed/checks/dockerfile.rs"]
    mod dockerfile;
    #[path = "../fuzzed/checks/ignore.rs"]
    mod ignore;
    #[path = "../fuzzed/mutate.rs"]
    mod mutate;
    #[path = "../fuzzed/checks/reference.rs"]
    mod reference;
    #[path = "../fuzzed/checks/word.rs"]
    mod word;
}
