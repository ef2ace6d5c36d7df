//! The kubelet coming, going, restarting and misbehaving.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use fake_kubelet::{Event, FakeKubelet};
use kubelet_api::deviceplugin::v1beta1::{Empty, PreStartContainerRequest};
use sim_node::Signal;

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, client, counts, eventually, first_questions_are_answered,
    plugin_sockets, serving, serving_with, start_kubelet, start_plugin,
};

const CALLS: &str = "gantry_device_plugin_nvml_calls_total{role=\"queries\"}";

// Fails if `Machine::registered` compares the kubelet's socket by its path alone.
#[tokio::test]
async fn k01_f01_kubelet_that_restarts_gets_the_list_again_without_the_driver_being_asked() {
    // Probes an hour apart, so that calls can only come from the registration.
    let (node, kubelet, plugin) = serving_with(&["--cdi-proof=assume", "--probe-interval=1h"]).await;
    first_questions_are_answered(&plugin);
    let settled = plugin.metric(CALLS).unwrap();
    for _ in 0..5 {
        // What is lost has to stand first.
        plugin.ready().unwrap();
        kubelet.restart().await.unwrap();
        counts(&kubelet, 8, 8);
    }
    assert!(
        (plugin.metric(CALLS).unwrap() - settled).abs() < 0.1,
        "{settled} then {}",
        plugin.metric(CALLS).unwrap()
    );
    assert_eq!(plugin_sockets(&node).len(), 1);
    assert!(plugin.metric("gantry_device_plugin_registrations_lost_total").unwrap() >= 5.0);
    plugin.ready().unwrap();
}

// Fails if `Machine::absent` ends instead of waiting.
#[tokio::test]
async fn k02_kubelet_that_comes_late_is_waited_for_with_a_reason() {
    let node = bare().build().unwrap();
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"kubelet-absent\"", "kubelet.sock is not there"]).unwrap();
    let kubelet = start_kubelet(&node).await;
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

// Fails if kubelet_socket.rs takes any file for a socket.
#[tokio::test]
async fn f08_plain_file_at_the_kubelets_path_is_told_and_outlived() {
    let node = bare().build().unwrap();
    std::fs::write(node.plugin_dir().join("kubelet.sock"), "no socket").unwrap();
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"kubelet-socket-invalid\""]).unwrap();
    std::fs::remove_file(node.plugin_dir().join("kubelet.sock")).unwrap();
    let kubelet = start_kubelet(&node).await;
    counts(&kubelet, 8, 8);
}

#[tokio::test]
async fn socket_that_refuses_is_tried_with_back_off_and_left_when_it_is_replaced() {
    let node = bare().build().unwrap();
    drop(UnixListener::bind(node.plugin_dir().join("kubelet.sock")).unwrap());
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"kubelet-unreachable\"", "refused"]).unwrap();
    let attempts = plugin.metric("gantry_device_plugin_registrations_total").unwrap();
    assert!(attempts < 40.0, "{attempts} attempts: that spins");
    std::fs::remove_file(node.plugin_dir().join("kubelet.sock")).unwrap();
    let kubelet = start_kubelet(&node).await;
    counts(&kubelet, 8, 8);
}

#[tokio::test]
async fn socket_that_is_bound_before_it_listens_is_tried_again_within_the_gap() {
    let node = bare().build().unwrap();
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"kubelet-absent\""]).unwrap();
    // Long enough for an attempt within it on a busy machine.
    let gap = Duration::from_secs(1);
    let kubelet = FakeKubelet::builder(node.plugin_dir()).listen_gap(gap).start().await.unwrap();
    counts(&kubelet, 8, 8);
    let log = kubelet.log();
    let at = |wanted: fn(&Event) -> bool| {
        log.iter().find(|happening| wanted(&happening.event)).map(|happening| happening.unix_nanos)
    };
    let started = at(|event| matches!(event, Event::Started { .. })).unwrap();
    let registered = at(|event| matches!(event, Event::Registered { .. })).unwrap();
    println!(
        "from kubelet.sock to registered, {gap:?} of them refusing: {:?}",
        Duration::from_nanos(registered - started)
    );
    assert!(
        plugin
            .metric("gantry_device_plugin_registrations_total{resource=\"nvidia.com/gpu\",result=\"failed\"}")
            .unwrap()
            >= 1.0
    );
}

// Fails if `Machine::registered` does not wait for the loss of the kubelet's stream.
#[tokio::test]
async fn f02_kubelet_that_stops_and_comes_back_gets_the_list_again() {
    let node = bare().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    kubelet.stop().await;
    plugin.readiness_says(&["\"kubelet-unreachable\""]).unwrap();
    assert!(
        plugin.metric("gantry_device_plugin_registrations_lost_total{cause=\"stream-lost\"").unwrap() >= 1.0
    );
    kubelet.restart().await.unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

// Fails if `Machine::registered` does not wait for the loss of the kubelet's stream.
#[tokio::test]
async fn k05_f09_stream_that_a_living_kubelet_drops_leads_to_a_new_registration() {
    let (node, kubelet, plugin) = serving().await;
    let first = plugin_sockets(&node).pop().unwrap();
    assert_eq!(kubelet.drop_streams(RESOURCE).await, 1);
    counts(&kubelet, 8, 8);
    assert!(
        plugin.metric("gantry_device_plugin_registrations_lost_total{cause=\"stream-lost\"").unwrap() >= 1.0
    );
    assert!(!plugin_sockets(&node).contains(&first), "each registration has a socket of its own");
    plugin.ready().unwrap();
}

// Fails without `STREAM_PATIENCE` in `Machine::registered`.
#[tokio::test]
async fn k05_kubelet_that_registers_and_never_listens_is_told_and_tried_again() {
    let node = bare().build().unwrap();
    let kubelet = FakeKubelet::builder(node.plugin_dir()).without_streams().start().await.unwrap();
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"stream-lost\""]).unwrap();
    kubelet.open_streams();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[tokio::test]
async fn stream_of_somebody_else_does_not_hide_that_the_kubelets_is_lost() {
    let (node, kubelet, plugin) = serving().await;
    plugin.ready().unwrap();
    let mut other = client(&node).await.list_and_watch(Empty {}).await.unwrap().into_inner();
    assert_eq!(other.message().await.unwrap().unwrap().devices.len(), 8);
    eventually("both streams are counted", || {
        let count = plugin.metric("gantry_device_plugin_streams").unwrap();
        if count >= 2.0 { Ok(()) } else { Err(count.to_string()) }
    });
    kubelet.stop().await;
    plugin.readiness_says(&["\"kubelet-unreachable\""]).unwrap();
    let lost = "gantry_device_plugin_registrations_lost_total{cause=\"stream-lost\"";
    assert!(plugin.metric(lost).unwrap() >= 1.0);
    kubelet.restart().await.unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

// Fails if `Machine::registered` does not look whether the own socket is in its place.
#[tokio::test]
async fn f06_own_socket_that_somebody_removes_is_bound_again() {
    let (node, kubelet, plugin) = serving().await;
    let first = plugin_sockets(&node).pop().unwrap();
    std::fs::remove_file(&first).unwrap();
    let lost = "gantry_device_plugin_registrations_lost_total{cause=\"own-socket-gone\"";
    eventually("the loss is noticed", || {
        if plugin.metric(lost).unwrap() >= 1.0 { Ok(()) } else { Err("not yet") }
    });
    // The kubelet refuses a socket whose stream it still counts as live, and then forgets that stream.
    let name = |socket: &std::path::PathBuf| socket.file_name().unwrap().to_str().unwrap().to_owned();
    let first = name(&first);
    eventually("the kubelet has a second socket", || {
        let found = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default();
        // There may be a draft of it for a moment.
        let there: Vec<String> = plugin_sockets(&node).iter().map(name).collect();
        if found.endpoints == there && !there.contains(&first) {
            Ok(())
        } else {
            Err(format!("{found:?}, {there:?}"))
        }
    });
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if kubelet_socket.rs stays bound to the folder that it met first.
#[tokio::test]
async fn k03_f07_folder_that_is_moved_away_and_made_again_is_followed() {
    let (node, kubelet, _plugin) = serving().await;
    kubelet.stop().await;
    std::fs::rename(node.plugin_dir(), node.dir().join("moved-away")).unwrap();
    std::fs::create_dir(node.plugin_dir()).unwrap();
    kubelet.restart().await.unwrap();
    counts(&kubelet, 8, 8);
}

// Fails if `KubeletWatch::look` does not ask for the folder's link count.
#[tokio::test]
async fn k03_folder_that_is_deleted_under_a_mount_ends_the_process_with_1() {
    let node = bare().build().unwrap();
    // A descriptor of this process reaches a deleted folder, as a bind mount does.
    let held = std::fs::File::open(node.plugin_dir()).unwrap();
    let reached = format!("/proc/{}/fd/{}/kubelet.sock", std::process::id(), held.as_raw_fd());
    let kubelet = start_kubelet(&node).await;
    let plugin = node
        .spawn(
            "gpu-device-plugin",
            &[
                node.daemon_flags(),
                [&QUICK[..], &["--kubelet-socket", &reached]].concat().iter().map(Into::into).collect(),
            ]
            .concat(),
        )
        .unwrap();
    counts(&kubelet, 8, 8);
    kubelet.stop().await;
    std::fs::remove_dir_all(node.plugin_dir()).unwrap();
    assert_eq!(plugin.wait(PATIENCE).unwrap().code(), Some(1));
    assert!(plugin.log().contains("was replaced under us"), "{}", plugin.last_words(5));
}

// On several threads, so that the client's connection is served while the test waits for the end.
// Fails if the own socket's file is not removed when it is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn k28_sigterm_ends_with_0_and_removes_the_own_socket() {
    let (node, _kubelet, plugin) = serving().await;
    let mut held = client(&node).await;
    plugin.signal(Signal::TERM).unwrap();
    assert_eq!(plugin.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(plugin_sockets(&node), Vec::<std::path::PathBuf>::new());
    assert!(held.pre_start_container(PreStartContainerRequest::default()).await.is_err());
}
