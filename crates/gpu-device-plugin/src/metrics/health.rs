//! The gauge of what holds of each GPU: a series for each GPU or GPU instance and reason, and none for what is over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use gpu_health::Record;
use prometheus::IntGaugeVec;

use super::name_of;

/// Handles on the gauge; clones share it.
#[derive(Clone, Debug)]
pub(super) struct HealthGauge {
    gauge: IntGaugeVec,
    shown: Arc<Mutex<BTreeSet<[String; 4]>>>,
}

/// Labels of the gauge.
pub(super) const LABELS: [&str; 4] = ["gpu", "gpu_instance", "state", "reason"];

impl HealthGauge {
    pub(super) fn new(gauge: IntGaugeVec) -> HealthGauge {
        HealthGauge { gauge, shown: Arc::default() }
    }

    /// Shows these and no others.
    pub(super) fn show(&self, records: &[Record]) {
        let now: BTreeSet<[String; 4]> = records.iter().flat_map(series).collect();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        for over in shown.difference(&now) {
            // Nobody else removes any.
            let _ = self.gauge.remove_label_values(&over.each_ref().map(String::as_str));
        }
        for news in now.difference(&shown) {
            self.gauge.with_label_values(&news.each_ref().map(String::as_str)).set(1);
        }
        *shown = now;
    }
}

fn series(record: &Record) -> Vec<[String; 4]> {
    let gpu = record.subject.gpu.to_string();
    let instance = record.subject.gpu_instance.map_or_else(String::new, |id| id.to_string());
    let state = name_of(&record.health).to_owned();
    let mut reasons: Vec<String> = record.health.reasons().iter().map(ToString::to_string).collect();
    if reasons.is_empty() {
        reasons.push(String::new());
    }
    reasons.into_iter().map(|reason| [gpu.clone(), instance.clone(), state.clone(), reason]).collect()
}

#[cfg(test)]
mod tests {
    use gpu_health::Subject;
    use gpu_model::{Health, HealthReason};
    use prometheus::core::Collector;

    use super::*;

    #[test]
    fn gauge_shows_what_holds_and_drops_what_is_over() {
        let opts = prometheus::Opts::new("gpu_health", "Health.");
        let gauge = HealthGauge::new(IntGaugeVec::new(opts, &LABELS).unwrap());
        let record = |health| Record {
            subject: Subject::gpu("GPU-00000000-0000-0000-0000-000000000001".parse().unwrap()),
            health,
            since_unix_ms: 0,
            fence: None,
            cleared: None,
            awaits: None,
        };
        let shown = || {
            let families = gauge.gauge.collect();
            let metrics = families[0].get_metric().iter();
            let value =
                |metric: &prometheus::proto::Metric, at: usize| metric.get_label()[at].value().to_owned();
            metrics.map(|metric| (value(metric, 3), value(metric, 2))).collect::<BTreeSet<_>>()
        };
        let reasons = vec![HealthReason::RemapPending, HealthReason::SramErrors];
        gauge.show(&[record(Health::Degraded { reasons })]);
        let pair = |state: &str, reason: &str| (state.to_owned(), reason.to_owned());
        assert_eq!(
            shown(),
            BTreeSet::from([pair("degraded", "remap-pending"), pair("degraded", "sram-errors")])
        );
        gauge.show(&[record(Health::Healthy)]);
        assert_eq!(shown(), BTreeSet::from([pair("healthy", "")]));
    }
}
