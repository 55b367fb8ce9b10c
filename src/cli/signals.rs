//! Ctrl-C and its kin: the first asks the build to stop, the second ends the program.

use kiln::event::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Sets `cancel` when the user asks to stop.
pub(super) fn cancel_on_signal(cancel: &Cancel) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
        return;
    };
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if cancel.is_canceled() {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
            cancel.cancel();
        }
    });
}
