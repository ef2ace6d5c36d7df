//! The gauge of devices that the kubelet may place no work on: a series for each resource and cause, and none for what is
//! over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGaugeVec;

use super::to_gauge;
use crate::state::{Device, State};

/// Labels of the gauge.
pub(super) const LABELS: [&str; 2] = ["resource", "cause"];

/// Cause of what the host lacks something for.
const LACKING: &str = "lacking";

/// Cause of what is offered no more.
const RETIRED: &str = "retired";

/// Handles on the gauge; clones share it.
#[derive(Clone, Debug)]
pub(super) struct UnavailableGauge {
    gauge: IntGaugeVec,
    /// What is shown of each resource.
    shown: Arc<Mutex<BTreeMap<String, BTreeMap<String, usize>>>>,
}

impl UnavailableGauge {
    pub(super) fn new(gauge: IntGaugeVec) -> UnavailableGauge {
        UnavailableGauge { gauge, shown: Arc::default() }
    }

    /// Shows what is so of a resource now, and nothing else of it.
    pub(super) fn show(&self, resource: &str, state: &State) {
        let now = causes(state);
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.entry(resource.to_owned()).or_default();
        for over in shown.keys().filter(|cause| !now.contains_key(*cause)) {
            // Nobody else removes any.
            let _ = self.gauge.remove_label_values(&[resource, over.as_str()]);
        }
        for (cause, count) in &now {
            self.gauge.with_label_values(&[resource, cause.as_str()]).set(to_gauge(*count as u64));
        }
        *shown = now;
    }
}

/// How many ids cannot be had, by the first cause of each.
fn causes(state: &State) -> BTreeMap<String, usize> {
    let mut causes = BTreeMap::new();
    for device in state.devices.iter().filter(|device| !device.is_schedulable()) {
        *causes.entry(cause(device)).or_default() += device.count();
    }
    if !state.retired.is_empty() {
        causes.insert(RETIRED.to_owned(), state.retired.len());
    }
    causes
}

fn cause(device: &Device) -> String {
    let reason = device.health.reasons().first().filter(|_| !device.health.is_schedulable());
    reason.map_or_else(|| LACKING.to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use gpu_model::{Health, HealthReason};
    use prometheus::Opts;
    use prometheus::core::Collector;

    use super::*;
    use crate::state::tests::{node, shared};

    #[test]
    fn ids_that_cannot_be_had_are_counted_by_cause_and_what_is_over_is_dropped() {
        let gauge = IntGaugeVec::new(Opts::new("unavailable", "Devices."), &LABELS).unwrap();
        let gauge = UnavailableGauge::new(gauge);
        let shown = || {
            let families = gauge.gauge.collect();
            let one = |metric: &prometheus::proto::Metric| {
                (metric.get_label()[0].value().to_owned(), metric.get_gauge().get_value() as u64)
            };
            families[0].get_metric().iter().map(one).collect::<BTreeMap<_, _>>()
        };
        let mut state = shared(3, 4);
        state.devices[0].health = Health::Unhealthy { reason: HealthReason::Xid { xid: 79 } };
        state.devices[1].lacking = Some("no node".to_owned());
        state.retired = vec!["GPU-1".to_owned()];
        gauge.show("nvidia.com/gpu", &state);
        let pair = |cause: &str, count| (cause.to_owned(), count);
        let expected = [pair("lacking", 4), pair("retired", 1), pair("xid-79", 4)];
        assert_eq!(shown(), BTreeMap::from(expected));
        gauge.show("nvidia.com/gpu", &node(1));
        assert!(shown().is_empty());
    }
}
