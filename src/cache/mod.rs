//! What earlier builds made, by the keys of their steps.
//!
//! A step is looked up twice: by its *definition key* before anything runs (what it does, the definition keys of
//! its inputs, the contents that it reads from a context), and by its *content key* once its inputs are done (the
//! same with the identities of the inputs' file systems). A step that ran again and made the same tree as before
//! therefore does not make its followers run.
//!
//! A record says what a step made; it never holds the thing itself, and a record whose layer is gone is no record.

mod key;
mod last;
mod record;

pub use key::{InputKey, Key, RunInputs, file_key, image_key, linked_key, run_key};
pub use last::{LastBuild, LastStep};
pub use record::{StepRecord, find, remember};
