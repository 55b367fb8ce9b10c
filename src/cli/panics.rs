//! What a bug in kiln looks like to the user.
//!
//! Panics of all threads are kept until the progress display is out of the way, then told with a request to report
//! them. A panic that the builder survived (it became a diagnostic) is told as well.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::{Arc, Mutex, PoisonError};

/// The panics so far.
pub(crate) struct Panics(Arc<Mutex<Vec<String>>>);

impl Panics {
    /// Takes the place of the standard library's message.
    pub(crate) fn collect() -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keep = kept.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let trace = Backtrace::capture();
            let mut told = panic.to_string();
            if trace.status() == BacktraceStatus::Captured {
                told = format!("{told}\n{trace}");
            }
            keep.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        }));
        Self(kept)
    }

    /// Tells them if the command ended because of one.
    pub(crate) fn report(&self, ended: bool) {
        let panics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ended && !panics.is_empty() {
            super::say(&text(&panics));
        }
    }
}

fn text(panics: &[String]) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "error: kiln {version} failed unexpectedly\n  {}\n  hint: this is a bug in kiln: please report these lines \
         with the command line and the Dockerfile that led to it\n",
        panics.join("\n").replace('\n', "\n  ")
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_asks_to_be_reported() {
        let panics = ["panicked at src/a.rs:1:2:\nindex out of bounds".to_owned()];
        let expected = format!(
            "error: kiln {} failed unexpectedly
  panicked at src/a.rs:1:2:
  index out of bounds
  hint: this is a bug in kiln: please report these lines with the command line and the Dockerfile that led to it
",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(super::text(&panics), expected);
    }
}
