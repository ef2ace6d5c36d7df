//! The proof that the container runtime resolves CDI names.

use fake_kubelet::Event;
use sim_node::{ContainerRuntime, Process, RuntimeAnswer, SimNode};

use crate::harness::{QUICK, RESOURCE, bare, counts, serving, start_kubelet, start_plugin};

/// The folder of our spec, as the host calls it.
const OURS: &str = "/var/run/cdi";

/// A containerd that reads specs from this folder, or would with CDI on.
fn containerd(version: &str, enabled: bool, dir: &str) -> RuntimeAnswer {
    let config = format!(r#"{{"enableCDI":{enabled},"cdiSpecDirs":["/etc/cdi","{dir}"]}}"#);
    RuntimeAnswer { name: "containerd".to_owned(), version: version.to_owned(), config: Some(config) }
}

fn start(node: &SimNode, answer: RuntimeAnswer) -> ContainerRuntime {
    ContainerRuntime::start(&node.dir().join("runtime.sock"), answer).unwrap()
}

fn plugin_that_asks(node: &SimNode, socket: &str) -> Process {
    start_plugin(node, &["--probe-interval=1s", "--cri-socket", socket])
}

#[tokio::test]
async fn containerd_that_reads_our_folder_is_proof() {
    let node = bare().build().unwrap();
    let runtime = start(&node, containerd("2.1.4", true, OURS));
    let kubelet = start_kubelet(&node).await;
    let plugin = plugin_that_asks(&node, runtime.socket().to_str().unwrap());
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[tokio::test]
async fn runtime_with_cdi_off_keeps_the_plugin_from_registering_until_it_is_on() {
    let node = bare().build().unwrap();
    let runtime = start(&node, containerd("1.7.28", false, OURS));
    let kubelet = start_kubelet(&node).await;
    let plugin = plugin_that_asks(&node, runtime.socket().to_str().unwrap());
    plugin.readiness_says(&["\"cdi-unproven\"", "enable_cdi", "containerd 1.7.28"]).unwrap();
    plugin.readiness_says(&["\"waiting\""]).unwrap();
    assert!(kubelet.resources().resources.is_empty());

    runtime.set_answer(containerd("1.7.28", true, OURS));
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[test]
fn runtime_that_reads_other_folders_is_told_with_both() {
    let node = bare().build().unwrap();
    let runtime = start(&node, containerd("2.1.4", true, "/opt/cdi"));
    let plugin = plugin_that_asks(&node, runtime.socket().to_str().unwrap());
    plugin.readiness_says(&["\"cdi-unproven\"", "/opt/cdi", OURS]).unwrap();
}

#[test]
fn runtime_that_cannot_be_asked_is_no_proof() {
    let node = bare().build().unwrap();
    let plugin = plugin_that_asks(&node, "/nonexistent/containerd.sock");
    plugin.readiness_says(&["\"cdi-unproven\"", "/nonexistent/containerd.sock", "--cri-socket"]).unwrap();
    let docker = RuntimeAnswer { name: "docker".to_owned(), version: "28.0.0".to_owned(), config: None };
    let docker = start(&node, docker);
    let plugin = plugin_that_asks(&node, docker.socket().to_str().unwrap());
    plugin.readiness_says(&["\"cdi-unproven\"", "docker 28.0.0", "--cdi-proof=assume"]).unwrap();
}

#[tokio::test]
async fn second_runtime_without_cdi_keeps_the_plugin_from_registering_unless_the_kubelets_is_named() {
    let node = bare().runtime(Some(RuntimeAnswer::containerd())).build().unwrap();
    let answer = RuntimeAnswer { name: "cri-o".to_owned(), version: "1.27.4".to_owned(), config: None };
    let _crio = ContainerRuntime::start(&node.root().join("run/crio/crio.sock"), answer).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &["--probe-interval=1s"]);
    plugin.readiness_says(&["\"cdi-unproven\"", "cri-o 1.27.4", "--cri-socket"]).unwrap();
    plugin.readiness_says(&["\"waiting\""]).unwrap();
    assert!(kubelet.resources().resources.is_empty());

    let named = node.root().join("run/containerd/containerd.sock");
    let plugin = plugin_that_asks(&node, named.to_str().unwrap());
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[tokio::test]
async fn runtime_that_is_restarted_with_cdi_off_gets_no_pods_until_it_is_on() {
    let node = bare().build().unwrap();
    let runtime = start(&node, containerd("2.1.4", true, OURS));
    let kubelet = start_kubelet(&node).await;
    let plugin = plugin_that_asks(&node, runtime.socket().to_str().unwrap());
    counts(&kubelet, 8, 8);

    drop(runtime);
    let runtime = start(&node, containerd("2.1.4", false, OURS));
    plugin.readiness_says(&["\"cdi-unproven\"", "enable_cdi"]).unwrap();
    let refused = kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap_err().to_string();
    assert!(refused.contains("CDI") || refused.contains("unhealthy"), "{refused}");
    // Pods wait in the scheduler, rather than be rejected one by one.
    counts(&kubelet, 8, 0);
    plugin.readiness_says(&["cannot be handed out: CDI is not proven any more"]).unwrap();

    runtime.set_answer(containerd("2.1.4", true, OURS));
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if `obstacle_of` in projection.rs passes over a stale spec.
#[tokio::test]
async fn k30_spec_that_cannot_be_kept_stops_allocations_and_then_takes_the_devices() {
    let (node, kubelet, plugin) = serving().await;
    std::fs::remove_dir_all(node.cdi_dir()).unwrap();
    std::fs::write(node.cdi_dir(), "a file where the folder should be").unwrap();
    plugin.readiness_says(&["\"cdi-spec-stale\"", "cannot make the CDI folder"]).unwrap();
    let refused = kubelet.allocate("pod", "main", RESOURCE, 1).await.unwrap_err().to_string();
    assert!(refused.contains("CDI spec cannot be used") || refused.contains("unhealthy"), "{refused}");
    counts(&kubelet, 8, 0);

    std::fs::remove_file(node.cdi_dir()).unwrap();
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
    plugin.ready().unwrap();
}

#[tokio::test]
async fn spec_folder_that_cannot_be_written_from_the_start_is_told_and_nothing_is_registered() {
    let node = bare().build().unwrap();
    std::fs::remove_dir_all(node.cdi_dir()).unwrap();
    std::fs::write(node.cdi_dir(), "a file where the folder should be").unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"cdi-spec-missing\""]).unwrap();
    assert!(kubelet.resources().resources.is_empty());
    std::fs::remove_file(node.cdi_dir()).unwrap();
    counts(&kubelet, 8, 8);
}

#[tokio::test]
async fn spec_is_on_disk_before_the_registration() {
    let node = bare().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let _plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    let log = kubelet.log();
    let registered = log
        .iter()
        .find(|happening| matches!(happening.event, Event::Registered { .. }))
        .map(|happening| u128::from(happening.unix_nanos))
        .unwrap();
    let spec = std::fs::metadata(node.cdi_dir().join("gantry.dev-gpu.json")).unwrap();
    let written = spec.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    assert!(written <= registered, "written at {written}, registered at {registered}");
}

// Fails if the observer asks for the topology before it publishes.
#[tokio::test]
async fn k14_f21_spec_is_written_before_the_driver_is_asked_for_anything_slow() {
    let (_node, _kubelet, plugin) = serving().await;
    plugin.says("topology known").unwrap();
    let log = plugin.log();
    let at = |words: &str| log.find(words).unwrap_or(usize::MAX);
    // Else the registration waits out the head start that is to keep the rest from it.
    assert!(at("CDI spec written") < at("topology known"), "{log}");
}
