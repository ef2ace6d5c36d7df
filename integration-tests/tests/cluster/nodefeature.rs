//! Node Feature Discovery's kind NodeFeature on the real API server.

use anyhow::Result;
use fake_apiserver::conformance::node_feature_definition;
use serde_json::Value;
use test_cluster::Verdict;

use crate::node::{Node, wait};

const NAME: &str = "nodefeatures.nfd.k8s-sigs.io";

/// The kind, until it goes out of scope, with all its objects.
pub struct Definition<'a>(&'a Node);

impl<'a> Definition<'a> {
    pub fn install(node: &'a Node) -> Result<Self> {
        node.kubectl.apply(&node_feature_definition().to_string())?;
        let definition = Self(node);
        wait("the kind NodeFeature", || {
            let found = node.kubectl.json(&["get", "customresourcedefinition", NAME])?;
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let established = |it: &Value| it["type"] == "Established" && it["status"] == "True";
            Ok(match conditions.iter().any(established) {
                true => Verdict::Done(()),
                false => Verdict::Waiting(found["status"].to_string()),
            })
        })?;
        Ok(definition)
    }
}

impl Drop for Definition<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.kubectl.delete(&["customresourcedefinition", NAME]) {
            eprintln!("delete the kind NodeFeature: {error:#}");
        }
    }
}
