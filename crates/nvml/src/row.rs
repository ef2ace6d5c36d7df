//! The pause after failures in a row of something that is meant to stand. Pure.

use std::time::Duration;

/// Pause after the first failure that has one; it doubles.
const FIRST: Duration = Duration::from_secs(1);

/// Longest pause, and the time after which what stood begins a new row when it fails.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

/// Failures in a row.
#[derive(Debug)]
pub(crate) struct Row {
    /// Failures at the beginning of a row that have no pause.
    free: u32,
    failures: u32,
}

impl Row {
    pub fn new(free: u32) -> Row {
        Row { free, failures: 0 }
    }

    /// The pause after something failed that had stood for this long.
    pub fn pause(&mut self, stood: Duration) -> Duration {
        if stood >= LONGEST {
            self.failures = 0;
        }
        let before = self.failures;
        self.failures = before.saturating_add(1);
        match before.checked_sub(self.free) {
            Some(doublings) => FIRST.saturating_mul(1 << doublings.min(8)).min(LONGEST),
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(row: &mut Row, stood: u64) -> u64 {
        row.pause(Duration::from_secs(stood)).as_secs()
    }

    #[test]
    fn pause_grows_though_what_failed_stood_briefly() {
        let mut row = Row::new(0);
        assert_eq!([0; 7].map(|_| seconds(&mut row, 1)), [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn failure_of_what_stood_for_long_begins_a_new_row() {
        let mut row = Row::new(1);
        assert_eq!([0; 3].map(|_| seconds(&mut row, 0)), [0, 1, 2]);
        assert_eq!([30, 0].map(|stood| seconds(&mut row, stood)), [0, 1]);
    }
}
