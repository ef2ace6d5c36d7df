//! When a daemon looks for leases. Pure.

use std::time::{Duration, Instant};

/// How often while there is a lease: its end by time, and a lock that is let go of just after the file was closed, are told by
/// nobody. And how long it takes until what failed is tried again.
const RECHECK: Duration = Duration::from_secs(1);

/// When leases are looked for.
#[derive(Debug, Default)]
pub struct Pace {
    due: Option<Instant>,
    /// Something failed that is not tried again before.
    rest: Option<Instant>,
}

impl Pace {
    /// They were looked for.
    pub fn looked(&mut self, has_leases: bool, has_failed: bool, now: Instant) {
        let next = now + RECHECK;
        self.due = has_leases.then_some(next);
        self.rest = has_failed.then_some(next);
    }

    /// A file of theirs changed, perhaps by what failed just now.
    pub fn told(&mut self, now: Instant) {
        let wanted = self.rest.map_or(now, |rest| rest.max(now));
        self.due = Some(self.due.map_or(wanted, |due| due.min(wanted)));
    }

    /// When they are to be looked for; nothing until something tells.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_heeded_at_once_and_what_failed_is_tried_again_after_a_pause_whatever_changes() {
        let now = Instant::now();
        for (has_leases, has_failed, untold, told) in [
            (false, false, None, now),
            (true, false, Some(now + RECHECK), now),
            (true, true, Some(now + RECHECK), now + RECHECK),
            (false, true, None, now + RECHECK),
        ] {
            let mut pace = Pace::default();
            pace.looked(has_leases, has_failed, now);
            assert_eq!(pace.due(), untold);
            pace.told(now);
            assert_eq!(pace.due(), Some(told), "{has_leases} {has_failed}");
            let later = now + RECHECK * 2;
            pace.looked(false, has_failed, now);
            pace.told(later);
            assert_eq!(pace.due(), Some(later));
        }
    }
}
