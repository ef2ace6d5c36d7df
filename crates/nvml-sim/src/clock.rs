//! The node's own clock: real, shifted, or stopped, so that times and counters can be golden. It knows no
//! counter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How the simulated node tells time; all in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// The machine's clock.
    #[default]
    Real,
    /// The machine's clock and so many microseconds more.
    Ahead(u64),
    /// Stopped at a time.
    Frozen(u64),
}

impl Clock {
    /// The time now, in microseconds since 1970.
    pub fn now_us(&self) -> u64 {
        self.at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The time when the machine's clock shows `real` since 1970.
    pub fn at(&self, real: Duration) -> u64 {
        let real = u64::try_from(real.as_micros()).unwrap_or(u64::MAX);
        match self {
            Clock::Real => real,
            Clock::Ahead(by) => real.saturating_add(*by),
            Clock::Frozen(at) => *at,
        }
    }

    /// How long it takes until the clock shows a time, if it runs.
    pub fn until(&self, time_us: u64) -> Option<Duration> {
        match self {
            Clock::Frozen(_) => None,
            _ => Some(Duration::from_micros(time_us.saturating_sub(self.now_us()))),
        }
    }

    /// This clock, stopped at what it shows.
    pub fn freeze(self) -> Clock {
        Clock::Frozen(self.now_us())
    }

    /// This clock, running again. It goes on from where it is, or from the machine's time where that is later: it
    /// never goes back, since counters follow it.
    pub fn resume(self) -> Clock {
        self.resume_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// The same when the machine's clock shows `real` since 1970.
    pub fn resume_at(self, real: Duration) -> Clock {
        let real = Clock::Real.at(real);
        match self {
            Clock::Real | Clock::Ahead(0) => Clock::Real,
            Clock::Ahead(by) => Clock::Ahead(by),
            Clock::Frozen(at) if at > real => Clock::Ahead(at - real),
            Clock::Frozen(_) => Clock::Real,
        }
    }

    /// This clock, moved on. A stopped clock stays stopped.
    pub fn advance(self, by: Duration) -> Clock {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        match self {
            Clock::Real => Clock::Ahead(by),
            Clock::Ahead(before) => Clock::Ahead(before.saturating_add(by)),
            Clock::Frozen(at) => Clock::Frozen(at.saturating_add(by)),
        }
    }
}
