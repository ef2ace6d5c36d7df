//! The suite that holds the fake kubelet to the real one's semantics, run on the real one.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use fake_kubelet::conformance::{self, Admission, Amounts, KubeletUnderTest};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_cluster::{Verdict, until};

use crate::images;
use crate::node::{MARK, Node, PATIENCE, lock_own, text, wait};

/// The real kubelet. Socket paths are limited to 107 bytes, and the state folder may lie deep: hence a link.
struct Kubelet<'a> {
    node: &'a Node,
    link: TempDir,
}

#[test]
fn real_kubelet_passes_the_conformance_suite() {
    let Some(node) = lock_own("conformance") else { return };
    let link = tempfile::tempdir().unwrap();
    symlink(node.cluster().host_path("/var/lib/kubelet"), link.path().join("kubelet")).unwrap();
    let mut kubelet = Kubelet { node: &node, link };
    let filter = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let report = conformance::run(&mut kubelet, &filter, &mut |outcome| println!("{outcome}"));
    // First, so that what fails here fails no other test.
    node.wait_for_fresh_gpus(8, 8).unwrap();
    assert!(report.passed(), "{report}");
}

impl KubeletUnderTest for Kubelet<'_> {
    fn plugin_dir(&self) -> PathBuf {
        self.link.path().join("kubelet/device-plugins")
    }

    fn restart(&mut self) -> Result<(), String> {
        self.node.restart_kubelet().map_err(|error| format!("{error:#}"))?;
        // The API server still calls the node Ready. The old socket has no listener any more, so whoever
        // accepts is the new kubelet.
        let socket = self.plugin_dir().join("kubelet.sock");
        until("the new kubelet to listen", PATIENCE, || match UnixStream::connect(&socket) {
            Ok(_) => Ok(Verdict::Done(())),
            Err(error) => Ok(Verdict::Waiting(error.to_string())),
        })
        .map_err(|error| format!("{error:#}"))
    }

    fn amounts(&mut self, resource: &str) -> Result<Amounts, String> {
        let (capacity, allocatable) = self.node.amounts(resource).map_err(|error| format!("{error:#}"))?;
        Ok(Amounts { capacity, allocatable })
    }

    fn admit(&mut self, pod: &str, resource: &str, count: usize) -> Result<Admission, String> {
        self.create(pod, resource, None, count).map_err(|error| format!("{error:#}"))
    }

    fn admit_after_init(
        &mut self,
        pod: &str,
        resource: &str,
        init: usize,
        count: usize,
    ) -> Result<Admission, String> {
        self.create(pod, resource, Some(init), count).map_err(|error| format!("{error:#}"))
    }

    fn release(&mut self, pod: &str) -> Result<(), String> {
        self.node.kubectl.delete(&["pod", pod]).map_err(|error| format!("{error:#}"))
    }

    fn patience(&self) -> std::time::Duration {
        PATIENCE
    }
}

impl Kubelet<'_> {
    /// The pod names its node, so that the kubelet alone decides.
    fn create(
        &self,
        name: &str,
        resource: &str,
        init: Option<usize>,
        count: usize,
    ) -> anyhow::Result<Admission> {
        let container = |name: &str, args: &[&str], count: usize| {
            json!({
                "name": name,
                "image": images::DEBIAN,
                "imagePullPolicy": "Never",
                "args": args,
                "resources": { "limits": { resource: count } },
            })
        };
        // The probe without --hold reports and ends.
        let first: Vec<Value> = init.map(|count| container("init", &[], count)).into_iter().collect();
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "labels": { MARK: "e2e" } },
            "spec": {
                "nodeName": self.node.name,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "initContainers": first,
                "containers": [container("probe", &["--hold"], count)],
            },
        });
        self.node.kubectl.run_with_input(&["create", "--filename=-"], &pod.to_string())?;
        wait(format!("the kubelet to take or reject pod {name}"), || {
            let pod: Value = self.node.kubectl.json(&["get", "pod", name])?;
            let status = &pod["status"];
            Ok(match text(&status["phase"]).as_str() {
                "Running" | "Succeeded" => Verdict::Done(Admission::Admitted),
                "Failed" if status["containerStatuses"][0]["state"]["terminated"].is_object() => {
                    Verdict::Done(Admission::Admitted)
                }
                "Failed" => {
                    let (reason, message) = (text(&status["reason"]), text(&status["message"]));
                    Verdict::Done(Admission::Rejected { reason, message })
                }
                _ => Verdict::Waiting(status.to_string()),
            })
        })
    }
}
