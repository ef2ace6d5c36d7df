//! How often what others take away is put back: at once, then ever slower, so that two who disagree don't flood the API.

use std::time::Duration;

use tokio::time::Instant;

use crate::timing::Timing;

/// The pace of restorations.
#[derive(Clone, Copy, Debug, Default)]
pub struct Restoring {
    last: Option<Instant>,
    in_a_row: u32,
}

impl Restoring {
    /// When the next restoration may be, seen at `now`.
    pub fn due(&self, now: Instant, timing: &Timing) -> Instant {
        let Some(last) = self.last else { return now };
        if now.saturating_duration_since(last) >= timing.restore_calm {
            return now;
        }
        now.max(last + self.pause(timing))
    }

    /// A restoration is made.
    pub fn made(&mut self, now: Instant, timing: &Timing) {
        let calm = self.last.is_none_or(|last| now.saturating_duration_since(last) >= timing.restore_calm);
        self.in_a_row = if calm { 1 } else { self.in_a_row.saturating_add(1) };
        self.last = Some(now);
    }

    fn pause(&self, timing: &Timing) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(20);
        timing.restore_first.saturating_mul(1 << doublings).min(timing.restore_max)
    }
}
