//! The pause before a new worker: doubling, bounded, with jitter.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use crate::Backoff;

/// Doublings beyond this change nothing: the bound is reached long before.
const MAX_DOUBLINGS: u32 = 20;

/// Where the back-off stands.
pub(super) struct Pause {
    backoff: Backoff,
    failures: u32,
    until: Option<Instant>,
    reason: String,
}

impl Pause {
    pub fn new(backoff: Backoff) -> Pause {
        Pause { backoff, failures: 0, until: None, reason: String::new() }
    }

    /// Begins a pause. A failure long after the last pause begins a new row.
    pub fn after_failure(&mut self, reason: String) {
        let calm = self.until.and_then(|until| until.checked_add(self.backoff.max));
        if calm.is_some_and(|calm| calm <= Instant::now()) {
            self.failures = 0;
        }
        let chance = RandomState::new().build_hasher().finish();
        self.until = Instant::now().checked_add(length(self.backoff, self.failures, chance));
        self.failures = self.failures.saturating_add(1);
        self.reason = reason;
    }

    pub fn reset(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// When the next worker may start.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    #[cfg(test)]
    pub fn end_at(&mut self, until: Instant) {
        self.until = Some(until);
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// The pause after `failures` earlier failures in a row: a quarter of it is left to chance.
fn length(backoff: Backoff, failures: u32, chance: u64) -> Duration {
    let doubled = backoff.first.saturating_mul(1 << failures.min(MAX_DOUBLINGS));
    let whole = doubled.min(backoff.max);
    let share = u32::try_from(chance % 1024).unwrap_or(0);
    whole - whole.mul_f64(f64::from(share) / 4096.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pause_of_any_failure_lies_between_three_quarters_and_the_whole(failures: u32, chance: u64) {
            let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(60) };
            let whole = Duration::from_millis(100 << failures.min(10)).min(backoff.max);
            let pause = length(backoff, failures, chance);
            prop_assert!(pause <= whole && pause >= whole.mul_f64(0.75), "{pause:?} of {whole:?}");
        }
    }

    #[test]
    fn failure_after_a_calm_as_long_as_the_longest_pause_begins_a_new_row() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(60) };
        let mut pause = Pause::new(backoff);
        (0..5).for_each(|_| pause.after_failure("again".to_owned()));
        assert_eq!(pause.failures, 5);
        pause.end_at(Instant::now() - backoff.max);
        pause.after_failure("months later".to_owned());
        assert_eq!(pause.failures, 1);
    }
}
