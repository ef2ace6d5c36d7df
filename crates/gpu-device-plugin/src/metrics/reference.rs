//! `docs/metrics.md`: the page of all metrics, from the descriptors of those that are registered.

use std::cell::RefCell;
use std::path::Path;

use metrics_page::{Entry, broken_rules, table};
use prometheus::core::Collector;

use super::*;

fn entries() -> Vec<Entry> {
    let collectors: RefCell<Vec<Box<dyn Collector>>> = RefCell::default();
    Metrics::declare(&|collector| {
        collectors.borrow_mut().push(collector);
        Ok(())
    })
    .unwrap();
    let mut collectors = collectors.into_inner();
    collectors.extend(daemon::own_metrics().unwrap());
    collectors.extend(node_driver::NvmlMetrics::of_reference(PREFIX).unwrap());
    metrics_page::entries(&collectors).unwrap()
}

const HEAD: &str = "\
# Metrics

`gpu-device-plugin` answers `GET /metrics` on its admin port, 9401, in Prometheus' text format, from memory: a scrape asks
neither the driver nor the kubelet. What has no value is absent. A series is removed with what it is about, but for those
of a resource, which the process remembers.

";

const TAIL: &str = "
The kubelet's stream is `time() - gantry_device_plugin_kubelet_stream_opened_timestamp_seconds` seconds old. A resource that the
kubelet does not have: `gantry_device_plugin_registered == 0`. A config that was refused: `gantry_device_plugin_config_valid == 0`.

This page is generated from the metrics that the program registers; `UPDATE_GOLDEN=1 cargo test -p gpu-device-plugin --lib
metrics` writes it anew.
";

#[test]
fn page_of_metrics_is_written_from_those_that_are_registered() {
    let page = format!("{HEAD}{}{TAIL}", table(&entries()));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    sim_node::assert_golden(&docs.join("metrics.md"), &page);
}

#[test]
fn names_and_labels_follow_prometheus_rules() {
    let all = entries();
    assert!(all.len() > 20);
    assert_eq!(broken_rules(&all), Vec::<String>::new());
}
