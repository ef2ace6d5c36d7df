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
    /// The thread that tends it died: a defect of this program. No request is answered any more.
    Lost,
}

impl State {
    /// What is wrong, for people; `None` while all is well or the owner wanted it so. It stays true for as long as the
    /// state lasts: nobody is told that time passes.
    pub fn trouble(&self) -> Option<String> {
        match self {
            State::Absent | State::Running { .. } | State::Closed => None,
            State::Slow { call, .. } => Some(format!("in {call} for more than a second")),
            State::BackingOff { reason, .. } => Some(format!("pausing after a failure: {reason}")),
            State::Full => Some("too many of its processes hang and cannot be ended".to_owned()),
            State::Lost => Some("the thread that tends it died".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_says_the_call_or_the_failure_in_words_that_stay_true() {
        let now = Instant::now();
        let slow = State::Slow { pid: 1, call: "fakeHang".into(), since: now };
        assert_eq!(slow.trouble().as_deref(), Some("in fakeHang for more than a second"));
        let pausing = State::BackingOff { until: now, reason: "it died".into() };
        assert_eq!(pausing.trouble().as_deref(), Some("pausing after a failure: it died"));
        assert_eq!(State::Running { pid: 1 }.trouble(), None);
    }
}
