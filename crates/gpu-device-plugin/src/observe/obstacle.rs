//! What keeps every device from being handed out, although the GPUs are well: a stale CDI spec, a runtime without CDI.
//! Pure: time arrives as a value.
//!
//! While it stands each `Allocate` is refused, and a refused pod is lost. So after a short while, in which it may pass,
//! the devices are Unhealthy to the kubelet, and pods wait in the scheduler instead.

use std::time::{Duration, Instant};

/// How long an obstacle may stand before the kubelet is told.
const GRACE: Duration = Duration::from_secs(5);

/// The obstacle, if there is one.
#[derive(Debug, Default)]
pub(super) struct Obstacle {
    reason: Option<String>,
    since: Option<Instant>,
}

impl Obstacle {
    /// Takes note of what stands in the way now. It counts from when the first reason came.
    pub(super) fn note(&mut self, reason: Option<String>, now: Instant) {
        self.since = reason.as_ref().map(|_| self.since.unwrap_or(now));
        self.reason = reason;
    }

    /// Why no device can be handed out, once that is to be told.
    pub(super) fn told(&self, now: Instant) -> Option<&str> {
        let is_old = self.since.is_some_and(|since| now.saturating_duration_since(since) >= GRACE);
        self.reason.as_deref().filter(|_| is_old)
    }

    /// When it is to be told, if that is to come.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.since.map(|since| since + GRACE).filter(|due| *due > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obstacle_is_told_after_the_grace_and_forgotten_at_once() {
        let start = Instant::now();
        let mut obstacle = Obstacle::default();
        assert_eq!((obstacle.told(start), obstacle.due(start)), (None, None));
        obstacle.note(Some("no space".to_owned()), start);
        obstacle.note(Some("still no space".to_owned()), start + GRACE / 2);
        assert_eq!(obstacle.due(start), Some(start + GRACE));
        assert_eq!(obstacle.told(start + GRACE / 2), None);
        assert_eq!(obstacle.told(start + GRACE), Some("still no space"));
        assert_eq!(obstacle.due(start + GRACE), None);
        obstacle.note(None, start + GRACE);
        assert_eq!(obstacle.told(start + GRACE * 2), None);
    }
}
