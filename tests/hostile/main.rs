//! Bytes that mean harm, through every door of the program: nothing beside the state root is touched, memory is bounded
//! whatever they claim, and each ends in one clear error or in the right result.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod archives;
mod documents;
mod doors;
#[path = "../registry/fake.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod fake;
mod layouts;
mod measured;
#[path = "../support/mod.rs"]
mod support;
#[path = "../fuzzed/checks/tarball.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod tarball;
