//! Server-side apply and ordinary updates of labels and annotations. Pure: object in, object or conflict out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::fields::{Field, MAPS, Owner, Owners, set_value, values};

/// Applies `intent` as `manager`.
pub(crate) fn apply(object: &Value, intent: &Value, manager: &str, force: bool) -> Result<Value, Answer> {
    let (mut object, mut owners) = (object.clone(), Owners::read(object));
    let (applier, present, wanted) = (Owner::applying(manager), values(&object), values(intent));
    let mut causes = Vec::new();
    for (field, value) in &wanted {
        if present.get(field).is_none_or(|present| present == value) {
            continue;
        }
        for other in owners.others(field, &applier) {
            causes.push((field.clone(), other));
        }
        if force {
            owners.take(field, Some(&applier));
        }
    }
    if !causes.is_empty() && !force {
        return Err(conflict(&causes));
    }
    for gone in owners.of(&applier).into_iter().filter(|field| !wanted.contains_key(field)) {
        if owners.others(&gone, &applier).is_empty() {
            set_value(&mut object, &gone, None);
        }
    }
    for (field, value) in &wanted {
        set_value(&mut object, field, Some(value));
    }
    owners.set(applier, wanted.into_keys().collect());
    owners.write(&mut object);
    Ok(object)
}

/// Sets (or removes, with none) labels and annotations as an update by `manager`, which others' ownership gives way to.
pub(crate) fn update(object: &Value, changes: &BTreeMap<Field, Option<String>>, manager: &str) -> Value {
    let (mut object, mut owners) = (object.clone(), Owners::read(object));
    let (updater, present) = (Owner::updating(manager), values(&object));
    for (field, value) in changes {
        match value {
            Some(value) if present.get(field) == Some(value) => {}
            Some(value) => {
                owners.take(field, None);
                owners.add(updater.clone(), field.clone());
                set_value(&mut object, field, Some(value));
            }
            None => {
                owners.take(field, None);
                set_value(&mut object, field, None);
            }
        }
    }
    owners.write(&mut object);
    object
}

/// What a merge patch does to labels and annotations.
pub(crate) fn merge_changes(patch: &Value) -> BTreeMap<Field, Option<String>> {
    let of = |map: &'static str| {
        let members = patch["metadata"][map].as_object().into_iter().flatten();
        members.map(move |(key, value)| ((map, key.clone()), value.as_str().map(str::to_owned)))
    };
    MAPS.into_iter().flat_map(of).collect()
}

fn conflict(causes: &[(Field, Owner)]) -> Answer {
    let list: Vec<Value> = causes
        .iter()
        .map(|((map, key), owner)| {
            let by = match owner.operation {
                "Update" => format!("conflict with {:?} using v1", owner.manager),
                _ => format!("conflict with {:?}", owner.manager),
            };
            let field = format!(".metadata.{map}.{key}");
            json!({ "reason": "FieldManagerConflict", "message": by, "field": field })
        })
        .collect();
    let fields: BTreeSet<&str> = list.iter().filter_map(|cause| cause["field"].as_str()).collect();
    let plural = if list.len() == 1 { "" } else { "s" };
    let message = format!("Apply failed with {} conflict{plural}: {fields:?}", list.len());
    Answer::failure(409, "Conflict", message, list)
}
