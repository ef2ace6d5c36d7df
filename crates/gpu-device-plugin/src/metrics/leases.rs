//! The metrics of leases.

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::{Declare, to_gauge};

/// Handles on the metrics; clones share them.
#[derive(Clone, Debug)]
pub(super) struct LeaseMetrics {
    gpus: IntGauge,
    leases: IntGaugeVec,
    acknowledgements: IntCounter,
}

impl LeaseMetrics {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<LeaseMetrics, prometheus::Error> {
        Ok(LeaseMetrics {
            gpus: declare
                .plain_gauge("leased_gpus", "GPUs that are leased, such as for a driver upgrade.")?,
            leases: declare.gauge(
                "leases",
                "Leases that count now, by whether this plugin has let go of their GPUs.",
                &["state"],
            )?,
            acknowledgements: declare
                .plain_counter("lease_acknowledgements_total", "Leases that were acknowledged.")?,
        })
    }

    pub(super) fn show(&self, gpus: usize, acknowledged: usize, waiting: usize) {
        self.gpus.set(to_gauge(gpus as u64));
        for (state, count) in [("acknowledged", acknowledged), ("waiting", waiting)] {
            self.leases.with_label_values(&[state]).set(to_gauge(count as u64));
        }
    }

    pub(super) fn acknowledged(&self) {
        self.acknowledgements.inc();
    }
}
