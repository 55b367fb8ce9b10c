//! Attempts to get out of a build, each of which must fail, and each of which is shown to be noticed where it succeeds.
//!
//! - `inside`: what a command can try by itself, as root, as a user with subordinate ids and as one without.
//!
//! The table in docs/security.md counts them.
#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

#[path = "../support/mod.rs"]
mod support;

mod files;
mod inside;
mod profile;
mod remains;
mod secrets;
mod world;
