//! The clock that the rules of health go by, and the timers' clock beside it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
pub use node_contract::now;

/// The timers' name for `due`, a time since the boot; now, if it is over.
pub fn instant_of(due: Duration) -> Instant {
    Instant::now() + due.saturating_sub(now().up)
}

/// A time of the ledger, in milliseconds since 1970, as people read it; none if it cannot be.
pub fn timestamp(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}
