//! When to try again, and the pauses between.
//!
//! What is worth trying again is the errors' to say.

use std::time::{Duration, Instant};

use super::RegistryError;
use crate::event::Cancel;

/// How often and how long after each other.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// How often the same is tried in all.
    pub attempts: u32,
    /// The first pause; each further one is twice as long.
    pub pause: Duration,
    /// The longest pause. A server that asks for a longer one is not asked again.
    pub longest: Duration,
    /// How long the attempts at one request may take in all, pauses aside, before another is made.
    pub patience: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        // A server that only listens costs a whole timeout at every attempt.
        Self { attempts: 5, pause: seconds(1), longest: seconds(60), patience: seconds(90) }
    }
}

impl Retry {
    /// Returns the pause after so many failures in a row; `None`: it was enough.
    pub(super) fn pause_after(&self, failures: u32, wanted: Option<Duration>) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let doubled = self.pause.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        match wanted {
            Some(wanted) if wanted > self.longest => None,
            Some(wanted) => Some(wanted.max(doubled.min(self.longest))),
            None => Some(doubled.min(self.longest)),
        }
    }

    /// Repeats `attempt` for as long as its error is transient and the policy allows.
    pub(super) fn run<T>(
        &self,
        cancel: &Cancel,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let (mut failures, mut taken) = (0, Duration::ZERO);
        loop {
            let began = Instant::now();
            let result = attempt();
            taken += began.elapsed();
            let error = match result {
                // Closed connections are how a wait ends when the user asks to stop.
                Err(_) if cancel.is_canceled() => return Err(RegistryError::Canceled),
                Err(error) if error.is_transient() => error,
                done => return done,
            };
            failures += 1;
            if taken >= self.patience {
                return Err(error);
            }
            let Some(pause) = self.pause_after(failures, error.retry_after()) else {
                return Err(error);
            };
            sleep(pause, cancel)?;
        }
    }
}

/// Sleeps, unless the user asks to stop.
pub(super) fn sleep(pause: Duration, cancel: &Cancel) -> Result<(), RegistryError> {
    let end = Instant::now() + pause;
    loop {
        if cancel.is_canceled() {
            return Err(RegistryError::Canceled);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// Reads a `Retry-After` header: seconds, or a date.
pub(super) fn parse_retry_after(value: &str, now: jiff::Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
    let seconds = date.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_servers_are_obeyed() {
        let seconds = Duration::from_secs;
        let retry =
            Retry { attempts: 5, pause: seconds(1), longest: seconds(6), patience: seconds(1) };
        for (failures, wanted, expected) in [
            (1, None, Some(1)),
            (2, None, Some(2)),
            (4, None, Some(6)),
            (5, None, None),
            (1, Some(3), Some(3)),
            (4, Some(3), Some(6)),
            (1, Some(7), None),
        ] {
            let pause = retry.pause_after(failures, wanted.map(seconds));
            assert_eq!(pause, expected.map(seconds), "{failures} {wanted:?}");
        }
    }

    #[test]
    fn attempts_end_with_the_patience() {
        let tries = |patience| {
            let retry = Retry { attempts: 3, pause: Duration::ZERO, patience, ..Retry::default() };
            let mut tries = 0;
            let busy = || {
                tries += 1;
                let (url, message) = (String::new(), String::new());
                Err::<(), _>(RegistryError::Status { url, status: 503, message, retry_after: None })
            };
            assert!(retry.run(&Cancel::new(), busy).is_err());
            tries
        };
        assert_eq!((tries(Duration::ZERO), tries(Duration::MAX)), (1, 3));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let parse = |value| parse_retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(parse("7"), Some(7));
        assert_eq!(parse("Thu, 01 Jan 2026 00:01:00 GMT"), Some(60));
        assert_eq!(parse("Wed, 31 Dec 2025 00:01:00 GMT"), Some(0));
        assert_eq!(parse("soon"), None);
    }
}
