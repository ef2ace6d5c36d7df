//! The clock that the rules of health go by, and the timers' clock beside it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gpu_health::Moment;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// This moment.
pub fn now() -> Moment {
    // The clock of `Instant`: it begins with the boot, and no other process of this boot has another one.
    let up = clock_gettime(ClockId::Monotonic);
    let up = Duration::new(u64::try_from(up.tv_sec).unwrap_or(0), u32::try_from(up.tv_nsec).unwrap_or(0));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { up, unix_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}

/// The timers' name for `due`, a time since the boot; now, if it is over.
pub fn instant_of(due: Duration) -> Instant {
    Instant::now() + due.saturating_sub(now().up)
}

/// A time of the ledger, in milliseconds since 1970, as people read it; none if it cannot be.
pub fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}
