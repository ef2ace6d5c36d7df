//! A Node's metadata as it was seen: labels, annotations and who owns them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;

use crate::field::Field;
use crate::managed::{Entry, Ownership, owners};

/// A Node as the API server showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Tells it from a later Node of the same name.
    pub uid: String,
    /// Which of its states this is.
    pub resource_version: String,
    pub(crate) fields: BTreeMap<Field, String>,
    pub(crate) owners: BTreeMap<Field, BTreeSet<Ownership>>,
}

/// The text is no Node of that name.
#[derive(Debug, Error)]
pub enum NotANode {
    /// It isn't even an object.
    #[error("no object of Kubernetes")]
    Syntax(#[source] serde_json::Error),
    /// It is something else.
    #[error("an object {kind:?} of name {name:?}, where the Node {wanted:?} was asked for")]
    Other {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What was asked for.
        wanted: String,
    },
}

/// What is read of an object.
#[derive(Deserialize)]
pub(crate) struct Object {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
}

impl Object {
    pub fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    uid: String,
    resource_version: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    managed_fields: Option<Vec<Entry>>,
}

impl NodeView {
    /// Reads a Node, whole or its metadata alone.
    ///
    /// # Errors
    /// What else it is.
    pub fn read(json: &[u8], name: &str) -> Result<NodeView, NotANode> {
        NodeView::of(serde_json::from_slice(json).map_err(NotANode::Syntax)?, name)
    }

    pub(crate) fn of(object: Object, name: &str) -> Result<NodeView, NotANode> {
        let metadata = object.metadata;
        let known = matches!(object.kind.as_str(), "Node" | "PartialObjectMetadata");
        if !known || metadata.name != name || metadata.uid.is_empty() {
            let wanted = name.to_owned();
            return Err(NotANode::Other { kind: object.kind, name: metadata.name, wanted });
        }
        let labels = metadata.labels.unwrap_or_default().into_iter();
        let annotations = metadata.annotations.unwrap_or_default().into_iter();
        let labels = labels.map(|(key, value)| (Field::Label(key), value));
        let annotations = annotations.map(|(key, value)| (Field::Annotation(key), value));
        Ok(NodeView {
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            fields: labels.chain(annotations).collect(),
            owners: owners(&metadata.managed_fields.unwrap_or_default()),
        })
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.fields.get(&Field::Label(key.to_owned())).map(String::as_str)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.fields.get(&Field::Annotation(key.to_owned())).map(String::as_str)
    }

    /// All labels in order.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().filter_map(|(field, value)| match field {
            Field::Label(key) => Some((key.as_str(), value.as_str())),
            Field::Annotation(_) => None,
        })
    }

    /// What `manager` holds by server-side apply.
    pub fn owned_by(&self, manager: &str) -> BTreeSet<Field> {
        let ours = |owners: &BTreeSet<Ownership>| owners.iter().any(|it| it.applied && it.manager == manager);
        self.owners.iter().filter(|(_, owners)| ours(owners)).map(|(field, _)| field.clone()).collect()
    }

    /// Whether any other than `manager` holds a field.
    pub(crate) fn held_by_others(&self, field: &Field, manager: &str) -> bool {
        let owners = self.owners.get(field);
        owners.is_some_and(|owners| owners.iter().any(|it| !(it.applied && it.manager == manager)))
    }

    /// Whether this state is as new as `other`, or newer. Versions are decimal numbers that grow; others say nothing, and
    /// then the later look counts.
    pub(crate) fn at_least(&self, other: &NodeView) -> bool {
        match (self.resource_version.parse::<u64>(), other.resource_version.parse::<u64>()) {
            (Ok(own), Ok(other)) => own >= other,
            _ => true,
        }
    }
}
