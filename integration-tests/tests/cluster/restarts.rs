//! Restarts of the kubelet and deaths of the plugin disturb no running pod, and the GPUs come back.

use std::collections::BTreeSet;

use crate::node::{Node, lock_own, text};
use crate::plugin;
use crate::pod::{Order, Pod, Running, assert_isolated};

#[test]
fn kubelet_restart_under_a_running_pod_leaves_it_alone_and_gpus_come_back() {
    let Some(node) = lock_own("kubelet restart") else { return };
    let (pod, before) = Held::create(&node);
    node.restart_kubelet().unwrap();

    // The new kubelet counts from nothing.
    node.wait_for_registration_after(0).unwrap();
    node.wait_for_fresh_gpus(8, 8).unwrap();
    takes_the_rest(&node);
    before.assert_undisturbed(&pod);
}

#[test]
fn plugin_death_under_a_running_pod_leaves_it_alone_and_gpus_come_back() {
    let Some(node) = lock_own("plugin death") else { return };
    let (pod, before) = Held::create(&node);
    let registrations = node.registrations().unwrap();
    let plugin_pod = plugin::wait_until_running(&node).unwrap();
    plugin::kill(&node, &plugin_pod).unwrap();

    node.wait_for_registration_after(registrations).unwrap();
    node.wait_for_fresh_gpus(8, 8).unwrap();
    takes_the_rest(&node);
    before.assert_undisturbed(&pod);
    let after = plugin::wait_until_running(&node).unwrap();
    assert_eq!(text(&after["metadata"]["uid"]), text(&plugin_pod["metadata"]["uid"]), "the pod was replaced");
}

/// A running pod with two GPUs, as it was before the event.
struct Held {
    container: Running,
    gpus: BTreeSet<String>,
}

impl Held {
    fn create(node: &Node) -> (Pod<'_>, Self) {
        let pod =
            Pod::create(node, &Order { name: "held", gpus: 2, hold: true, ..Order::default() }).unwrap();
        pod.wait_for("Running").unwrap();
        let gpus = assert_isolated(&pod.report().unwrap(), 2);
        let container = pod.running().unwrap();
        (pod, Self { container, gpus })
    }

    /// It still opens its own GPUs and no other, and its container is the same.
    fn assert_undisturbed(&self, pod: &Pod<'_>) {
        assert_eq!(assert_isolated(&pod.report_anew().unwrap(), 2), self.gpus);
        assert_eq!(pod.running().unwrap(), self.container);
    }
}

/// The six GPUs that the running pod does not hold can be had.
fn takes_the_rest(node: &Node) {
    let rest = Pod::create(node, &Order { name: "rest", gpus: 6, ..Order::default() }).unwrap();
    rest.wait_for("Succeeded").unwrap();
}
