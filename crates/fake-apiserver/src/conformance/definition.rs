//! The CustomResourceDefinition of NodeFeature, written from what Node Feature Discovery's documentation says of it.

use serde_json::{Value, json};

/// A definition of `nodefeatures.nfd.k8s-sigs.io`, to be created where there is none: its schema admits what that of Node
/// Feature Discovery 0.17 does, and drops what that doesn't know.
pub fn node_feature_definition() -> Value {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "object", "additionalProperties": text });
    let elements = |of: Value| {
        json!({ "type": "object", "additionalProperties": {
            "type": "object", "required": ["elements"], "properties": { "elements": of },
        } })
    };
    let instance =
        json!({ "type": "object", "required": ["attributes"], "properties": { "attributes": texts } });
    let features = json!({ "type": "object", "properties": {
        "flags": elements(json!({ "type": "object", "additionalProperties": { "type": "object" } })),
        "attributes": elements(texts.clone()),
        "instances": elements(json!({ "type": "array", "items": instance })),
    } });
    let schema = json!({ "type": "object", "required": ["spec"], "properties": {
        "apiVersion": text, "kind": text, "metadata": { "type": "object" },
        "spec": { "type": "object", "properties": { "features": features, "labels": texts } },
    } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "nodefeatures.nfd.k8s-sigs.io",
            // Asked of definitions in groups of k8s.io.
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/2087" },
        },
        "spec": {
            "group": "nfd.k8s-sigs.io",
            "names": {
                "kind": "NodeFeature", "listKind": "NodeFeatureList",
                "plural": "nodefeatures", "singular": "nodefeature",
            },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema },
            }],
        },
    })
}
