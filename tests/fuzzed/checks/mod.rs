//! What holds of any bytes: one function for each fuzz target, which panics where something does not hold.
//!
//! The fuzz targets in `fuzz/` and the ordinary tests call the same functions, so what is checked is said here only.
//! Nothing is read from the environment, and nothing is written but beneath temporary directories.

pub(crate) mod archive;
pub(crate) mod configuration;
pub(crate) mod directory;
pub(crate) mod dockerfile;
pub(crate) mod document;
pub(crate) mod entries;
pub(crate) mod ignore;
pub(crate) mod reference;
pub(crate) mod tarball;
pub(crate) mod unpack;
pub(crate) mod word;

/// A check of any bytes.
pub(crate) type Check = fn(&[u8]);

/// The fuzz targets by name.
pub(crate) const TARGETS: [(&str, Check); 8] = [
    ("archive", archive::check),
    ("configuration", configuration::check),
    ("dockerfile", dockerfile::check),
    ("document", document::check),
    ("ignore", ignore::check),
    ("reference", reference::check),
    ("unpack", unpack::check),
    ("word", word::check),
];
