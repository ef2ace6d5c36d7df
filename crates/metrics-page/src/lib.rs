//! A daemon's page of metrics, from the descriptors of those that it registers; and the rules of Prometheus for their names.
//!
//! It knows no daemon: each hands its metrics in, and says in its own words what is around the table.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use prometheus::core::Collector;
use prometheus::proto::MetricType;

/// One metric as a person reads of it.
#[derive(Clone, Debug)]
pub struct Entry {
    name: String,
    kind: &'static str,
    labels: Vec<String>,
    help: String,
}

/// Labels whose values are as many as the node has GPUs, resources, or kinds of things: a series for each pod or id would
/// grow without bound.
const BOUNDED: [&str; 21] = [
    "cause",
    "class",
    "commit",
    "component",
    "gpu",
    "gpu_instance",
    "health",
    "method",
    "name",
    "outcome",
    "output",
    "reason",
    "resource",
    "result",
    "role",
    "rustc",
    "state",
    "to",
    "verb",
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

/// What the page tells of these metrics, by name.
///
/// # Errors
/// A metric that is several in one, or of a kind that we do not have, in words.
pub fn entries(collectors: &[Box<dyn Collector>]) -> Result<Vec<Entry>, String> {
    let mut entries =
        collectors.iter().map(|collector| entry(collector.as_ref())).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn entry(collector: &dyn Collector) -> Result<Entry, String> {
    let descriptions = collector.desc();
    let [description] = descriptions.as_slice() else {
        return Err(format!("several metrics in one: {descriptions:?}"));
    };
    let constant = description.const_label_pairs.iter().map(|pair| pair.name().to_owned());
    let kind = match collector.collect().first().map(|family| family.get_field_type()) {
        Some(MetricType::COUNTER) => "counter",
        Some(MetricType::GAUGE) => "gauge",
        Some(MetricType::HISTOGRAM) => "histogram",
        other => return Err(format!("{}: {other:?}", description.fq_name)),
    };
    Ok(Entry {
        name: description.fq_name.clone(),
        kind,
        labels: description.variable_labels.iter().cloned().chain(constant).collect(),
        help: description.help.clone(),
    })
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

/// The table of them, in Markdown.
pub fn table(entries: &[Entry]) -> String {
    let mut table = "| Metric | Type | Labels | Unit | Meaning |\n|---|---|---|---|---|\n".to_owned();
    for entry in entries {
        let labels: Vec<String> = entry.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(", ") };
        let Entry { name, kind, help, .. } = entry;
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {} | {help} |", entry.unit());
    }
    table
}

/// What of them breaks the rules of promtool and of Prometheus' page "Metric and label naming", in words.
pub fn broken_rules(entries: &[Entry]) -> Vec<String> {
    let mut broken: Vec<String> = entries.iter().flat_map(broken_by).collect();
    let names: BTreeSet<&String> = entries.iter().map(|entry| &entry.name).collect();
    if names.len() != entries.len() {
        broken.push("two metrics of one name".to_owned());
    }
    broken
}

fn broken_by(Entry { name, kind, labels, help }: &Entry) -> Vec<String> {
    let is_name = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let parts: Vec<&str> = name.split('_').collect();
    let is_suffix_of_theirs = ["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
    let has_unit = name.ends_with("_seconds") || name.ends_with("_bytes");
    let is_bad_label = |label: &&String| !is_name(label) || *label == "le" || label.starts_with("__");
    let is_endless = |label: &&String| !BOUNDED.contains(&label.as_str());
    let rules = [
        (!is_name(name) || !name.starts_with("gantry_"), "is no name of ours"),
        (name.ends_with("_total") != (*kind == "counter"), "counters end with _total, and nothing else does"),
        (!help.ends_with('.') || help.contains('|'), "its help is no sentence for a table"),
        (parts.iter().any(|part| NO_BASE_UNITS.contains(part)), "has no base unit"),
        (is_suffix_of_theirs || parts.contains(kind), "says what Prometheus adds"),
        (*kind == "histogram" && !has_unit, "has no unit"),
        (labels.iter().any(|label| is_bad_label(&label)), "has a label that is none"),
        (labels.iter().any(|label| is_endless(&label)), "has a label of any number of values"),
    ];
    rules.iter().filter(|(is_broken, _)| *is_broken).map(|(_, rule)| format!("{name} {rule}")).collect()
}
