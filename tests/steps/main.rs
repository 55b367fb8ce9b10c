//! What steps share and are given: cache mounts between steps that run at once, agents, and the plan they follow.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod agents;
mod caches;
mod economy;
mod explained;
mod shared;
#[path = "../support/mod.rs"]
mod support;
