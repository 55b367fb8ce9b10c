//! See `tests/fuzzed/checks/ignore.rs`.
#![no_main]

#[path = "../../tests/fuzzed/checks/mod.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::ignore::check(data));
