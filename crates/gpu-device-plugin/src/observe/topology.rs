//! When the topology is asked for. Pure: time arrives as a value.
//!
//! It is asked for once per set of GPUs. A question that fails says nothing about any GPU's health (the probe does
//! that), and is asked again, ever more seldom: on some machines it takes seconds of the driver's time.

use std::time::{Duration, Instant};

use gpu_model::GpuUuid;

/// Pause after the first failure.
const FIRST: Duration = Duration::from_secs(60);

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is known of the topology, and what was asked.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// The GPUs that it is known of.
    known: Option<Vec<GpuUuid>>,
    /// The GPUs of the question under way.
    asked: Option<Vec<GpuUuid>>,
    /// The last question that failed.
    failed: Option<Failed>,
}

/// A question that failed, maybe several times in a row.
#[derive(Debug)]
struct Failed {
    /// The GPUs that it was about. Of others it says nothing.
    gpus: Vec<GpuUuid>,
    times: u32,
    not_before: Instant,
}

impl Wish {
    /// Whether to ask now, given the GPUs that the driver lists. The question counts as asked then.
    pub(super) fn take(&mut self, listed: &[GpuUuid], now: Instant) -> bool {
        let is_due = self.is_open(listed) && self.rests_until(listed).is_none_or(|time| time <= now);
        if is_due {
            self.asked = Some(listed.to_vec());
        }
        is_due
    }

    /// When it will be worth asking [`Wish::take`] again, if that is a matter of time.
    pub(super) fn due(&self, listed: &[GpuUuid]) -> Option<Instant> {
        self.rests_until(listed).filter(|_| self.is_open(listed))
    }

    /// The question under way was answered.
    pub(super) fn answered(&mut self) {
        *self = Self { known: self.asked.take(), ..Self::default() };
    }

    /// The question under way failed. Gives the pause before the next.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let gpus = self.asked.take().unwrap_or_default();
        let before = self.failed.take().filter(|failed| failed.gpus == gpus).map_or(0, |failed| failed.times);
        let pause = FIRST.saturating_mul(1u32.checked_shl(before).unwrap_or(u32::MAX)).min(LONGEST);
        self.failed = Some(Failed { gpus, times: before.saturating_add(1), not_before: now + pause });
        pause
    }

    fn rests_until(&self, listed: &[GpuUuid]) -> Option<Instant> {
        self.failed.as_ref().filter(|failed| failed.gpus == listed).map(|failed| failed.not_before)
    }

    fn is_open(&self, listed: &[GpuUuid]) -> bool {
        self.asked.is_none() && self.known.as_deref() != Some(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::gpu;

    #[test]
    fn topology_is_asked_once_per_set_of_gpus() {
        let now = Instant::now();
        let mut wish = Wish::default();
        assert!(wish.take(&[gpu(0)], now));
        assert!(!wish.take(&[gpu(0)], now), "the question is under way");
        wish.answered();
        assert!(!wish.take(&[gpu(0)], now));
        assert!(wish.take(&[gpu(0), gpu(1)], now));
        // The answer is about the GPUs that were there when it was asked.
        wish.answered();
        assert!(wish.take(&[gpu(1)], now));
    }

    #[test]
    fn question_that_fails_is_asked_again_after_doubling_pauses() {
        let mut now = Instant::now();
        let mut wish = Wish::default();
        let listed = [gpu(0)];
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(wish.take(&listed, now));
            let pause = wish.failed(now);
            assert!(!wish.take(&listed, now + pause - Duration::from_millis(1)));
            assert_eq!(wish.due(&listed), Some(now + pause));
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert!(wish.take(&listed, now));
        wish.answered();
        assert_eq!(wish.due(&listed), None);
    }

    #[test]
    fn pause_after_a_failure_holds_up_no_other_set_of_gpus() {
        let now = Instant::now();
        let mut wish = Wish::default();
        let (before, after) = ([gpu(0)], [gpu(0), gpu(1)]);
        assert!(wish.take(&before, now));
        wish.failed(now);
        assert!(!wish.take(&before, now));
        assert_eq!(wish.due(&after), None, "it is due now, not in a while");
        assert!(wish.take(&after, now));
        assert_eq!(wish.failed(now), FIRST);
        assert!(!wish.take(&after, now));
    }
}
