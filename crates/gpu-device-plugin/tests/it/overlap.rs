//! Several instances on one node: upgrades, and what a killed one leaves.

use sim_node::Signal;

use crate::harness::{PATIENCE, QUICK, RESOURCE, counts, eventually, plugin_sockets, serving, start_plugin};

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
