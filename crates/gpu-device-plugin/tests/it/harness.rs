//! The plugin on a `sim-node`, with the kubelet in the test's own process: what these tests do again and again.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::Duration;

use fake_kubelet::FakeKubelet;
use kubelet_api::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use sim_node::{Builder, Process, SimNode};
use tonic::transport::{Channel, Endpoint};

/// How long a condition may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const RESOURCE: &str = "nvidia.com/gpu";

/// Flags of a plugin that asks no container runtime, and probes often.
pub const QUICK: [&str; 2] = ["--cdi-proof=assume", "--probe-interval=1s"];

/// How often a fault is repeated: `ci` times unless `GANTRY_FAULT_REPEATS` says how often, or `full` for all of them.
pub fn repeats(ci: usize, full: usize) -> usize {
    match std::env::var("GANTRY_FAULT_REPEATS") {
        Err(_) => ci,
        Ok(word) if word == "full" => full,
        Ok(word) => word.parse().unwrap(),
    }
}

/// A node to be, without kubelet and container runtime.
pub fn bare() -> Builder {
    SimNode::builder().without_kubelet().runtime(None)
}

pub async fn start_kubelet(node: &SimNode) -> FakeKubelet {
    FakeKubelet::start(node.plugin_dir()).await.unwrap()
}

pub fn start_plugin(node: &SimNode, flags: &[&str]) -> Process {
    node.spawn_plugin(&[&["--log-level=debug,h2=info,hyper=info"], flags].concat()).unwrap()
}

/// A node whose kubelet has 8 GPUs from the plugin.
pub async fn serving() -> (SimNode, FakeKubelet, Process) {
    serving_with(&QUICK).await
}

pub async fn serving_with(flags: &[&str]) -> (SimNode, FakeKubelet, Process) {
    let node = bare().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, flags);
    counts(&kubelet, 8, 8);
    (node, kubelet, plugin)
}

/// UUIDs in the order of their indices.
pub fn gpus(node: &SimNode) -> Vec<String> {
    node.driver().node().unwrap().gpus.into_iter().map(|gpu| gpu.uuid).collect()
}

/// The plugin's sockets that are there.
pub fn plugin_sockets(node: &SimNode) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.plugin_dir()).unwrap().map(Result::unwrap);
    let ours = entries.filter(|entry| {
        entry.file_name().to_string_lossy().starts_with("gantry-") && entry.file_type().unwrap().is_socket()
    });
    ours.map(|entry| entry.path()).collect()
}

/// A client on the plugin's own socket.
pub async fn client(node: &SimNode) -> DevicePluginClient<Channel> {
    let socket = eventually("the plugin has a socket", || plugin_sockets(node).pop().ok_or("none"));
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
    DevicePluginClient::new(endpoint.connect().await.unwrap())
}

/// Polls until `check` gives a value; panics with its last complaint after a while.
pub fn eventually<T, E: Display>(what: &str, mut check: impl FnMut() -> Result<T, E>) -> T {
    sim_node::eventually(what, PATIENCE, || check().map_err(|error| error.to_string())).unwrap()
}

/// Waits until the driver has answered all that the plugin asks at the start.
pub fn first_questions_are_answered(plugin: &Process) {
    eventually("the first questions are answered", || {
        let log = plugin.log();
        let rest = log.rsplit_once("watching 8 of 8 GPUs").map(|(_, rest)| rest.to_owned());
        if rest.is_some_and(|rest| rest.contains("no question to the driver is open")) {
            Ok(())
        } else {
            Err("not yet")
        }
    });
}

/// Waits until the kubelet counts so many devices, and so many of them healthy.
pub fn counts(kubelet: &FakeKubelet, capacity: usize, allocatable: usize) {
    counts_of(kubelet, RESOURCE, capacity, allocatable);
}

/// The same of a resource by another name.
pub fn counts_of(kubelet: &FakeKubelet, resource: &str, capacity: usize, allocatable: usize) {
    eventually(&format!("{resource}: capacity {capacity}, allocatable {allocatable}"), || {
        let found = kubelet.resources().resources.remove(resource);
        let is_so = found.as_ref().is_some_and(|found| {
            (found.capacity, found.allocatable) == (capacity, allocatable) && !found.endpoints.is_empty()
        });
        if is_so { Ok(()) } else { Err(format!("{found:?}")) }
    });
}
