//! Feature discovery as deployed beside the device plugin: what the API server shows of the Node while GPUs, their
//! partitioning and the program itself change.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use test_cluster::Verdict;

use crate::daemon::{DISCOVERY, NAMESPACE};
use crate::driver::Restored;
use crate::kustomization::Kustomization;
use crate::node::{Node, lock_own, text, wait, workspace};
use crate::nodefeature::Definition;
use crate::sharing::TWO_REPLICAS;
use crate::{plugin, simulation};

const OVERLAY: &str = "manifests/overlays/simulated-discovery";

/// Labels that other people and programs set, some of them in NVIDIA's domain.
const FOREIGN: [(&str, &str); 3] = [
    ("example.com/rack", "a1"),
    ("nvidia.com/mig.config", "all-disabled"),
    ("nvidia.com/gpu.deploy.client", "true"),
];

/// Feature discovery with components of the manifests, until it goes out of scope; its labels go with it.
struct Deployed<'a> {
    node: &'a Node,
    kustomization: Kustomization,
}

impl<'a> Deployed<'a> {
    fn with(node: &'a Node, components: &[&str]) -> Result<Self> {
        Self::patched(node, components, None)
    }

    /// The same with a patch of an overlay.
    fn patched(node: &'a Node, components: &[&str], patch: Option<&str>) -> Result<Self> {
        let kustomization = Kustomization::write("e2e-discovery", OVERLAY, components, patch)?;
        let deployed = Self { node, kustomization };
        deployed.kustomization.apply(node)?;
        Ok(deployed)
    }
}

impl Drop for Deployed<'_> {
    fn drop(&mut self) {
        let kubectl = &self.node.kubectl;
        // Its namespace is the plugin's too, and stays.
        let removed = DISCOVERY.remove(self.node).and_then(|()| labels(self.node)).and_then(|labels| {
            let is_ours = |key: &&String| {
                ["nvidia.com/", "gantry.dev/", "example.com/"].iter().any(|domain| key.starts_with(domain))
            };
            let gone: Vec<String> = labels.keys().filter(is_ours).map(|key| format!("{key}-")).collect();
            if gone.is_empty() {
                return Ok(());
            }
            let words: Vec<&str> = gone.iter().map(String::as_str).collect();
            kubectl.run(&[&["label", "node", &self.node.name][..], &words].concat()).map(drop)
        });
        if let Err(error) = removed {
            eprintln!("remove feature discovery: {error:#}");
        }
    }
}

fn labels(node: &Node) -> Result<BTreeMap<String, String>> {
    let node = node.get()?;
    let labels = node["metadata"]["labels"].as_object().context("a node has labels")?;
    Ok(labels.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

/// Waits until the Node has all of these; none stands for a label that is not there.
fn wait_for(node: &Node, wanted: &[(&str, Option<&str>)]) {
    wait(format!("the labels {wanted:?}"), || {
        let labels = labels(node)?;
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(key, value)| labels.get(*key).map(String::as_str) != *value)
            .map(|(key, _)| (key, labels.get(*key)))
            .collect();
        Ok(if missing.is_empty() {
            Verdict::Done(())
        } else {
            Verdict::Waiting(format!("{missing:?}; {}", DISCOVERY.summary(node)))
        })
    })
    .unwrap();
}

fn set(node: &Node, manager: &str, words: &[&str]) {
    let manager = format!("--field-manager={manager}");
    node.kubectl.run(&[&["label", "node", &node.name, "--overwrite", &manager][..], words].concat()).unwrap();
}

#[test]
fn labels_follow_the_gpus_come_back_when_taken_and_leave_those_of_others_alone() {
    let Some(node) = lock_own("labels") else { return };
    let _restored = Restored(&node);
    for (key, value) in FOREIGN {
        set(&node, "someone", &[&format!("{key}={value}")]);
    }
    // Someone has said otherwise before, and is left to it until he takes it back.
    set(&node, "someone", &["nvidia.com/gpu.family=mine"]);
    let deployed = Deployed::with(&node, &["mig-mixed"]).unwrap();
    wait_for(
        &node,
        &[
            ("nvidia.com/gpu.present", Some("true")),
            ("nvidia.com/gpu.count", Some("8")),
            ("nvidia.com/gpu.product", Some("NVIDIA-A100-SXM4-80GB")),
            ("nvidia.com/gpu.family", Some("mine")),
            ("nvidia.com/mig.strategy", Some("mixed")),
            ("nvidia.com/mig-3g.40gb.count", None),
        ],
    );
    DISCOVERY.wait_until_ready(&node).unwrap();
    set(&node, "someone", &["nvidia.com/gpu.family-"]);
    wait_for(&node, &[("nvidia.com/gpu.family", Some("ampere"))]);

    // What is taken comes back; what someone makes his own is his until he lets it go.
    set(&node, "someone", &["nvidia.com/gpu.count-", "nvidia.com/gpu.memory=1"]);
    wait_for(&node, &[("nvidia.com/gpu.count", Some("8")), ("nvidia.com/gpu.memory", Some("1"))]);
    DISCOVERY.wait_until_says(&node, "nvidia.com/gpu.memory").unwrap();
    set(&node, "someone", &["nvidia.com/gpu.memory-"]);
    wait_for(&node, &[("nvidia.com/gpu.memory", Some("81920"))]);

    // An A100 takes the mode over at its next reset.
    for words in [
        &["mig", "mode", "--gpu=7", "on"][..],
        &["reset", "--gpu=7"],
        &["mig", "create", "--gpu=7", "3g.40gb"],
    ] {
        simulation::tell(&node, words).unwrap();
    }
    wait_for(&node, &[("nvidia.com/mig-3g.40gb.count", Some("1")), ("nvidia.com/gpu.count", Some("8"))]);

    // At the third look that misses it a GPU counts no more.
    simulation::tell(&node, &["lose", "--gpu=3"]).unwrap();
    wait_for(
        &node,
        &[
            ("gantry.dev/gpu.unhealthy.count", Some("1")),
            ("nvidia.com/gpu.count", Some("7")),
            ("nvidia.com/mig-3g.40gb.count", Some("1")),
        ],
    );

    // Labels outlive the program.
    let before = labels(&node).unwrap();
    let pod = DISCOVERY.wait_until_running(&node).unwrap();
    DISCOVERY.kill(&node, &pod).unwrap();
    DISCOVERY.wait_until_restarted(&node, &pod).unwrap();
    assert_eq!(labels(&node).unwrap(), before);
    DISCOVERY.remove(&node).unwrap();
    assert_eq!(labels(&node).unwrap(), before);
    drop(deployed);
}

#[test]
fn node_feature_has_the_labels_and_an_instance_for_each_gpu() {
    let Some(node) = lock_own("NodeFeature") else { return };
    let _defined = Definition::install(&node).unwrap();
    let _deployed = Deployed::with(&node, &["nodefeature"]).unwrap();
    let found = wait("the NodeFeature of the node", || {
        let list = node.kubectl.json(&["get", "nodefeatures.nfd.k8s-sigs.io", NAMESPACE])?;
        Ok(match list["items"].as_array().map(Vec::as_slice) {
            // One from before the driver's first answer has less.
            Some([one]) if one["spec"]["labels"]["nvidia.com/gpu.count"].is_string() => {
                Verdict::Done(one.clone())
            }
            _ => Verdict::Waiting(format!("{list}; {}", DISCOVERY.summary(&node))),
        })
    })
    .unwrap();
    assert_eq!(found["metadata"]["labels"]["nfd.node.kubernetes.io/node-name"], node.name);
    // It outlives the daemon and its upgrades, and goes with the Node.
    let uid = node.kubectl.json(&["get", "node", &node.name]).unwrap()["metadata"]["uid"].clone();
    let owner = json!([{ "apiVersion": "v1", "kind": "Node", "name": node.name, "uid": uid }]);
    assert_eq!(found["metadata"]["ownerReferences"], owner);
    let spec = &found["spec"];
    assert_eq!(spec["labels"]["nvidia.com/gpu.count"], "8", "{spec}");
    let instances =
        spec["features"]["instances"].as_object().into_iter().flat_map(|features| features.values());
    let elements: Vec<&Value> =
        instances.flat_map(|feature| feature["elements"].as_array().into_iter().flatten()).collect();
    assert_eq!(elements.len(), 8, "{spec}");
    for element in elements {
        let uuid = element["attributes"]["uuid"].as_str().unwrap_or_default();
        assert!(uuid.starts_with("GPU-"), "{element}");
    }
    // The labels are left to Node Feature Discovery.
    DISCOVERY.wait_until_ready(&node).unwrap();
    assert!(!labels(&node).unwrap().contains_key("nvidia.com/gpu.count"));
}

#[test]
fn labels_tell_of_sharing_and_follow_the_config_that_the_plugin_has_too() {
    let Some(node) = lock_own("labels of sharing") else { return };
    let deployed = Deployed::with(&node, &["time-slicing"]).unwrap();
    let shared = |replicas| {
        [
            ("nvidia.com/gpu.product", Some("NVIDIA-A100-SXM4-80GB-SHARED")),
            ("nvidia.com/gpu.replicas", Some(replicas)),
            ("nvidia.com/gpu.sharing-strategy", Some("time-slicing")),
        ]
    };
    wait_for(&node, &shared("4"));
    DISCOVERY.configure(&node, TWO_REPLICAS).unwrap();
    wait_for(&node, &shared("2"));
    drop(deployed);
    node.kubectl.delete(&["configmap", "gpu-device-plugin", NAMESPACE]).unwrap();
}

#[test]
fn discovery_without_privileges_labels_the_node_by_the_plugins_devices() {
    let Some(node) = lock_own("discovery without privileges") else { return };
    let _with = plugin::deploy_with(&node, &["gpu-management"]).unwrap();
    let patch = workspace().join("manifests/overlays/least-privilege/feature-discovery.yaml");
    let patch = fs::read_to_string(patch).unwrap();
    let _deployed = Deployed::patched(&node, &[], Some(&patch)).unwrap();
    wait_for(
        &node,
        &[("nvidia.com/gpu.count", Some("8")), ("nvidia.com/gpu.product", Some("NVIDIA-A100-SXM4-80GB"))],
    );
    let pod = DISCOVERY.wait_until_running(&node).unwrap();
    assert_eq!(pod["spec"]["containers"][0]["securityContext"]["privileged"], false);
    DISCOVERY.wait_until_ready(&node).unwrap();
}
