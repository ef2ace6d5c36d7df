//! All waits of this crate, as values.

use std::time::Duration;

/// How long is waited for what. All of it is monotonic time: a step of the wall clock changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From a request to the end of its answer; for a watch, to the answer's headers.
    pub answer: Duration,
    /// The pause after a first failure; it doubles with each further one.
    pub first_retry: Duration,
    /// The longest pause after failures that name no wait of their own.
    pub max_retry: Duration,
    /// The longest wait that a server's `Retry-After` is heeded for.
    pub max_retry_after: Duration,
    /// A watch that brings nothing for so long is taken for dead. API servers send a bookmark about once a minute.
    pub watch_idle: Duration,
    /// Between looks where a watch isn't allowed or not possible.
    pub poll: Duration,
    /// Until a key that an admission rule refused is tried again. One that another field manager owns is tried when the
    /// Node shows that it is free.
    pub refused_retry: Duration,
    /// The pause before the second of several restorations in a row; the first has none.
    pub restore_first: Duration,
    /// The longest pause between restorations.
    pub restore_max: Duration,
    /// The time without restoration after which the next one is a first one again.
    pub restore_calm: Duration,
    /// Until the same event is worth telling again.
    pub same_event: Duration,
    /// Between two events, on average.
    pub event_spacing: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            answer: Duration::from_secs(15),
            first_retry: Duration::from_secs(1),
            max_retry: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(300),
            watch_idle: Duration::from_secs(240),
            poll: Duration::from_secs(60),
            refused_retry: Duration::from_secs(600),
            restore_first: Duration::from_secs(1),
            restore_max: Duration::from_secs(300),
            restore_calm: Duration::from_secs(900),
            same_event: Duration::from_secs(3600),
            event_spacing: Duration::from_secs(30),
        }
    }
}
