//! The clock that leases and health go by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gpu_health::Moment;
use rustix::time::{ClockId, clock_gettime};

/// This moment.
pub fn now() -> Moment {
    // The clock of `Instant`: it begins with the boot, and no other process of this boot has another one.
    let up = clock_gettime(ClockId::Monotonic);
    let up = Duration::new(u64::try_from(up.tv_sec).unwrap_or(0), u32::try_from(up.tv_nsec).unwrap_or(0));
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment { up, unix_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
}
