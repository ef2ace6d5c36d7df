//! How the workers are, for readiness and metrics.

/// Both workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The worker that answers queries.
    pub queries: worker::Status,
    /// The worker that waits for events.
    pub events: worker::Status,
}

impl Status {
    /// What is wrong with the workers, for `/ready`: a call that is slow, a pause after a failure, too many that hang.
    /// `None` while all is well.
    pub fn trouble(&self) -> Option<String> {
        let roles = [("queries", &self.queries), ("events", &self.events)];
        let troubles = roles.map(|(role, status)| {
            status.state.trouble().map(|trouble| format!("the NVML worker for {role}: {trouble}"))
        });
        let troubles: Vec<String> = troubles.into_iter().flatten().collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }
}
