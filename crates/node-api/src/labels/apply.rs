//! The one request by which labels and annotations get onto a Node.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Map, Value, json};

use crate::cluster::{Call, Cluster, METADATA, encoded};
use crate::error::ApiError;
use crate::field::Field;
use crate::view::NodeView;

/// Applies exactly `fields` as `manager`: what it held before and isn't among them goes. It names the Node's uid, for an
/// apply to a Node that is gone would create one.
pub(super) async fn apply(
    cluster: &Cluster,
    (name, uid): (&str, &str),
    manager: &str,
    fields: &BTreeMap<Field, String>,
) -> Result<NodeView, ApiError> {
    let path = format!("/api/v1/nodes/{}?fieldManager={}", encoded(name), encoded(manager));
    let call = Call {
        accept: METADATA,
        content_type: "application/apply-patch+yaml",
        body: body(name, uid, fields).to_string().into_bytes(),
        ..Call::new("patch", "nodes", Method::PATCH, path)
    };
    let answer = cluster.call(call).await?;
    NodeView::read(&answer, name).map_err(|error| ApiError::Garbage { what: error.to_string() })
}

fn body(name: &str, uid: &str, fields: &BTreeMap<Field, String>) -> Value {
    let (mut labels, mut annotations) = (Map::new(), Map::new());
    for (field, value) in fields {
        let (Field::Label(key) | Field::Annotation(key)) = field;
        let into = if matches!(field, Field::Label(_)) { &mut labels } else { &mut annotations };
        into.insert(key.clone(), Value::from(value.as_str()));
    }
    let mut metadata = json!({ "name": name, "uid": uid });
    for (member, values) in [("labels", labels), ("annotations", annotations)] {
        if !values.is_empty() {
            metadata[member] = Value::Object(values);
        }
    }
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata })
}
