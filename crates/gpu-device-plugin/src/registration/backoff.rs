//! How long to wait before the next attempt. Pure, apart from its jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// First pause after a refused connection: a kubelet that has bound its socket listens within milliseconds.
const AFTER_REFUSAL: Duration = Duration::from_millis(1);

/// First pause after any other failure.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// Doubling pauses with jitter.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The pause after a connection was refused: from one millisecond on.
    pub(super) fn after_refusal(&mut self) -> Duration {
        self.next(AFTER_REFUSAL)
    }

    /// The pause after anything else: from a tenth of a second on.
    pub(super) fn after_failure(&mut self) -> Duration {
        self.next(AFTER_FAILURE)
    }

    /// Whether the last attempt should be told in the log: the first, and then ever more seldom.
    pub(super) fn is_worth_a_line(&self) -> bool {
        self.attempts.is_power_of_two() || self.attempts.is_multiple_of(64)
    }

    fn next(&mut self, first: Duration) -> Duration {
        let doubled = first.saturating_mul(1u32.checked_shl(self.attempts).unwrap_or(u32::MAX));
        self.attempts = self.attempts.saturating_add(1);
        jittered(doubled.min(LONGEST))
    }
}

/// Between three and five quarters of `pause`.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8);
    let share = 0.75 + 0.5 * (random % 1024) as f64 / 1024.0;
    pause.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_their_first_to_the_longest_with_jitter() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.after_refusal()).collect();
        assert!(pauses[0] <= Duration::from_micros(1250), "{pauses:?}");
        assert!(pauses[..10].iter().sum::<Duration>() < Duration::from_secs(2), "{pauses:?}");
        assert!(
            pauses[20..]
                .iter()
                .all(|pause| *pause >= LONGEST.mul_f64(0.74) && *pause <= LONGEST.mul_f64(1.26))
        );
        assert!(Backoff::default().after_failure() >= AFTER_FAILURE.mul_f64(0.74));
    }

    #[test]
    fn repeated_failures_are_told_ever_more_seldom() {
        let mut backoff = Backoff::default();
        let told = (0..1000).filter(|_| {
            backoff.after_failure();
            backoff.is_worth_a_line()
        });
        assert!(told.count() < 30);
    }
}
