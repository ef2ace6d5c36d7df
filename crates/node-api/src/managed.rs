//! `managedFields`: which field manager owns which label and annotation.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::field::Field;

/// One entry of `metadata.managedFields`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    subresource: String,
    #[serde(rename = "fieldsV1", default)]
    fields: Value,
}

/// Who owns a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ownership {
    pub manager: String,
    /// By server-side apply to the object itself; otherwise by an update, or by way of a subresource.
    pub applied: bool,
}

/// Which labels and annotations are owned by whom.
pub(crate) fn owners(entries: &[Entry]) -> BTreeMap<Field, BTreeSet<Ownership>> {
    let mut owners: BTreeMap<Field, BTreeSet<Ownership>> = BTreeMap::new();
    for entry in entries {
        let applied = entry.operation == "Apply" && entry.subresource.is_empty();
        let ownership = Ownership { manager: entry.manager.clone(), applied };
        let metadata = &entry.fields["f:metadata"];
        let labels = keys(&metadata["f:labels"]).map(|key| Field::Label(key.to_owned()));
        let annotations = keys(&metadata["f:annotations"]).map(|key| Field::Annotation(key.to_owned()));
        for field in labels.chain(annotations) {
            owners.entry(field).or_default().insert(ownership.clone());
        }
    }
    owners
}

/// The members `f:KEY` of a set of fields; `.`, the map itself, is none.
fn keys(set: &Value) -> impl Iterator<Item = &str> {
    set.as_object().into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("f:"))
}
