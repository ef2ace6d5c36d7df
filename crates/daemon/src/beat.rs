//! A common beat for whatever looks at files now and then. Each wake-up costs an idle node more than the look itself,
//! so looks of several periods fall on the same moments where they can.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// What all beats are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Ticks at the multiples of `period`, which must not be zero, since the process's first beat. The first tick is at
/// most one period away; ticks that were missed are left out.
pub fn beat(period: Duration) -> Interval {
    let since = START.elapsed().as_nanos();
    let period_nanos = period.as_nanos().max(1);
    let to_next = period_nanos - since % period_nanos;
    let first = *START + Duration::from_nanos(u64::try_from(since + to_next).unwrap_or(u64::MAX));
    let mut interval = interval_at(first, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn beats_of_several_periods_fall_on_multiples_of_the_same_start() {
        for period in [Duration::from_millis(2), Duration::from_millis(3), Duration::from_millis(6)] {
            let mut beat = beat(period);
            for _ in 0..3 {
                let at = beat.tick().await.duration_since(*START);
                assert_eq!(at.as_nanos() % period.as_nanos(), 0, "{at:?} of {period:?}");
            }
        }
    }
}
