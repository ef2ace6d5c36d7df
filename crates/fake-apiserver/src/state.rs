//! The objects, and all else that outlives a request.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::faults::Faults;
use crate::metadata::has;
use crate::watches::Watches;

/// A request as it came, and what became of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// `get`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// Without the query.
    pub path: String,
    /// The query, decoded.
    pub query: BTreeMap<String, String>,
    /// Its body; null where there is none.
    pub body: Value,
    /// The answer's code; 0: none was given.
    pub code: u16,
    /// When it came.
    pub at: Instant,
}

/// A key that an admission rule refuses.
#[derive(Clone, Debug)]
pub(crate) struct Denial {
    pub key: String,
    pub code: u16,
    pub message: String,
}

#[derive(Debug)]
pub(crate) struct State {
    pub objects: BTreeMap<String, Value>,
    pub version: u64,
    pub uids: u64,
    pub token: String,
    pub faults: Faults,
    pub denials: Vec<Denial>,
    pub requests: Vec<Request>,
    pub watches: Watches,
    /// Whether NodeFeature is defined here.
    pub node_features: bool,
    /// Whether owner references are refused.
    pub refuse_owners: bool,
    pub refuse_watches: bool,
    pub refuse_reads_of_nodes: bool,
}

impl State {
    pub fn new(token: &str) -> State {
        State {
            objects: BTreeMap::new(),
            version: 100,
            uids: 0,
            token: token.to_owned(),
            faults: Faults::default(),
            denials: Vec::new(),
            requests: Vec::new(),
            watches: Watches::default(),
            node_features: true,
            refuse_owners: false,
            refuse_watches: false,
            refuse_reads_of_nodes: false,
        }
    }

    /// Puts an object that wasn't there.
    pub fn create(&mut self, path: &str, mut object: Value) -> Value {
        self.uids += 1;
        object["metadata"]["uid"] = Value::from(format!("00000000-0000-4000-8000-{:012}", self.uids));
        self.put(path, object, "ADDED")
    }

    /// Replaces an object, if anything is different.
    pub fn replace(&mut self, path: &str, object: Value) -> Value {
        if self.objects.get(path) == Some(&object) {
            return object;
        }
        self.put(path, object, "MODIFIED")
    }

    pub fn delete(&mut self, path: &str) -> Option<Value> {
        let mut object = self.objects.remove(path)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        if is_node(path) {
            self.watches.tell(self.version, "DELETED", &object);
        }
        Some(object)
    }

    /// What an admission rule says to a change from `before` to `after`.
    pub fn admit(&self, before: Option<&Value>, after: &Value) -> Result<(), Answer> {
        let changes = |key: &str| {
            let field = has(after, key)?;
            let of = |object: &Value| object["metadata"][field.0][key].clone();
            before.is_none_or(|before| of(before) != of(after)).then_some(field)
        };
        let Some((denial, field)) =
            self.denials.iter().find_map(|denial| Some((denial, changes(&denial.key)?)))
        else {
            return Ok(());
        };
        let (reason, (map, key)) = (if denial.code == 403 { "Forbidden" } else { "Invalid" }, field);
        let text = format!("{}: {map} {key}", denial.message);
        let cause = json!({ "message": text });
        Err(Answer::failure(denial.code, reason, text.clone(), vec![cause]))
    }

    fn put(&mut self, path: &str, mut object: Value, kind: &'static str) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = Value::from(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        if is_node(path) {
            self.watches.tell(self.version, kind, &object);
        }
        object
    }
}

fn is_node(path: &str) -> bool {
    path.starts_with("/api/v1/nodes/")
}
