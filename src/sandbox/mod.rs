//! Runs one process in namespaces of its own.

pub mod spec;
