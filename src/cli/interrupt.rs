//! Ctrl-C, `kill` and a closed terminal: the first asks the command to stop, the second ends the process at once with 130.
//!
//! The handlers only set a flag; whoever waits for the command looks at it. The store is safe at any instant, so the
//! second needs no care.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use super::report::CANCELED;

/// Lets a write fail that would make a file larger than the user allows, in place of the signal that ends the process.
/// Programs that are started have the signal as ever.
pub(crate) fn survive_large_files() {
    // Where that fails the signal acts as ever.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// Whether the user wants to stop.
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen. Where that fails, signals act as ever.
    pub(crate) fn listen() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: what is registered first is asked first, and finds the flag of an earlier signal.
            let _ = flag::register_conditional_shutdown(signal, CANCELED.into(), stop.clone());
            let _ = flag::register(signal, stop.clone());
        }
        Self(stop)
    }

    /// Returns whether a signal has come.
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_only_asks() {
        let interrupt = Interrupt::listen();
        assert!(!interrupt.came());
        signal_hook::low_level::raise(SIGINT).unwrap();
        assert!(interrupt.came());
    }
}
