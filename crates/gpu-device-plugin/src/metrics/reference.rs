//! `docs/metrics.md`: the page of all metrics, from the descriptors of those that are registered; and the rules of Prometheus
//! for their names.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;

use prometheus::core::Collector;
use prometheus::proto::MetricType;

use super::*;

/// One metric as a person reads of it.
struct Entry {
    name: String,
    kind: &'static str,
    labels: Vec<String>,
    help: String,
}

/// Labels whose values are as many as the node has GPUs, resources, or kinds of things: a series for each pod or id would
/// grow without bound.
const BOUNDED: [&str; 18] = [
    "cause",
    "class",
    "commit",
    "component",
    "gpu",
    "gpu_instance",
    "health",
    "method",
    "name",
    "reason",
    "resource",
    "result",
    "role",
    "rustc",
    "state",
    "to",
    "version",
    "xid",
];

/// Units that are not Prometheus' base units, as parts of a name.
const NO_BASE_UNITS: [&str; 12] = [
    "ms",
    "millis",
    "milliseconds",
    "microseconds",
    "us",
    "ns",
    "minutes",
    "hours",
    "mb",
    "mib",
    "kb",
    "percent",
];

fn entries() -> Vec<Entry> {
    let collectors: RefCell<Vec<Box<dyn Collector>>> = RefCell::default();
    Metrics::declare(&|collector| {
        collectors.borrow_mut().push(collector);
        Ok(())
    })
    .unwrap();
    let mut collectors = collectors.into_inner();
    collectors.extend(daemon::own_metrics().unwrap());
    // One role stands for both: they have the same metrics.
    collectors.extend(node_driver::NvmlMetrics::of_reference(PREFIX).unwrap());
    let mut entries: Vec<Entry> = collectors.iter().map(|collector| entry(collector.as_ref())).collect();
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

fn entry(collector: &dyn Collector) -> Entry {
    let descriptions = collector.desc();
    let [description] = descriptions.as_slice() else { panic!("several metrics in one: {descriptions:?}") };
    let constant = description.const_label_pairs.iter().map(|pair| pair.name().to_owned());
    let kind = match collector.collect()[0].get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{}: {other:?}", description.fq_name),
    };
    Entry {
        name: description.fq_name.clone(),
        kind,
        labels: description.variable_labels.iter().cloned().chain(constant).collect(),
        help: description.help.clone(),
    }
}

impl Entry {
    /// What is counted, as the name says.
    fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        if name.ends_with("_seconds") {
            "seconds"
        } else if name.ends_with("_bytes") {
            "bytes"
        } else {
            "-"
        }
    }
}

const HEAD: &str = "\
# Metrics

`gpu-device-plugin` answers `GET /metrics` on its admin port, 9401, in Prometheus' text format, from memory: a scrape asks
neither the driver nor the kubelet. What has no value is absent. A series is removed with what it is about, but for those
of a resource, which the process remembers.

| Metric | Type | Labels | Unit | Meaning |
|---|---|---|---|---|
";

const TAIL: &str = "
The kubelet's stream is `time() - gantry_device_plugin_kubelet_stream_opened_timestamp_seconds` seconds old. A resource that the
kubelet does not have: `gantry_device_plugin_registered == 0`. A config that was refused: `gantry_device_plugin_config_valid == 0`.

This page is generated from the metrics that the program registers; `UPDATE_GOLDEN=1 cargo test -p gpu-device-plugin --lib
metrics` writes it anew.
";

#[test]
fn page_of_metrics_is_written_from_those_that_are_registered() {
    let mut page = HEAD.to_owned();
    for entry in entries() {
        let labels: Vec<String> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
        let _ = writeln!(
            page,
            "| `{}` | {} | {labels} | {} | {} |",
            entry.name,
            entry.kind,
            entry.unit(),
            entry.help
        );
    }
    page.push_str(TAIL);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    sim_node::assert_golden(&docs.join("metrics.md"), &page);
}

// The rules are those of promtool and of Prometheus' page "Metric and label naming".
#[test]
fn names_and_labels_follow_prometheus_rules() {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let all = entries();
    assert!(all.len() > 20);
    for Entry { name, kind, labels, help } in &all {
        assert!(is_name(name) && name.starts_with("gantry_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        let parts: Vec<&str> = name.split('_').collect();
        assert!(!parts.iter().any(|part| NO_BASE_UNITS.contains(part)), "{name}: no base unit");
        let is_suffix_of_ours = ["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        assert!(!is_suffix_of_ours && !parts.contains(kind), "{name} says what Prometheus adds");
        if *kind == "histogram" {
            assert!(name.ends_with("_seconds") || name.ends_with("_bytes"), "{name} has no unit");
        }
        for label in labels {
            assert!(is_name(label) && label != "le" && !label.starts_with("__"), "{name}: {label}");
            assert!(BOUNDED.contains(&label.as_str()), "{name}: may {label} have any number of values?");
        }
    }
    let names: std::collections::BTreeSet<&String> = all.iter().map(|entry| &entry.name).collect();
    assert_eq!(names.len(), all.len(), "two metrics of one name");
}
