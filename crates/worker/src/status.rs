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
    /// What is wrong at the time `now`, for people; `None` while all is well or the owner wanted it so.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        match self {
            State::Absent | State::Running { .. } | State::Closed => None,
            State::Slow { call, since, .. } => {
                let seconds = now.saturating_duration_since(*since).as_secs();
                Some(format!("in {call} for {seconds} s"))
            }
            State::BackingOff { until, reason } => {
                let seconds = until.saturating_duration_since(now).as_secs_f64().ceil();
                Some(format!("pausing for {seconds} s, because the last one failed: {reason}"))
            }
            State::Full => Some("too many of its processes hang and cannot be ended".to_owned()),
            State::Lost => Some("the thread that tends it died".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn trouble_says_the_call_and_for_how_long() {
        let since = Instant::now();
        let slow = State::Slow { pid: 1, call: "fakeHang".into(), since };
        let told = slow.trouble(since + Duration::from_secs(12));
        assert_eq!(told.as_deref(), Some("in fakeHang for 12 s"));
        let until = since + Duration::from_millis(1500);
        let pausing = State::BackingOff { until, reason: "it died".into() };
        let told = pausing.trouble(since);
        assert_eq!(told.as_deref(), Some("pausing for 2 s, because the last one failed: it died"));
        assert_eq!(State::Running { pid: 1 }.trouble(since), None);
    }
}
