//! Looks at the node every second while a test strikes it, and judges what was seen: the kubelet's pod resources, the
//! Node object, the pods and the plugin's metrics.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use history::{Container, Progress, Seen, check, gpu_states, pod_resources, record};
use serde_json::Value;

use crate::daemon::PLUGIN;
use crate::node::{MARK, Node, text};

const INTERVAL: Duration = Duration::from_secs(1);

/// How long a broken GPU may be called healthy: three probes, and the kubelet's own report.
const DETECTION: Duration = Duration::from_secs(60);

/// Does a test's work and asserts that meanwhile no device had two holders, no pod was disturbed but those that the test
/// ended, and nothing broken was called healthy again. The test tells what it breaks and mends by the node's `truth`.
pub fn watched<T>(node: &Node, body: impl FnOnce() -> T) -> T {
    // Socket paths are limited to 107 bytes, and the state folder may lie deep.
    let link = tempfile::tempdir().unwrap();
    symlink(node.cluster().host_path("/var/lib/kubelet/pod-resources"), link.path().join("r")).unwrap();
    let socket = link.path().join("r/kubelet.sock");
    let (result, looks) = record(&node.truth, INTERVAL, || look(node, &socket), body);
    let violations: Vec<String> = check(&looks, DETECTION).iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    // A source that never spoke would have seen nothing.
    let spoke = |of: fn(&Seen) -> bool| looks.iter().filter(|look| of(&look.seen)).count();
    let counts = [
        spoke(|seen| seen.held.is_some()),
        spoke(|seen| seen.status.is_some()),
        spoke(|seen| seen.states.is_some()),
        spoke(|seen| seen.containers.is_some()),
    ];
    assert!(counts.iter().all(|count| *count > 0), "of {} looks: {counts:?}", looks.len());
    eprintln!("{} looks at the node, {counts:?} of pod resources, status, metrics and pods", looks.len());
    result
}

fn look(node: &Node, socket: &Path) -> Seen {
    let resources = pod_resources(socket, "default").ok();
    let status = node.get().ok().map(|found| allocatable(&found));
    let states = PLUGIN.ask(node, "/metrics").ok().map(|page| gpu_states(&page));
    let (allocatable, held) = resources.map(|found| (found.allocatable, found.held)).unzip();
    Seen { allocatable, held, status, states, containers: containers(node) }
}

fn allocatable(node: &Value) -> BTreeMap<String, usize> {
    let amounts = node["status"]["allocatable"].as_object().into_iter().flatten();
    let ours = amounts.filter(|(resource, _)| resource.starts_with("nvidia.com/"));
    ours.filter_map(|(resource, amount)| Some((resource.clone(), amount.as_str()?.parse().ok()?))).collect()
}

fn containers(node: &Node) -> Option<BTreeMap<String, Container>> {
    let pods = node.kubectl.json(&["get", "pods", &format!("--selector={MARK}")]).ok()?;
    let mut containers = BTreeMap::new();
    for pod in pods["items"].as_array()? {
        for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
            let progress = match &status["state"] {
                state if state["running"].is_object() => Progress::Running,
                state if state["terminated"]["exitCode"] == 0 => Progress::Succeeded,
                state if state["terminated"].is_object() => Progress::Failed,
                _ => Progress::Waiting,
            };
            let name = format!("{}/{}", text(&pod["metadata"]["name"]), text(&status["name"]));
            let id = format!("{} {}", text(&status["containerID"]), status["restartCount"]);
            containers.insert(name, Container { id, progress });
        }
    }
    Some(containers)
}
