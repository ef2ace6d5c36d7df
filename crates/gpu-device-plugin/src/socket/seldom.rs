//! Lines that any process could make us write are written seldom. Pure: time arrives as a value.

use std::time::{Duration, Instant};

/// Least time between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// When the last line was written, and what was kept back since.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    /// Whether a line is due: then how many were kept back before it.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.kept_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flood_makes_one_line_at_once_and_one_per_pause_with_what_was_kept_back() {
        let start = Instant::now();
        let mut seldom = Seldom::default();
        assert_eq!(seldom.due(start), Some(0));
        let told = (1..1000).filter(|n| seldom.due(start + PAUSE / 1000 * *n).is_some());
        assert_eq!(told.count(), 0);
        assert_eq!(seldom.due(start + PAUSE), Some(999));
        assert_eq!(seldom.due(start + PAUSE * 3), Some(0));
    }
}
