//! Restarts of the kubelet and deaths of the plugin disturb no running pod, and the GPUs come back.

use crate::node::{Node, lock_own, text};
use crate::plugin;
use crate::pod::{Order, Pod};

#[test]
fn kubelet_restart_under_a_running_pod_leaves_it_alone_and_gpus_come_back() {
    let Some(node) = lock_own("kubelet restart") else { return };
    let pod = Pod::create(&node, &Order { name: "held", gpus: 2, hold: true, ..Order::default() }).unwrap();
    pod.wait_for("Running").unwrap();
    let before = pod.running().unwrap();
    node.restart_kubelet().unwrap();

    // The new kubelet counts from nothing.
    node.wait_for_registration_after(0).unwrap();
    node.wait_for_gpus(8, 8).unwrap();
    assert_eq!(pod.running().unwrap(), before);
    takes_the_rest(&node);
}

#[test]
fn plugin_death_under_a_running_pod_leaves_it_alone_and_gpus_come_back() {
    let Some(node) = lock_own("plugin death") else { return };
    let pod = Pod::create(&node, &Order { name: "held", gpus: 2, hold: true, ..Order::default() }).unwrap();
    pod.wait_for("Running").unwrap();
    let before = pod.running().unwrap();
    let registrations = node.registrations().unwrap();
    let plugin_pod = plugin::wait_until_running(&node).unwrap();
    plugin::kill(&node, &plugin_pod).unwrap();

    node.wait_for_registration_after(registrations).unwrap();
    node.wait_for_gpus(8, 8).unwrap();
    assert_eq!(pod.running().unwrap(), before);
    takes_the_rest(&node);
    let after = plugin::wait_until_running(&node).unwrap();
    assert_eq!(text(&after["metadata"]["uid"]), text(&plugin_pod["metadata"]["uid"]), "the pod was replaced");
}

/// The six GPUs that the running pod does not hold can be had.
fn takes_the_rest(node: &Node) {
    let rest = Pod::create(node, &Order { name: "rest", gpus: 6, ..Order::default() }).unwrap();
    rest.wait_for("Succeeded").unwrap();
}
