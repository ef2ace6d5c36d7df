//! A NodeFeature as JSON: what is written, and whether what stands there is that.
//!
//! Pure. Fields as in the CustomResourceDefinition of Node Feature Discovery 0.17.

use serde_json::{Map, Value, json};

use super::{DesiredFeatures, Features, NodeFeaturePlace};

/// By this label Node Feature Discovery finds the node of an object.
const NODE_NAME: &str = "nfd.node.kubernetes.io/node-name";

/// The object as it shall be. `owner` is the uid of the Node that owns it, `version` that of the state which it replaces.
pub(super) fn document(
    place: &NodeFeaturePlace,
    desired: &DesiredFeatures,
    owner: Option<&str>,
    version: Option<&str>,
) -> Value {
    let mut metadata = json!({
        "name": place.name,
        "namespace": place.namespace,
        "labels": { NODE_NAME: place.node },
    });
    if let Some(uid) = owner {
        metadata["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Node", "name": place.node, "uid": uid }]);
    }
    if let Some(version) = version {
        metadata["resourceVersion"] = Value::from(version);
    }
    json!({
        "apiVersion": "nfd.k8s-sigs.io/v1alpha1",
        "kind": "NodeFeature",
        "metadata": metadata,
        "spec": { "labels": desired.labels, "features": features(&desired.features) },
    })
}

/// Whether the object that stands there says all that. What others added to its metadata is no difference.
pub(super) fn says(found: &Value, wanted: &Value) -> bool {
    let owners =
        |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let found_owners = owners(found);
    let has_owner = |owner: &Value| found_owners.iter().any(|it| it["uid"] == owner["uid"]);
    bare(&found["spec"]) == bare(&wanted["spec"])
        && found["metadata"]["labels"][NODE_NAME] == wanted["metadata"]["labels"][NODE_NAME]
        && owners(wanted).iter().all(has_owner)
}

/// Without empty members: a server may leave them out.
fn bare(value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let members = members.iter().map(|(key, value)| (key.clone(), bare(value)));
    let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    members.filter(|(_, value)| !empty(value)).collect()
}

fn features(features: &Features) -> Value {
    let flags = features.flags.iter().map(|(name, flags)| {
        let elements: Map<String, Value> = flags.iter().map(|flag| (flag.clone(), json!({}))).collect();
        (name.clone(), json!({ "elements": elements }))
    });
    let attributes =
        features.attributes.iter().map(|(name, values)| (name.clone(), json!({ "elements": values })));
    let instances = features.instances.iter().map(|(name, instances)| {
        let elements: Vec<Value> = instances.iter().map(|it| json!({ "attributes": it })).collect();
        (name.clone(), json!({ "elements": elements }))
    });
    json!({
        "flags": flags.collect::<Map<_, _>>(),
        "attributes": attributes.collect::<Map<_, _>>(),
        "instances": instances.collect::<Map<_, _>>(),
    })
}
