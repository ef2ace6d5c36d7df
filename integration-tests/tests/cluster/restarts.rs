//! Restarts of the kubelet, deaths of the plugin, and losses between the two disturb no running pod, and the GPUs come
//! back. Each happens once or twice, and as often as the research asks with `GANTRY_FAULT_REPEATS=full`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;

use crate::daemon::{PLUGIN, container};
use crate::node::{Node, lock_own, repeats, text};
use crate::plugin;
use crate::pod::{Order, Pod, Running, assert_isolated};
use crate::watch::watched;

// Fails if kubelet_socket.rs does not tell a new kubelet.sock from the old one.
#[test]
fn f01_kubelet_that_restarts_under_a_running_pod_leaves_it_alone_and_gets_the_gpus_again() {
    let Some(node) = lock_own("kubelet restart") else { return };
    let (pod, before) = Held::create(&node);
    watched(&node, || {
        for _ in 0..repeats(2, 200) {
            node.restart_kubelet().unwrap();
            // The new kubelet counts from nothing.
            node.wait_for_registration_after(0).unwrap();
            node.wait_for_fresh_gpus(8, 8).unwrap();
        }
        takes_the_rest(&node);
    });
    before.assert_undisturbed(&pod);
}

// Fails if a new process registers only when kubelet.sock changes.
#[test]
fn f04_plugin_that_dies_under_a_running_pod_and_churn_leaves_it_alone_and_brings_the_gpus_back() {
    let Some(node) = lock_own("plugin death") else { return };
    let (pod, before) = Held::create(&node);
    watched(&node, || {
        for round in 0..repeats(2, 500) {
            // A container that has died often waits longer and longer before it is started anew; a new pod does not.
            if round > 0 && round % 2 == 0 {
                plugin::replace(&node).unwrap();
            }
            let registrations = node.registrations().unwrap();
            let plugin_pod = PLUGIN.wait_until_running(&node).unwrap();
            let churn = Pod::create(&node, &Order { name: "churn", gpus: 1, ..Order::default() }).unwrap();
            churn.wait_until_given().unwrap();
            PLUGIN.kill(&node, &plugin_pod).unwrap();
            node.wait_for_registration_after(registrations).unwrap();
            node.wait_for_fresh_gpus(8, 8).unwrap();
            churn.wait_for("Succeeded").unwrap();
            let after = PLUGIN.wait_until_running(&node).unwrap();
            let uid = |pod: &serde_json::Value| text(&pod["metadata"]["uid"]);
            assert_eq!(uid(&after), uid(&plugin_pod), "the pod was replaced");
        }
        takes_the_rest(&node);
    });
    before.assert_undisturbed(&pod);
}

// Fails if registration.rs does not look whether the own socket is there.
#[test]
fn f06_socket_that_somebody_removes_is_served_again_and_the_running_pod_is_left_alone() {
    let Some(node) = lock_own("removed socket") else { return };
    let (pod, before) = Held::create(&node);
    let folder = node.cluster().host_path("/var/lib/kubelet/device-plugins");
    let sockets = || -> BTreeSet<std::ffi::OsString> {
        let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.as_encoded_bytes().starts_with(b"gantry-")).collect()
    };
    watched(&node, || {
        for _ in 0..repeats(1, 20) {
            let registrations = node.registrations().unwrap();
            let there = sockets();
            let name: &OsStr = there.first().unwrap();
            fs::remove_file(folder.join(name)).unwrap();
            node.wait_for_registration_after(registrations).unwrap();
            node.wait_for_fresh_gpus(8, 8).unwrap();
            assert!(!sockets().contains(name), "each registration has a socket of its own");
        }
        takes_the_rest(&node);
    });
    before.assert_undisturbed(&pod);
}

// Fails if registration.rs does not wait for the loss of the kubelet's stream.
#[test]
fn f09_stream_that_is_cut_is_registered_anew_and_the_running_pod_is_left_alone() {
    let Some(node) = lock_own("stream that is cut") else { return };
    let (pod, before) = Held::create(&node);
    watched(&node, || {
        for _ in 0..repeats(1, 20) {
            let registrations = node.registrations().unwrap();
            let plugin_pod = PLUGIN.wait_until_running(&node).unwrap();
            assert!(plugin::cut_connections(&node, &plugin_pod).unwrap() > 0, "nothing was cut");
            node.wait_for_registration_after(registrations).unwrap();
            node.wait_for_fresh_gpus(8, 8).unwrap();
            let after = PLUGIN.wait_until_running(&node).unwrap();
            assert_eq!(container(&after)["containerID"], container(&plugin_pod)["containerID"]);
        }
        takes_the_rest(&node);
    });
    before.assert_undisturbed(&pod);
}

/// A running pod with two GPUs, as it was before the event.
pub struct Held {
    container: Running,
    gpus: BTreeSet<String>,
}

impl Held {
    /// Creates it and waits until it runs.
    pub fn create(node: &Node) -> (Pod<'_>, Self) {
        let pod =
            Pod::create(node, &Order { name: "held", gpus: 2, hold: true, ..Order::default() }).unwrap();
        pod.wait_for("Running").unwrap();
        let gpus = assert_isolated(&pod.report().unwrap(), 2);
        let container = pod.running().unwrap();
        (pod, Self { container, gpus })
    }

    /// It still opens its own GPUs and no other, and its container is the same.
    pub fn assert_undisturbed(&self, pod: &Pod<'_>) {
        assert_eq!(assert_isolated(&pod.report_anew().unwrap(), 2), self.gpus);
        assert_eq!(pod.running().unwrap(), self.container);
    }
}

/// The six GPUs that the running pod does not hold can be had.
pub fn takes_the_rest(node: &Node) {
    let rest = Pod::create(node, &Order { name: "rest", gpus: 6, ..Order::default() }).unwrap();
    rest.wait_for("Succeeded").unwrap();
}
