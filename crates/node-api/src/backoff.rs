//! Pauses after failures: doubling, bounded, with jitter, and never shorter than the server asks for.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::timing::Timing;

/// Doublings beyond this change nothing: the bound is reached long before.
const MAX_DOUBLINGS: u32 = 20;

/// Where a row of failures stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    pub fn after_failure(&mut self, timing: &Timing, retry_after: Option<Duration>) -> Duration {
        let pause = pause(timing, self.failures, retry_after, chance());
        self.failures = self.failures.saturating_add(1);
        pause
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number that nobody can foresee: many nodes must not ask in step.
pub(crate) fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Half of the pause is left to chance, so that the nodes of a cluster don't come back together; of a server's wish, the
/// chance comes on top.
fn pause(timing: &Timing, failures: u32, retry_after: Option<Duration>, chance: u64) -> Duration {
    let doubled = timing.first_retry.saturating_mul(1 << failures.min(MAX_DOUBLINGS));
    let whole = doubled.min(timing.max_retry);
    let share = u32::try_from(chance % 1024).unwrap_or(0);
    let half = whole / 2;
    let own = half + half * share / 1024;
    match retry_after.map(|wish| wish.min(timing.max_retry_after)) {
        Some(wish) if wish >= own => wish + timing.first_retry * share / 1024,
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pause_is_bounded_and_never_shorter_than_the_server_asks(
            failures in 0u32..100, wish in proptest::option::of(0u64..100_000), chance: u64,
        ) {
            let timing = Timing::default();
            let wish = wish.map(Duration::from_secs);
            let pause = pause(&timing, failures, wish, chance);
            let heeded = wish.unwrap_or_default().min(timing.max_retry_after);
            prop_assert!(pause >= heeded);
            prop_assert!(pause >= timing.first_retry / 2);
            prop_assert!(pause <= timing.max_retry.max(heeded + timing.first_retry));
        }
    }
}
