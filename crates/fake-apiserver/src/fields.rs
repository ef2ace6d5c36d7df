//! Who owns which label and annotation, as `managedFields` tells it.
//!
//! A field of an object is `labels` or `annotations`, and a key. An owner is a field manager together with the operation by
//! which it came to the field: the same name by another operation is another owner.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// `labels` or `annotations`, and the key in it.
pub(crate) type Field = (&'static str, String);

/// The two maps whose owners are tracked.
pub(crate) const MAPS: [&str; 2] = ["labels", "annotations"];

/// An owner: field manager and operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    pub manager: String,
    pub operation: &'static str,
}

impl Owner {
    pub fn applying(manager: &str) -> Owner {
        Owner { manager: manager.to_owned(), operation: "Apply" }
    }

    pub fn updating(manager: &str) -> Owner {
        Owner { manager: manager.to_owned(), operation: "Update" }
    }
}

/// All owners of an object with their fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owners(BTreeMap<Owner, BTreeSet<Field>>);

impl Owners {
    pub fn read(object: &Value) -> Owners {
        let mut owners = Owners::default();
        for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let operation = if entry["operation"] == "Apply" { "Apply" } else { "Update" };
            let manager = entry["manager"].as_str().unwrap_or_default().to_owned();
            for map in MAPS {
                let keys = entry["fieldsV1"]["f:metadata"][format!("f:{map}")].as_object();
                let keys = keys.into_iter().flatten().filter_map(|(key, _)| key.strip_prefix("f:"));
                let owner = Owner { manager: manager.clone(), operation };
                owners.0.entry(owner).or_default().extend(keys.map(|key| (map, key.to_owned())));
            }
        }
        owners
    }

    pub fn write(&self, object: &mut Value) {
        let entries = self.0.iter().filter(|(_, fields)| !fields.is_empty()).map(|(owner, fields)| {
            let mut maps: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
            for (map, key) in fields {
                maps.entry(format!("f:{map}")).or_default().insert(format!("f:{key}"), json!({}));
            }
            json!({
                "manager": owner.manager, "operation": owner.operation, "apiVersion": "v1",
                "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": maps },
            })
        });
        object["metadata"]["managedFields"] = entries.collect();
    }

    pub fn of(&self, owner: &Owner) -> BTreeSet<Field> {
        self.0.get(owner).cloned().unwrap_or_default()
    }

    pub fn set(&mut self, owner: Owner, fields: BTreeSet<Field>) {
        self.0.insert(owner, fields);
    }

    pub fn add(&mut self, owner: Owner, field: Field) {
        self.0.entry(owner).or_default().insert(field);
    }

    /// Takes a field from everybody but `keeper`.
    pub fn take(&mut self, field: &Field, keeper: Option<&Owner>) {
        for (owner, fields) in &mut self.0 {
            if Some(owner) != keeper {
                fields.remove(field);
            }
        }
    }

    /// The others that own a field.
    pub fn others(&self, field: &Field, but: &Owner) -> Vec<Owner> {
        let owns = |(owner, fields): &(&Owner, &BTreeSet<Field>)| *owner != but && fields.contains(field);
        self.0.iter().filter(owns).map(|(owner, _)| owner.clone()).collect()
    }
}

/// The labels and annotations of an object.
pub(crate) fn values(object: &Value) -> BTreeMap<Field, String> {
    let of = |map: &'static str| {
        let members = object["metadata"][map].as_object().into_iter().flatten();
        members.map(move |(key, value)| ((map, key.clone()), value.as_str().unwrap_or_default().to_owned()))
    };
    MAPS.into_iter().flat_map(of).collect()
}

/// Sets or removes one.
pub(crate) fn set_value(object: &mut Value, (map, key): &Field, value: Option<&str>) {
    let metadata = &mut object["metadata"];
    if !metadata[*map].is_object() {
        metadata[*map] = json!({});
    }
    let Some(members) = metadata[*map].as_object_mut() else { return };
    match value {
        Some(value) => drop(members.insert(key.clone(), Value::from(value))),
        None => drop(members.remove(key)),
    }
}
