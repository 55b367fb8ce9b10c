//! How fast a transfer must be at least.
//!
//! A server that sends a byte now and then never makes a single read wait too long. What counts is the time spent on
//! waiting for it, so that a slow disk at this end is not blamed on the other.

use std::io;
use std::time::Duration;

use super::LEAST;

/// Watches one transfer.
pub(in crate::registry) struct Pace {
    limit: Duration,
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// Begins to watch; [`LEAST`] bytes may take as long as `limit`.
    pub(in crate::registry) fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, moved: 0 }
    }

    /// Takes note of a step: so many bytes, waited for so long.
    pub(in crate::registry) fn step(&mut self, bytes: u64, waited: Duration) -> io::Result<()> {
        self.moved += bytes;
        self.waited += waited;
        if self.moved >= LEAST {
            (self.moved, self.waited) = (0, Duration::ZERO);
        } else if self.waited > self.limit {
            let text = format!("only {} bytes in {:?}", self.moved, self.waited);
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_not_a_transfer() {
        let seconds = Duration::from_secs;
        let mut pace = Pace::new(seconds(10));
        for _ in 0..100 {
            pace.step(LEAST, seconds(60)).unwrap();
        }
        for _ in 0..10 {
            pace.step(1, seconds(1)).unwrap();
        }
        let error = pace.step(1, seconds(1)).unwrap_err();
        assert_eq!(error.to_string(), "only 11 bytes in 11s");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
