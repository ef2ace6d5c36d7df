//! Rules on labels, and objects as their metadata alone.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::fields::{Field, values};

const VALUE_RULE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// Refuses an object with a label that cannot be one.
pub(crate) fn check(kind: &str, name: &str, object: &Value) -> Result<(), Answer> {
    for ((map, key), value) in values(object) {
        if !qualified(&key) {
            let text = format!("Invalid value: {key:?}: name part must consist of alphanumeric characters");
            return Err(Answer::invalid(kind, name, &format!("metadata.{map}"), &text));
        }
        if map == "labels" && !label_value(&value) {
            let text = format!("Invalid value: {value:?}: {VALUE_RULE}");
            return Err(Answer::invalid(kind, name, "metadata.labels", &text));
        }
    }
    Ok(())
}

/// Whether a key is in an object.
pub(crate) fn has(object: &Value, key: &str) -> Option<Field> {
    values(object).into_keys().find(|(_, found)| found == key)
}

/// An object as clients see it that ask for metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
    })
}

fn qualified(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    !name.is_empty() && label_value(name)
}

fn label_value(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    value.len() <= 63
        && value.chars().all(inner)
        && value.chars().next().is_none_or(outer)
        && value.chars().next_back().is_none_or(outer)
}
