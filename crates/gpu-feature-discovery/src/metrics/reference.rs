//! `docs/metrics-feature-discovery.md`: the page of all metrics, from the descriptors of those that are registered.

use std::path::Path;

use metrics_page::{Entry, broken_rules, table};

use super::*;

const HEAD: &str = "\
# Metrics of feature discovery

`gpu-feature-discovery` answers `GET /metrics` on its admin port, 9402, in Prometheus' text format, from memory.

";

const TAIL: &str = "
A driver that has been away for a while: `gantry_component_ready{component=\"driver\"} == 0`. Requests at rest:
`increase(gantry_feature_discovery_api_requests_total[1h])`, which is the watch of the own Node alone.

This page is generated from the metrics that the program registers; `UPDATE_GOLDEN=1 cargo test -p gpu-feature-discovery --lib
metrics` writes it anew.
";

fn entries() -> Vec<Entry> {
    let metrics = Metrics::new().unwrap();
    let mut collectors: Vec<Box<dyn Collector>> = metrics.collectors().into();
    collectors.push(Box::new(requests_total().unwrap()));
    collectors.extend(daemon::own_metrics().unwrap());
    collectors.extend(node_driver::NvmlMetrics::of_reference(PREFIX).unwrap());
    metrics_page::entries(&collectors).unwrap()
}

#[test]
fn page_of_metrics_is_written_from_those_that_are_registered() {
    let page = format!("{HEAD}{}{TAIL}", table(&entries()));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    sim_node::assert_golden(&docs.join("metrics-feature-discovery.md"), &page);
}

#[test]
fn names_and_labels_follow_prometheus_rules() {
    assert_eq!(broken_rules(&entries()), Vec::<String>::new());
}
