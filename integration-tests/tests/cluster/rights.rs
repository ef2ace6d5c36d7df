//! What feature discovery may do to Nodes with a token of its node, as the real API server decides by the rights and
//! policies as shipped. The program itself is not needed for that.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use test_cluster::{Kubectl, Verdict, kubectl_program};

use crate::node::{Node, lock, wait, workspace};

const ACCOUNT: &str = "gpu-feature-discovery";
const NAMESPACE: &str = "--namespace=gantry-system";

/// The policy's binding on the daemons of all, and the one on this daemon's keys.
const OWN_NODE: &str = "gantry-own-node";
const KEYS: &str = "gantry-feature-discovery-labels";

/// A Node that no kubelet stands behind.
const OTHER: &str = "gantry-other";

/// The rights as shipped, until they go out of scope.
struct Rights<'a> {
    node: &'a Node,
    manifests: String,
}

impl<'a> Rights<'a> {
    fn grant(node: &'a Node) -> Result<Self> {
        let folder = workspace().join("manifests/base/gpu-feature-discovery");
        let kubectl = Kubectl::for_kubeconfig(kubectl_program()?, Path::new("/dev/null"));
        let made = kubectl.run(&["kustomize", &folder.to_string_lossy()])?;
        let is_right = |document: &&str| {
            !document.contains("kind: DaemonSet\n") && !document.contains("kind: Namespace\n")
        };
        let manifests = made.split("\n---\n").filter(is_right).collect::<Vec<_>>().join("\n---\n");
        let rights = Self { node, manifests };
        node.kubectl.apply(&rights.manifests)?;
        node.kubectl
            .apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER}}).to_string())?;
        // The API server takes up policies within seconds.
        let own = rights.own()?;
        rights.wait_until_refused_by(OWN_NODE, &own, OTHER, &label("nvidia.com/gpu.count", "1"))?;
        rights.wait_until_refused_by(KEYS, &own, &node.name, &label("example.com/x", "1"))?;
        Ok(rights)
    }

    /// A token as pods on the node have one: it names the node.
    fn own(&self) -> Result<String> {
        let bound = format!("--bound-object-name={}", self.node.name);
        self.token(&["--bound-object-kind=Node", &bound])
    }

    /// One that names no node.
    fn nowhere(&self) -> Result<String> {
        self.token(&[])
    }

    fn token(&self, of: &[&str]) -> Result<String> {
        let token = self.node.kubectl.run(&[&["create", "token", NAMESPACE, ACCOUNT][..], of].concat())?;
        Ok(token.trim().to_owned())
    }

    /// What the API server says to a change of a Node; nothing where it does it.
    fn refusal(&self, token: &str, node: &str, patch: &Value) -> Option<String> {
        let (token, patch) = (format!("--token={token}"), format!("--patch={patch}"));
        let args = ["patch", "node", node, "--type=merge", &token, &patch];
        // The command has the token in it.
        self.node.kubectl.run(&args).err().map(|error| error.to_string().replace(&token, "--token=..."))
    }

    fn wait_until_refused_by(&self, policy: &str, token: &str, node: &str, patch: &Value) -> Result<()> {
        wait(format!("{policy} to refuse {patch} of {node}"), || {
            Ok(match self.refusal(token, node, patch) {
                Some(said) if said.contains(policy) => Verdict::Done(()),
                said => Verdict::Waiting(format!("{said:?}")),
            })
        })
    }
}

impl Drop for Rights<'_> {
    fn drop(&mut self) {
        let kubectl = &self.node.kubectl;
        let removed = kubectl
            .run_with_input(&["delete", "--filename=-", "--ignore-not-found"], &self.manifests)
            .and_then(|_| kubectl.delete(&["node", OTHER]))
            .and_then(|()| {
                kubectl.run(&["label", "node", &self.node.name, "nvidia.com/gpu.count-", "example.com/x-"])
            });
        if let Err(error) = removed {
            eprintln!("take the rights back: {error:#}");
        }
    }
}

/// A change that sets, or takes, every label of docs/labels.md.
fn all_labels(value: &Value) -> Value {
    let page = fs::read_to_string(workspace().join("docs/labels.md")).expect("docs/labels.md");
    let keys = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let key = |key: &str| key.replace("<profile>", "1g.10gb.me").replace("<model>", "nvidia-a100-sxm4-80gb");
    let labels: serde_json::Map<String, Value> = keys.map(|name| (key(name), value.clone())).collect();
    assert!(labels.len() > 50, "{labels:?}");
    json!({"metadata": {"labels": labels}})
}

fn label(key: &str, value: &str) -> Value {
    json!({"metadata": {"labels": {key: value}}})
}

fn note(key: &str) -> Value {
    json!({"metadata": {"annotations": {key: "x"}}})
}

#[test]
fn feature_discovery_changes_its_own_keys_of_its_own_node_and_nothing_else() {
    let node = lock();
    let rights = Rights::grant(&node).unwrap();
    let (own, nowhere) = (rights.own().unwrap(), rights.nowhere().unwrap());

    for allowed in [
        all_labels(&json!("1")),
        all_labels(&Value::Null),
        note("gantry.dev/gpu-feature-discovery.driver"),
        json!({"metadata": {"annotations": {"gantry.dev/gpu-feature-discovery.driver": null}}}),
    ] {
        assert_eq!(rights.refusal(&own, &node.name, &allowed), None, "{allowed}");
    }
    // What decides over other daemons, what is someone else's, and what says who may run here.
    for (policy, denied) in [
        (KEYS, label("nvidia.com/mig.config", "all-disabled")),
        (KEYS, label("nvidia.com/gpu.deploy.device-plugin", "false")),
        (KEYS, label("nvidia.com/gpu.workload.config", "container")),
        (KEYS, label("nvidia.com/device-plugin.config", "x")),
        (KEYS, label("kubernetes.io/hostname", "x")),
        (KEYS, json!({"metadata": {"labels": {"kubernetes.io/hostname": null}}})),
        (KEYS, note("example.com/x")),
        (OWN_NODE, json!({"spec": {"unschedulable": true}})),
        (OWN_NODE, json!({"spec": {"taints": [{"key": "example.com/x", "effect": "NoExecute"}]}})),
        (OWN_NODE, json!({"metadata": {"finalizers": ["example.com/x"]}})),
    ] {
        let said = rights.refusal(&own, &node.name, &denied);
        assert!(said.as_ref().is_some_and(|said| said.contains(policy)), "{denied}: {said:?}");
    }
    let count = label("nvidia.com/gpu.count", "1");
    for (token, of) in [(&own, OTHER), (&nowhere, &node.name), (&nowhere, OTHER)] {
        let said = rights.refusal(token, of, &count);
        assert!(said.as_ref().is_some_and(|said| said.contains(OWN_NODE)), "{of}: {said:?}");
    }

    // It is the policies that refuse: without them, roles alone let it through.
    for (binding, of, patch) in [(OWN_NODE, OTHER, &count), (KEYS, &*node.name, &label("example.com/x", "1"))]
    {
        node.kubectl.delete(&["validatingadmissionpolicybinding", binding]).unwrap();
        wait(format!("{patch} of {of} without {binding}"), || {
            Ok(match rights.refusal(&own, of, patch) {
                None => Verdict::Done(()),
                Some(said) => Verdict::Waiting(said),
            })
        })
        .unwrap();
    }
}
