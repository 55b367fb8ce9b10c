//! Builds for several platforms and for another CPU, by the binary.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

// The other CPU is arm64, which must be another one.
#[cfg(not(target_arch = "aarch64"))]
mod foreign;
mod index;
#[path = "../support/mod.rs"]
mod support;
