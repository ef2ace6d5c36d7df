//! What stands in for what was kept and cannot be read, as after an update that was taken back. What is lost counts as the worst
//! that it may have been: a GPU as Unhealthy, and a fence as a fence.
//!
//! It works on the kept document, before that becomes a [`SavedLedger`].

use gpu_model::{GpuUuid, HealthReason};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::SavedLedger;
use crate::entry::Entry;
use crate::level::Level;
use crate::transition::Word;
use crate::xid::Proof;

/// Stands for what a person said that cannot be read.
const UNREADABLE: &str = "unreadable";

impl SavedLedger {
    /// Mends what was `kept` of a ledger, where `place` in it (keys and positions) cannot be read. Of a GPU whose record that
    /// concerns, everything stays that can be read; it, or its GPU instance, becomes Unhealthy until the node is booted or
    /// a person clears it. None where nothing stands in.
    pub fn mend(kept: &mut Value, place: &[&str]) -> Option<()> {
        match place {
            ["gpus", gpu, ..] => {
                let gpus = kept.get_mut("gpus")?.as_object_mut()?;
                if gpu.parse::<GpuUuid>().is_err() {
                    // No driver lists a GPU under this name.
                    return gpus.remove(*gpu).map(drop);
                }
                let record = gpus.get_mut(*gpu)?;
                *record = json(&entry(record));
            }
            // Without them, less is taken for proven, and a GPU may go that the breaker would have held back.
            [field @ ("driver" | "off" | "breaker"), ..] => {
                *kept.get_mut(field)? = json(&SavedLedger::default()).get(field)?.clone();
            }
            _ => return None,
        }
        Some(())
    }
}

/// A GPU whose record cannot be read as it is.
fn entry(kept: &Value) -> Entry {
    let own = level(kept.get("own").unwrap_or(&Value::Null));
    let mut fields = kept.as_object().cloned().unwrap_or_default();
    fields.insert("own".to_owned(), json(&own));
    if let Some(Value::Object(instances)) = fields.get_mut("instances") {
        instances.values_mut().for_each(|kept| *kept = json(&level(kept)));
    }
    if let Some(entry) = read(&Value::Object(fields.clone())) {
        return entry;
    }
    let mut entry = Entry::new(own.since);
    entry.own = own;
    entry.own.condemn(HealthReason::RecordUnreadable, Proof::Boot);
    let instances = fields.get("instances").and_then(Value::as_object).into_iter().flatten();
    entry.instances = instances.filter_map(|(id, kept)| Some((id.parse().ok()?, read(kept)?))).collect();
    entry
}

/// What is held against a subject: as it is, if it can be read; otherwise what can be, and that it cannot.
fn level(kept: &Value) -> Level {
    if let Some(level) = read(kept) {
        return level;
    }
    let findings = kept.get("findings").and_then(Value::as_array).into_iter().flatten();
    let mut level = Level {
        findings: findings.filter_map(read).collect(),
        fence: fence(kept),
        cleared: field(kept, "cleared"),
        since: field(kept, "since").unwrap_or_default(),
    };
    level.condemn(HealthReason::RecordUnreadable, Proof::Boot);
    level
}

/// The fence that stood. There was none only where that is said.
fn fence(kept: &Value) -> Option<Word> {
    let word = match kept.get("fence") {
        Some(Value::Null) => return None,
        word => word.unwrap_or(&Value::Null),
    };
    let said = |key| field(word, key).unwrap_or_else(|| UNREADABLE.to_owned());
    Some(Word { who: said("who"), why: said("why"), unix_ms: field(word, "unix_ms").unwrap_or(0) })
}

fn field<T: DeserializeOwned>(kept: &Value, key: &str) -> Option<T> {
    read(kept.get(key)?)
}

fn read<T: DeserializeOwned>(kept: &Value) -> Option<T> {
    T::deserialize(kept).ok()
}

/// What has no form in JSON cannot be read back either, and then counts as lost.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
