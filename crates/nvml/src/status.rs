//! How the workers are, for readiness and metrics.

/// Both workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The worker that answers queries.
    pub queries: worker::Status,
    /// The worker that waits for events.
    pub events: worker::Status,
}
