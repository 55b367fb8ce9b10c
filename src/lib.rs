//! kiln builds OCI images from Dockerfiles: no daemon, no root, one static binary.
//!
//! The library never prints, prompts, exits or reads the user's environment: it returns values and sends
//! [`event::Event`]s. Modules import strictly downward; `tests/architecture.rs` reads this table and holds them
//! to it:
//!
//! ```text
//! 8 cli
//! 7 builder runner
//! 6 images
//! 5 solve export gc verify doctor
//! 4 source
//! 3 snapshot cache lint
//! 2 graph layer store registry
//! 1 dockerfile dockerignore oci sandbox
//! 0 digest event diagnostic fs ownership parallel wildcard
//! ```

pub mod builder;
pub mod cache;
pub mod diagnostic;
pub mod digest;
pub mod dockerfile;
pub mod dockerignore;
pub mod doctor;
pub mod event;
pub mod export;
pub mod fs;
pub mod gc;
pub mod graph;
pub mod images;
pub mod layer;
pub mod lint;
pub mod oci;
pub mod ownership;
pub mod parallel;
pub mod registry;
pub mod runner;
pub mod sandbox;
pub mod snapshot;
pub mod solve;
pub mod source;
pub mod store;
pub mod verify;
pub mod wildcard;
