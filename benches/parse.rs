//! Placeholder replaced by the module that owns it.
fn main() {}
