//! Where bytes enter a build, seen from outside: files of the web, contexts of every kind, images by name.

#![expect(clippy::unwrap_used, reason = "a failure in a test's own preparations is a failed test")]

mod contexts;
#[allow(dead_code, reason = "shared with the tests of the registry client")]
#[path = "../registry/fake.rs"]
mod fake;
mod pulled;
#[path = "../support/mod.rs"]
mod support;
mod web;
mod wildcards;
