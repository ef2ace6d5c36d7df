//! Rows of the fault matrix about the kubelet and the plugin's process that no other file tells.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_kubelet::{Event, FakeKubelet};
use kubelet_api::deviceplugin::v1beta1::registration_server::{Registration, RegistrationServer};
use kubelet_api::deviceplugin::v1beta1::{AllocateRequest, ContainerAllocateRequest, Empty, RegisterRequest};
use nvml_sim::FaultEntry;
use sim_node::Signal;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, client, counts, eventually, gpus, plugin_sockets, repeats, serving,
    start_kubelet, start_plugin,
};
use crate::resources::{SHARED_4, rig, write};

// Fails if a new process registers only once kubelet.sock changes.
#[tokio::test]
async fn k04_f04_plugin_that_is_killed_under_churn_comes_back_and_disturbs_no_pod() {
    let (node, kubelet, mut plugin) = serving().await;
    let held = kubelet.allocate("held", "main", RESOURCE, 2).await.unwrap().devices;
    for round in 0..repeats(3, 500) {
        let churn = format!("churn-{round}");
        kubelet.allocate(churn.as_str(), "main", RESOURCE, 1 + round % 6).await.unwrap();
        plugin.signal(Signal::KILL).unwrap();
        plugin.wait(PATIENCE).unwrap();
        counts_without_plugin(&kubelet);
        // What runs may crash meanwhile, and is started again without the plugin.
        kubelet.restart_container("held", "main", RESOURCE).await.unwrap();
        plugin = start_plugin(&node, &QUICK);
        counts(&kubelet, 8, 8);
        kubelet.release(churn.as_str());
    }
    eventually("one socket is left", || match plugin_sockets(&node).len() {
        1 => Ok(()),
        sockets => Err(sockets),
    });
    let state = kubelet.resources();
    assert_eq!(state.pods.len(), 1);
    assert_eq!(state.pods[0].holdings[0].devices, held);
    assert!(kubelet.allocate("rest", "main", RESOURCE, 6).await.is_ok());
}

/// Waits until the kubelet knows that the plugin is gone.
fn counts_without_plugin(kubelet: &FakeKubelet) {
    eventually("nothing is allocatable", || {
        let found = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default();
        if found.endpoints.is_empty() && found.allocatable == 0 { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

// Fails if rpc.rs answers the options with an error, or `Machine::register` gives the kubelet a path.
#[tokio::test]
async fn k06_k21_kubelet_is_answered_while_it_registers_and_gets_a_name_without_a_folder() {
    let (_node, kubelet, _plugin) = serving().await;
    let log = kubelet.log();
    let endpoints: Vec<&str> = log
        .iter()
        .filter_map(|happening| match &happening.event {
            Event::Registered { endpoint, .. } => Some(endpoint.as_str()),
            Event::RegistrationRefused { reason, .. } => panic!("refused: {reason}"),
            _ => None,
        })
        .collect();
    assert!(endpoints.len() == 1 && !endpoints[0].contains('/'), "{endpoints:?}");
}

// Fails if `allocate` in rpc.rs answers the first container alone.
#[tokio::test]
async fn k10_each_container_gets_a_response_of_its_own() {
    let (node, _kubelet, _plugin) = serving().await;
    let gpus = gpus(&node);
    let mut client = client(&node).await;
    for count in [0, 1, 3] {
        let request = |gpu: &String| ContainerAllocateRequest { devices_ids: vec![gpu.clone()] };
        let container_requests: Vec<_> = gpus.iter().take(count).map(request).collect();
        let answer = client.allocate(AllocateRequest { container_requests }).await.unwrap().into_inner();
        let names: Vec<_> =
            answer.container_responses.iter().map(|response| response.cdi_devices[0].name.clone()).collect();
        let expected: Vec<_> = gpus.iter().take(count).map(|gpu| format!("gantry.dev/gpu={gpu}")).collect();
        assert_eq!(names, expected);
    }
}

// Fails if the config's names are not checked: the kubelet would refuse this one again and again.
#[tokio::test]
async fn k20_resource_name_that_the_kubelet_would_refuse_is_never_shown_to_it() {
    let bad = SHARED_4.replace("replicas", "rename: 'nvidia.com/no good', replicas");
    let rig = rig(bare().build().unwrap(), &bad, &[]).await;
    rig.plugin.readiness_says(&["config-invalid", "rename", "no good"]).unwrap();
    assert!(rig.kubelet.log().iter().all(|it| !matches!(it.event, Event::RegistrationRefused { .. })));
    assert!(rig.kubelet.resources().resources.is_empty());
    write(&rig.node, SHARED_4);
    counts(&rig.kubelet, 32, 32);
    rig.plugin.ready().unwrap();
}

// Fails if config.rs does not check the socket's length.
#[tokio::test]
async fn k22_folder_too_long_for_a_socket_ends_the_start_with_the_limit() {
    let node = bare().build().unwrap();
    let folder = node.dir().join("x".repeat(80));
    let mut flags = node.daemon_flags();
    flags.push(format!("--kubelet-dir={}", folder.display()).into());
    let plugin = node.spawn("gpu-device-plugin", &flags).unwrap();
    assert_eq!(plugin.wait(PATIENCE).unwrap().code(), Some(2));
    assert!(plugin.log().contains("107"), "{}", plugin.log());
}

// Fails if `adopt_config` does not check the map.
#[tokio::test]
async fn k23_f17_list_that_the_kubelet_could_not_read_is_refused_with_the_arithmetic() {
    let rig = rig(bare().build().unwrap(), &SHARED_4.replace("4}", "2500}"), &[]).await;
    rig.plugin
        .readiness_says(&["too-many-devices", "8 devices x 2500 replicas = 20000", "16384 at most"])
        .unwrap();
    assert!(rig.kubelet.resources().resources.is_empty());
    // As many as there may be.
    write(&rig.node, &SHARED_4.replace("4}", "2048}"));
    counts(&rig.kubelet, 16_384, 16_384);
    rig.plugin.ready().unwrap();
}

// Fails if `feed` in streams.rs takes the state before it has room, or the observer waits for streams.
#[tokio::test]
async fn k25_f10_stream_that_nobody_reads_holds_up_neither_health_nor_the_kubelets() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let mut stalled = client(&node).await.list_and_watch(Empty {}).await.unwrap().into_inner();
    for gpu in ["0", "1", "2"] {
        node.driver().inject_xid(gpu, 79, None, None).unwrap();
    }
    counts(&kubelet, 8, 5);
    plugin.ready().unwrap();
    // Whoever reads at last gets what is so now, soon: no backlog of what was.
    let mut healthy = Vec::new();
    while healthy.last() != Some(&5) {
        let list = stalled.message().await.unwrap().unwrap();
        healthy.push(list.devices.iter().filter(|device| device.health == "Healthy").count());
    }
    assert!(healthy.len() <= 3, "{healthy:?}");
}

// Fails if a stream is fed by events: what happened while there was none would be lost.
#[tokio::test]
async fn k26_what_happens_between_two_streams_is_in_the_next_ones_first_list() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    kubelet.withhold_streams();
    assert_eq!(kubelet.drop_streams(RESOURCE).await, 1);
    node.driver().inject_xid("3", 79, None, None).unwrap();
    plugin.says("to=Unhealthy(xid-79)").unwrap();
    let seen = kubelet.log().len();
    kubelet.open_streams();
    counts(&kubelet, 8, 7);
    // The amounts change before the log says why.
    let first = eventually("a list is told", || {
        let listed = kubelet.log()[seen..].iter().find_map(|happening| match happening.event {
            Event::Listed { healthy, .. } => Some(healthy),
            _ => None,
        });
        listed.ok_or_else(|| "none".to_owned())
    });
    assert_eq!(first, 7);
}

// Fails if a registration that a restart interrupts is not begun anew.
#[tokio::test]
async fn f03_kubelet_that_restarts_again_and_again_gets_the_list_in_the_end() {
    let (node, kubelet, plugin) = serving().await;
    for _ in 0..repeats(10, 60) {
        kubelet.restart().await.unwrap();
    }
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    assert_eq!(plugin_sockets(&node).len(), 1);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if `Watching::take_xid` does not tell the ledger. Pods wait meanwhile: the kubelet has no deadline.
#[tokio::test]
async fn f05_plugin_that_was_stopped_for_a_while_goes_on_with_what_happened() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    plugin.signal(Signal::STOP).unwrap();
    // The driver itself forgets it at once: no probe would tell.
    let gpu = Some("3".to_owned());
    let xid = FaultEntry { xid: Some(95), no_recovery_action: true, gpu, ..FaultEntry::default() };
    node.driver().declare(xid).unwrap();
    let waiting = tokio::spawn({
        let kubelet = kubelet.clone();
        async move { kubelet.allocate("pod", "main", RESOURCE, 1).await }
    });
    plugin.signal(Signal::CONT).unwrap();
    counts(&kubelet, 8, 7);
    assert!(waiting.await.unwrap().is_ok());
    assert!(kubelet.allocate("rest", "main", RESOURCE, 6).await.is_ok());
}

/// A kubelet that refuses, and counts how often.
#[derive(Clone, Default)]
struct Refusing(Arc<AtomicUsize>);

#[tonic::async_trait]
impl Registration for Refusing {
    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<Empty>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(Status::unknown("not to its taste"))
    }
}

// Fails without the pause in `Machine::failed`.
#[tokio::test(flavor = "multi_thread")]
async fn f11_kubelet_that_refuses_is_asked_with_back_off_until_it_does_not() {
    let node = bare().build().unwrap();
    let refusing = Refusing::default();
    let socket: PathBuf = node.plugin_dir().join("kubelet.sock");
    let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let service = RegistrationServer::new(refusing.clone());
    let server = tokio::spawn(Server::builder().serve_with_incoming(service, listener));
    let begin = Instant::now();
    let plugin = start_plugin(&node, &QUICK);
    let wanted = repeats(4, 10);
    eventually("it is refused often", || match refusing.0.load(Ordering::SeqCst) {
        count if count >= wanted => Ok(()),
        count => Err(count),
    });
    // The first three pauses are 100, 200 and 400 ms, less their jitter.
    assert!(begin.elapsed() >= Duration::from_millis(350), "{:?}: that spins", begin.elapsed());
    plugin.readiness_says(&["register-refused", "not to its taste"]).unwrap();
    server.abort();
    std::fs::remove_file(&socket).unwrap();
    let kubelet = start_kubelet(&node).await;
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}
