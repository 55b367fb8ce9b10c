//! See `tests/fuzzed/checks/word.rs`.
#![no_main]

#[path = "../../tests/fuzzed/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::word::check(data));
