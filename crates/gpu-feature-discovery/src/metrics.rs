//! Every metric of feature discovery, declared and touched here alone.

use node_api::Requests;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

#[cfg(test)]
mod reference;

/// What every name begins with.
pub const PREFIX: &str = "gantry_feature_discovery";

/// Handles on the metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    looks: IntCounterVec,
    labels: IntGauge,
    changes: IntCounter,
    writes: IntCounterVec,
    refused: IntGauge,
    restored: IntCounter,
    config_valid: IntGauge,
    config_reads: IntCounterVec,
}

impl Metrics {
    /// Declares all metrics and registers them.
    ///
    /// # Errors
    /// When a name is taken already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::new()?;
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn new() -> Result<Self, prometheus::Error> {
        Ok(Self {
            looks: IntCounterVec::new(
                opts(
                    "looks_total",
                    "Looks at the machine, by result: `ok`, `partial` with GPUs that were missed, or why the driver told nothing.",
                ),
                &["result"],
            )?,
            labels: IntGauge::with_opts(opts("labels", "Labels that there are now."))?,
            changes: IntCounter::with_opts(opts(
                "label_changes_total",
                "Looks after which labels were others.",
            ))?,
            writes: IntCounterVec::new(
                opts("output_writes_total", "Attempts to write an output that is a file, by result."),
                &["output", "result"],
            )?,
            refused: IntGauge::with_opts(opts(
                "refused_keys",
                "Keys that are left out on the Node, since another field manager holds them or the API server refuses them.",
            ))?,
            restored: IntCounter::with_opts(opts(
                "restored_keys_total",
                "Keys put back on the Node after another took or changed them.",
            ))?,
            config_valid: IntGauge::with_opts(opts(
                "config_valid",
                "1 while the config file can be used, 0 while the last good one stays in force instead of it.",
            ))?,
            config_reads: IntCounterVec::new(
                opts(
                    "config_reads_total",
                    "Config files that were read and differed from the one before, by result.",
                ),
                &["result"],
            )?,
        })
    }

    fn collectors(&self) -> [Box<dyn Collector>; 8] {
        [
            Box::new(self.looks.clone()),
            Box::new(self.labels.clone()),
            Box::new(self.changes.clone()),
            Box::new(self.writes.clone()),
            Box::new(self.refused.clone()),
            Box::new(self.restored.clone()),
            Box::new(self.config_valid.clone()),
            Box::new(self.config_reads.clone()),
        ]
    }

    /// Counts the requests to the Kubernetes API, too.
    ///
    /// # Errors
    /// When the name is taken already.
    pub fn requests(&self, registry: &Registry, requests: Requests) -> Result<(), prometheus::Error> {
        registry.register(Box::new(RequestMetrics { requests, total: requests_total()? }))
    }

    /// A look came to this, and there are so many labels.
    pub fn looked(&self, result: &str, labels: usize) {
        self.looks.with_label_values(&[result]).inc();
        self.labels.set(to_gauge(labels as u64));
    }

    /// Labels became others.
    pub fn changed(&self) {
        self.changes.inc();
    }

    /// An output was written, or could not be.
    pub fn written(&self, output: &str, result: &str) {
        self.writes.with_label_values(&[output, result]).inc();
    }

    /// How keys on the Node fare: so many are refused now, and so many were restored so far.
    pub fn node(&self, refused: usize, restored: u64) {
        self.refused.set(to_gauge(refused as u64));
        self.restored.inc_by(restored.saturating_sub(self.restored.get()));
    }

    /// A config file was read that differs from the one before.
    pub fn config(&self, is_valid: bool) {
        self.config_valid.set(i64::from(is_valid));
        self.config_reads.with_label_values(&[if is_valid { "ok" } else { "invalid" }]).inc();
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}_{name}"), help)
}

fn requests_total() -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(
        opts(
            "api_requests_total",
            "Requests to the Kubernetes API, by how they ended: HTTP's code, or what kept it away.",
        ),
        &["verb", "resource", "outcome"],
    )
}

fn to_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads the requests' counts when it is scraped.
#[derive(Debug)]
struct RequestMetrics {
    requests: Requests,
    total: IntCounterVec,
}

impl Collector for RequestMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.total.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (kind, count) in self.requests.counts() {
            let counter = self.total.with_label_values(&[kind.verb, kind.resource, &kind.outcome]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        self.total.collect()
    }
}
