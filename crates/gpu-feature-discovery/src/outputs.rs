//! Where labels go. Each output is a task of its own that follows what there is to show, so that one that hangs holds up
//! no other.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::args::Format;
use crate::labels::Labels;

pub mod cluster;
mod features;
pub mod file;
pub mod stdout;

/// The labels in a form.
pub fn in_form(labels: &Labels, format: Format) -> String {
    match format {
        Format::Table => {
            let head = vec!["LABEL".to_owned(), "VALUE".to_owned()];
            let rows = labels.iter().map(|(key, value)| vec![key.to_string(), value.to_string()]);
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
            daemon::aligned(&rows)
        }
        Format::Json => json(labels),
        Format::Plain => plain(labels),
    }
}

/// A line `key=value` for each, as Node Feature Discovery reads them.
pub fn plain(labels: &Labels) -> String {
    let mut text = String::new();
    for (key, value) in labels {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

/// An object of labels.
pub fn json(labels: &Labels) -> String {
    // Maps of text have a form in JSON.
    let mut text = serde_json::to_string_pretty(&texts(labels)).unwrap_or_default();
    text.push('\n');
    text
}

/// As plain text.
pub fn texts(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
