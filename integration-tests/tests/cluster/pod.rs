//! A test pod: one container with the probe, deleted when it goes out of scope.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use integration_tests::probe::{CONTROL_NODES, Report};
use serde_json::{Value, json};
use test_cluster::Verdict;

use crate::daemon::{PLUGIN, container};
use crate::node::{GPU, MARK, Node, text, wait};
use crate::{images, simulation};

/// The driver libraries that programs are linked with.
const LIBRARIES: &str = "libcuda.so.1,libnvidia-ml.so.1";

/// What opening a device gives that the container may not use.
pub const REFUSED: &str = "Operation not permitted (os error 1)";

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
    /// The resource that it requests.
    pub resource: &'a str,
    /// How much of it; none at all when 0.
    pub gpus: usize,
    /// Whether it keeps running.
    pub hold: bool,
    /// Whether the loader shall look for the driver's libraries.
    pub libraries: bool,
    /// Device numbers to try beside those of GPUs and control nodes.
    pub numbers: Vec<String>,
    /// Whether it has no right that a container can be without.
    pub restricted: bool,
    /// Its RuntimeClass, where that is not the default.
    pub runtime: Option<&'a str>,
}

impl Default for Order<'_> {
    fn default() -> Self {
        Self {
            name: "probe",
            image: images::DEBIAN,
            resource: GPU,
            gpus: 0,
            hold: false,
            libraries: false,
            numbers: Vec::new(),
            restricted: false,
            runtime: None,
        }
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
        let numbers =
            [simulation::gpu_numbers(), simulation::control_numbers(), order.numbers.clone()].concat();
        let mut args = vec![format!("--numbers={}", numbers.join(","))];
        args.extend(order.libraries.then(|| format!("--libraries={LIBRARIES}")));
        args.extend(order.hold.then(|| "--hold".to_owned()));
        let limits = if order.gpus == 0 { json!({}) } else { json!({ order.resource: order.gpus }) };
        let mut container = json!({
            "name": "probe",
            "image": order.image,
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "resources": { "limits": limits },
        });
        if order.restricted {
            container["securityContext"] = restricted();
        }
        Self::create_as(node, order.name, &container, &json!([]), order.runtime)
    }

    /// Creates a pod of one container.
    pub fn of(node: &'a Node, name: &str, container: &Value, volumes: &Value) -> Result<Self> {
        Self::create_as(node, name, container, volumes, None)
    }

    fn create_as(
        node: &'a Node,
        name: &str,
        container: &Value,
        volumes: &Value,
        runtime: Option<&str>,
    ) -> Result<Self> {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "labels": { MARK: "e2e" } },
            "spec": {
                // The scheduler still decides, and of a cluster's nodes it can take this one alone.
                "nodeSelector": { "kubernetes.io/hostname": node.hostname },
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "runtimeClassName": runtime,
                "containers": [container],
                "volumes": volumes,
            },
        });
        node.kubectl.run_with_input(&["create", "--filename=-"], &pod.to_string())?;
        Ok(Self { node, name: name.to_owned() })
    }

    /// Waits until the pod is in a phase; a pod that failed ends the wait.
    pub fn wait_for(&self, phase: &str) -> Result<()> {
        let ended = wait(format!("pod {} to be {phase}", self.name), || {
            let pod = self.get()?;
            Ok(match text(&pod["status"]["phase"]) {
                now if now == phase => Verdict::Done(None),
                now if now == "Failed" => Verdict::Done(Some(pod["status"].clone())),
                now => Verdict::Waiting(format!("{now}: {}", pod["status"])),
            })
        });
        match ended {
            Ok(None) => Ok(()),
            Ok(Some(failed)) => bail!("pod {} failed: {failed}\n{}", self.name, self.context()),
            Err(error) => Err(error.context(self.context())),
        }
    }

    /// For messages: what the pod and the plugin say.
    fn context(&self) -> String {
        let log = self.log().unwrap_or_else(|error| error.to_string());
        format!("its log: {log}\nplugin: {}", PLUGIN.summary(self.node))
    }

    /// What the probe found first. The pod must run or have run.
    pub fn report(&self) -> Result<Report> {
        self.nth_report(0)
    }

    /// What the probe of a pod that holds finds from now on.
    pub fn report_anew(&self) -> Result<Report> {
        let reports =
            wait(format!("the log of pod {}", self.name), || Ok(Verdict::Done(self.log()?.lines().count())))?;
        // The next one may have been begun already.
        self.nth_report(reports + 1)
    }

    fn nth_report(&self, at: usize) -> Result<Report> {
        wait(format!("report {at} of pod {}", self.name), || {
            let log = self.log()?;
            let parsed = log.lines().nth(at).map(serde_json::from_str);
            Ok(match parsed {
                Some(Ok(report)) => Verdict::Done(report),
                Some(Err(error)) => Verdict::Waiting(format!("{error}: {log}")),
                None => Verdict::Waiting(format!("{} reports", log.lines().count())),
            })
        })
    }

    /// The ids that the kubelet gave to the container, from the pod's status.
    pub fn given(&self) -> Result<BTreeSet<String>> {
        Ok(self.health()?.into_keys().collect())
    }

    /// Waits until the kubelet has given it its devices. Before that, a plugin that dies has it rejected, whoever wrote that.
    pub fn wait_until_given(&self) -> Result<()> {
        wait(format!("pod {} to be given its devices", self.name), || {
            let pod = self.get()?;
            let phase = text(&pod["status"]["phase"]);
            let is_given =
                ids(&pod).next().is_some() || ["Running", "Succeeded", "Failed"].contains(&&*phase);
            Ok(if is_given { Verdict::Done(()) } else { Verdict::Waiting(pod["status"].to_string()) })
        })
    }

    /// What the pod's status says of the health of each id that the kubelet gave to the container.
    pub fn health(&self) -> Result<BTreeMap<String, String>> {
        let pod = self.get()?;
        Ok(ids(&pod).map(|id| (text(&id["resourceID"]), text(&id["health"]))).collect())
    }

    /// Waits until the pod's status says this of an id that its container holds.
    pub fn wait_for_health(&self, id: &str, health: &str) -> Result<()> {
        wait(format!("pod {} to be told that {id} is {health}", self.name), || {
            let told = self.health()?;
            let is_so = told.get(id).is_some_and(|told| told == health);
            Ok(if is_so { Verdict::Done(()) } else { Verdict::Waiting(format!("{told:?}")) })
        })
    }

    /// The container as it runs now.
    pub fn running(&self) -> Result<Running> {
        let pod = self.get()?;
        let container = container(&pod);
        let started = container["state"]["running"]["startedAt"].as_str();
        Ok(Running {
            id: text(&container["containerID"]),
            restarts: container["restartCount"].as_u64().context("no restart count")?,
            started: started.with_context(|| format!("it does not run: {container}"))?.to_owned(),
        })
    }

    /// Waits until the scheduler has said why it finds no node.
    pub fn wait_for_refusal(&self) -> Result<String> {
        wait(format!("the scheduler to refuse pod {}", self.name), || {
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

    /// What its container printed.
    pub fn log(&self) -> Result<String> {
        self.node.kubectl.run(&["logs", &self.name])
    }
}

/// The rights of a daemon that asks for the management of GPUs instead of being privileged.
pub fn restricted() -> Value {
    json!({
        "privileged": false,
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsUser": 0,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

impl Drop for Pod<'_> {
    fn drop(&mut self) {
        self.node.truth.ends(&self.name);
        // Waits until the kubelet says that the container is gone, so that its GPUs are free for the next test.
        match self.node.kubectl.delete(&["pod", &self.name]) {
            Ok(()) => self.node.truth.gone(&self.name),
            Err(error) => eprintln!("delete pod {}: {error}", self.name),
        }
    }
}

/// The ids that the kubelet gave to a pod's container, with what it says of each.
fn ids(pod: &Value) -> impl Iterator<Item = &Value> {
    fn list(value: &Value) -> impl Iterator<Item = &Value> {
        value.as_array().into_iter().flatten()
    }
    list(&container(pod)["allocatedResourcesStatus"]).flat_map(|resource| list(&resource["resources"]))
}

/// The device nodes of GPUs, `nvidia0` and so on, that a report tells; control nodes left out.
pub fn gpu_nodes(report: &Report) -> BTreeSet<String> {
    let is_gpu = |name: &&String| name.strip_prefix("nvidia").is_some_and(|rest| rest.parse::<u32>().is_ok());
    report.nodes.keys().filter(is_gpu).cloned().collect()
}

/// Asserts that a pod can open its GPUs and the control nodes, and is refused every other GPU, also by nodes that it
/// made itself. Returns the names of its GPUs' device nodes.
pub fn assert_isolated(report: &Report, gpus: usize) -> BTreeSet<String> {
    let nodes = gpu_nodes(report);
    assert_eq!(nodes.len(), gpus, "{report:?}");
    assert_eq!(report.opened.len(), gpus + CONTROL_NODES.len(), "{report:?}");
    for (name, result) in &report.opened {
        assert_eq!(result, "ok", "/dev/{name}: {report:?}");
    }
    let own: BTreeSet<&String> =
        nodes.iter().map(String::as_str).chain(CONTROL_NODES).map(|name| &report.nodes[name]).collect();
    assert_eq!(own.len(), gpus + CONTROL_NODES.len(), "two nodes of one number: {report:?}");
    assert_eq!(report.made.len(), 8 + CONTROL_NODES.len(), "{report:?}");
    for number in &own {
        assert!(report.made.contains_key(*number), "own device {number} was not tried: {report:?}");
    }
    for (number, result) in &report.made {
        let expected = if own.contains(number) { "ok" } else { REFUSED };
        assert_eq!(result, expected, "device {number}, own {own:?}: {report:?}");
    }
    nodes
}
