//! Several instances on one node: upgrades, and what a killed one leaves.

use std::time::Duration;

use fake_kubelet::{Event, FakeKubelet};
use sim_node::Signal;

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, counts, eventually, plugin_sockets, repeats, serving, start_plugin,
};

// Fails if `Machine::serving` does not clean.
#[tokio::test]
async fn k19_socket_of_a_killed_instance_is_cleaned_by_the_next_one() {
    let (node, kubelet, first) = serving().await;
    let dead = plugin_sockets(&node);
    first.signal(Signal::KILL).unwrap();
    first.wait(PATIENCE).unwrap();
    assert_eq!(plugin_sockets(&node), dead);

    let second = start_plugin(&node, &QUICK);
    second.ready().unwrap();
    let sockets = plugin_sockets(&node);
    assert!(sockets.len() == 1 && sockets != dead, "{sockets:?} {dead:?}");
    counts(&kubelet, 8, 8);
}

// Fails if cleaning.rs takes a socket that answers for a dead one.
#[tokio::test]
async fn k18_f12_second_instance_takes_over_and_the_firsts_socket_is_not_touched() {
    let (node, kubelet, first) = serving().await;
    let of_first = plugin_sockets(&node).pop().unwrap();

    let second = start_plugin(&node, &QUICK);
    second.ready().unwrap();
    assert!(plugin_sockets(&node).contains(&of_first));
    assert_eq!(plugin_sockets(&node).len(), 2);
    first.signal(Signal::TERM).unwrap();
    assert_eq!(first.wait(PATIENCE).unwrap().code(), Some(0));

    eventually("one socket is left", || match plugin_sockets(&node) {
        sockets if sockets.len() == 1 && !sockets.contains(&of_first) => Ok(()),
        sockets => Err(format!("{sockets:?}")),
    });
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

/// How long a resource was without a plugin, each time that it was.
fn gaps(kubelet: &FakeKubelet) -> Vec<Duration> {
    let mut since = None;
    let mut gaps = Vec::new();
    for happening in kubelet.log() {
        match happening.event {
            Event::Disconnected { .. } => since = Some(happening.at),
            Event::Listed { healthy: 8, .. } => {
                gaps.extend(since.take().map(|since| happening.at.saturating_duration_since(since)));
            }
            _ => {}
        }
    }
    assert!(since.is_none(), "it is without one now: {:?}", kubelet.resources());
    gaps
}

// A kubelet before 1.37 takes the end of the older stream for the end of the newer plugin, and never calls that one back.
// Fails if `Machine::registered` waits for a stream that was lost as it does for one that never came: two seconds.
#[tokio::test]
async fn k18_f12_newer_instance_registers_again_at_once_where_a_kubelet_confuses_it_with_the_older() {
    let node = bare().build().unwrap();
    let kubelet = FakeKubelet::builder(node.plugin_dir()).tracking_by_resource().start().await.unwrap();
    let mut older = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    let held = kubelet.allocate("held", "main", RESOURCE, 2).await.unwrap().devices;
    let rounds = repeats(3, 50);
    for round in 1..=rounds {
        let newer = start_plugin(&node, &QUICK);
        newer.ready().unwrap();
        older.signal(Signal::TERM).unwrap();
        assert_eq!(older.wait(PATIENCE).unwrap().code(), Some(0));
        eventually("one instance is left, and registered", || {
            let found = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default();
            let lost = newer.metric("gantry_device_plugin_registrations_lost_total{cause=\"stream-lost\"");
            let is_so = found.allocatable == 8 && found.endpoints.len() == 1 && lost.unwrap() >= 1.0;
            if is_so { Ok(()) } else { Err(format!("round {round}: {found:?}")) }
        });
        newer.ready().unwrap();
        older = newer;
    }
    let gaps = gaps(&kubelet);
    println!("without GPUs: {gaps:?}");
    assert_eq!(gaps.len(), rounds);
    assert!(gaps.iter().all(|gap| *gap < Duration::from_secs(1)), "{gaps:?}");
    assert_eq!(kubelet.resources().pods[0].holdings[0].devices, held);
    assert!(kubelet.allocate("rest", "main", RESOURCE, 6).await.is_ok());
}

// Such a kubelet takes a registration that comes between its closing of the connection and its striking off, and strikes that one off,
// whose stream goes on. Fails if `Machine::lost` waits for a fixed time alone.
#[tokio::test]
async fn k18_f12_kubelet_that_is_slow_to_strike_off_is_registered_with_after_that() {
    let node = bare().build().unwrap();
    let slow = Duration::from_millis(700);
    let kubelet = FakeKubelet::builder(node.plugin_dir())
        .tracking_by_resource()
        .striking_off(slow)
        .start()
        .await
        .unwrap();
    let older = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    let newer = start_plugin(&node, &QUICK);
    newer.ready().unwrap();
    older.signal(Signal::TERM).unwrap();
    assert_eq!(older.wait(PATIENCE).unwrap().code(), Some(0));
    eventually("the newer one is struck off", || {
        let is_off =
            kubelet.log().iter().any(|happening| matches!(happening.event, Event::Disconnected { .. }));
        if is_off { Ok(()) } else { Err(format!("{:?}", kubelet.resources())) }
    });
    counts(&kubelet, 8, 8);
    newer.ready().unwrap();
    assert_eq!(gaps(&kubelet).len(), 1);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// At such a kubelet each new registration takes the other instance off, and they must not do so to each other for ever. Fails if
// `Machine::registered` does not take a stream that was lost for the end of the registration.
#[tokio::test]
async fn k18_f12_instances_that_stay_settle_whatever_is_registered_anew() {
    let node = bare().build().unwrap();
    let kubelet = FakeKubelet::builder(node.plugin_dir()).tracking_by_resource().start().await.unwrap();
    let first = start_plugin(&node, &QUICK);
    first.ready().unwrap();
    let second = start_plugin(&node, &QUICK);
    second.ready().unwrap();
    for _ in 0..repeats(3, 50) {
        for socket in plugin_sockets(&node) {
            // Its instance binds another one, and registers that.
            let _ = std::fs::remove_file(socket);
            settled(&kubelet, [&first, &second]);
        }
        kubelet.restart().await.unwrap();
        settled(&kubelet, [&first, &second]);
    }
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

/// Waits until both instances have a stream, and all GPUs count.
fn settled(kubelet: &FakeKubelet, instances: [&sim_node::Process; 2]) {
    eventually("both are registered", || {
        let found = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default();
        if found.allocatable == 8 && found.endpoints.len() == 2 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    for instance in instances {
        instance.ready().unwrap();
    }
}
