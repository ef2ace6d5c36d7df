//! A test pod: one container with the probe, deleted when it goes out of scope.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use integration_tests::probe::Report;
use serde_json::{Value, json};
use test_cluster::{Verdict, until};

use crate::node::{GPU, Node, PATIENCE, text};
use crate::{images, plugin, simulation};

/// The driver libraries that programs are linked with.
const LIBRARIES: &str = "libcuda.so.1,libnvidia-ml.so.1";

/// A pod that was created.
pub struct Pod<'a> {
    node: &'a Node,
    name: String,
}

/// What a pod is to be.
pub struct Order<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its image.
    pub image: &'a str,
    /// How many GPUs it requests; none at all when 0.
    pub gpus: usize,
    /// Whether it keeps running.
    pub hold: bool,
    /// Whether the loader shall look for the driver's libraries.
    pub libraries: bool,
}

impl Default for Order<'_> {
    fn default() -> Self {
        Self { name: "probe", image: images::DEBIAN, gpus: 0, hold: false, libraries: false }
    }
}

/// A running container, to be compared with itself later.
#[derive(Debug, PartialEq, Eq)]
pub struct Running {
    id: String,
    restarts: u64,
    started: String,
}

impl<'a> Pod<'a> {
    /// Creates the pod.
    pub fn create(node: &'a Node, order: &Order<'_>) -> Result<Self> {
        let mut args = vec![format!("--numbers={}", simulation::gpu_numbers().join(","))];
        args.extend(order.libraries.then(|| format!("--libraries={LIBRARIES}")));
        args.extend(order.hold.then(|| "--hold".to_owned()));
        let limits = if order.gpus == 0 { json!({}) } else { json!({ GPU: order.gpus }) };
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": order.name },
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "probe",
                    "image": order.image,
                    "imagePullPolicy": "IfNotPresent",
                    "args": args,
                    "resources": { "limits": limits },
                }],
            },
        });
        node.kubectl.run_with_input(&["create", "--filename=-"], &pod.to_string())?;
        Ok(Self { node, name: order.name.to_owned() })
    }

    /// Waits until the pod is in a phase; a pod that failed ends the wait.
    pub fn wait_for(&self, phase: &str) -> Result<()> {
        until(format!("pod {} to be {phase}", self.name), PATIENCE, || {
            let pod = self.get()?;
            match text(&pod["status"]["phase"]) {
                now if now == phase => Ok(Verdict::Done(())),
                now if now == "Failed" => {
                    bail!(
                        "it failed: {}\nits log: {}\nplugin: {}",
                        pod["status"],
                        self.log(),
                        plugin::summary(self.node)
                    )
                }
                now => Ok(Verdict::Waiting(format!("{now}: {}", pod["status"]))),
            }
        })
    }

    /// What the probe found. The pod must run or have run.
    pub fn report(&self) -> Result<Report> {
        until(format!("the report of pod {}", self.name), PATIENCE, || {
            let log = self.log();
            match serde_json::from_str(&log) {
                Ok(report) => Ok(Verdict::Done(report)),
                Err(error) => Ok(Verdict::Waiting(format!("{error}: {log}"))),
            }
        })
    }

    /// The ids that the kubelet gave to the container, from the pod's status.
    pub fn given(&self) -> Result<BTreeSet<String>> {
        let pod = self.get()?;
        let resources =
            plugin::container(&pod)["allocatedResourcesStatus"].as_array().cloned().unwrap_or_default();
        let ids = resources
            .iter()
            .flat_map(|resource| resource["resources"].as_array().cloned().unwrap_or_default());
        Ok(ids.map(|id| text(&id["resourceID"])).collect())
    }

    /// The container as it runs now.
    pub fn running(&self) -> Result<Running> {
        let pod = self.get()?;
        let container = plugin::container(&pod);
        let started = container["state"]["running"]["startedAt"].as_str();
        Ok(Running {
            id: text(&container["containerID"]),
            restarts: container["restartCount"].as_u64().context("no restart count")?,
            started: started.with_context(|| format!("it does not run: {container}"))?.to_owned(),
        })
    }

    /// Waits until the scheduler has said why it finds no node.
    pub fn wait_for_refusal(&self) -> Result<String> {
        until(format!("the scheduler to refuse pod {}", self.name), PATIENCE, || {
            let pod = self.get()?;
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let refused = conditions
                .iter()
                .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False");
            Ok(match refused {
                Some(condition) => Verdict::Done(text(&condition["message"])),
                None => Verdict::Waiting(pod["status"].to_string()),
            })
        })
    }

    fn get(&self) -> Result<Value> {
        self.node.kubectl.json(&["get", "pod", &self.name])
    }

    fn log(&self) -> String {
        self.node.kubectl.run(&["logs", &self.name]).unwrap_or_else(|error| error.to_string())
    }
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        // Waits until the kubelet says that the container is gone, so that its GPUs are free for the next test.
        if let Err(error) = self.node.kubectl.run(&["delete", "pod", &self.name, "--ignore-not-found"]) {
            eprintln!("delete pod {}: {error}", self.name);
        }
    }
}

/// The device nodes of GPUs, `nvidia0` and so on, that a report tells; control nodes left out.
pub fn gpu_nodes(report: &Report) -> BTreeSet<String> {
    let is_gpu = |name: &&String| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    report.nodes.keys().filter(is_gpu).cloned().collect()
}
