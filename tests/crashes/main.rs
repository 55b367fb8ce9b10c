//! What breaks: stores that were damaged, processes that are killed, machines that stop, disks that fail.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod damage;
mod killed;
mod power;
mod prepared;
mod refused;
#[path = "../registry/server.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod server;
#[path = "../support/mod.rs"]
mod support;
