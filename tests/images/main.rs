//! What ends up in an image: the entries of its layers, checked with other programs, and what parents leave behind.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod copied;
mod layers;
mod onbuild;
#[path = "../support/mod.rs"]
mod support;
mod unpacked;
