//! What the fuzz targets check, over their seeds and over damage done to these: a bounded share that is the same in
//! every run. `fuzz/README.md` says how to look further.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fuzzed {
    pub(crate) mod checks;
    mod mutate;
    mod seeds;

    #[path = "../grammar/rng.rs"]
    mod rng;
}
