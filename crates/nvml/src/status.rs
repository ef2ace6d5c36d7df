//! How the workers are, for readiness and metrics.

use std::time::Instant;

/// Both workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The worker that answers queries.
    pub queries: worker::Status,
    /// The worker that waits for events.
    pub events: worker::Status,
}

impl Status {
    /// What is wrong with the workers at the time `now`, for `/ready`: a call that is slow and since when,
    /// a pause after a failure, too many that hang. `None` while all is well.
    pub fn trouble(&self, now: Instant) -> Option<String> {
        let roles = [("queries", &self.queries), ("events", &self.events)];
        let troubles = roles.map(|(role, status)| {
            status.state.trouble(now).map(|trouble| format!("the NVML worker for {role}: {trouble}"))
        });
        let troubles: Vec<String> = troubles.into_iter().flatten().collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}
