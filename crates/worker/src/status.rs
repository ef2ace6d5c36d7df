//! How the worker of one role is, for readiness and metrics.

use std::time::Instant;

/// One role's worker, present and past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub state: State,
    /// Workers that were given up and have not gone yet.
    pub abandoned: usize,
    /// Foreign calls made so far, by all workers of the role.
    pub calls: u64,
    /// Workers started so far.
    pub starts: u64,
}

/// What a worker is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// There is no worker; the next request starts one.
    #[default]
    Absent,
    /// It runs.
    Running {
        /// Its process id.
        pid: u32,
    },
    /// It has been in one call, which is not one of waiting, for longer than a second.
    Slow {
        /// Its process id.
        pid: u32,
        /// The foreign call, or what the worker does itself.
        call: String,
        /// When it began.
        since: Instant,
    },
    /// The last one failed; the next one is not started before `until`.
    BackingOff {
        /// When the pause ends.
        until: Instant,
        /// How the last one failed.
        reason: String,
    },
    /// As many workers as allowed hang; none is started until one goes.
    Full,
    /// It was closed.
    Closed,
}
