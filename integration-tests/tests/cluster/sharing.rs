//! Shares of GPUs, and a config that changes under running pods.

use anyhow::{Result, ensure};

use crate::daemon::{PLUGIN, container};
use crate::node::{GPU, Locked, amounts, lock_own};
use crate::plugin;
use crate::pod::{Order, Pod, assert_isolated};

pub const TWO_REPLICAS: &str =
    "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n";

/// A config that nobody can use.
const BROKEN: &str =
    "version: v1\nsharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replica: 2}]}}\n";

#[test]
fn config_that_changes_reaches_the_running_plugin_and_leaves_running_pods_alone() {
    let Some(node) = lock_own("live reconfiguration") else { return };
    let _with = plugin::deploy_with(&node, &["time-slicing"]).unwrap();
    node.wait_for_amount(GPU, 32, |_| Ok(())).unwrap();
    let pod = Pod::create(&node, &Order { name: "shares", gpus: 2, hold: true, ..Order::default() }).unwrap();
    pod.wait_for("Running").unwrap();
    // Two shares, of two GPUs.
    let own = assert_isolated(&pod.report().unwrap(), 2);
    let container = pod.running().unwrap();
    let (process, registrations) = (plugin_process(&node).unwrap(), node.registrations().unwrap());

    let mut looks = 0;
    let dips = |node: &serde_json::Value| {
        looks += 1;
        let (capacity, allocatable) = amounts(node, GPU)?;
        ensure!(capacity >= 16 && allocatable >= 16, "the resource dipped to {capacity}, {allocatable}");
        Ok(())
    };
    PLUGIN.configure(&node, TWO_REPLICAS).unwrap();
    node.wait_for_amount(GPU, 16, dips).unwrap();
    assert!(looks > 0);
    PLUGIN.configure(&node, BROKEN).unwrap();
    PLUGIN.wait_until_says(&node, "config-invalid").unwrap();
    assert_eq!(node.amounts(GPU).unwrap(), (16, 16));

    // The same process on the same registration, and the pod noticed nothing.
    assert_eq!(plugin_process(&node).unwrap(), process);
    assert_eq!(node.registrations().unwrap(), registrations);
    assert_eq!(assert_isolated(&pod.report_anew().unwrap(), 2), own);
    assert_eq!(pod.running().unwrap(), container);
}

#[test]
fn renamed_shares_are_requested_by_their_own_name() {
    let Some(node) = lock_own("renamed shares") else { return };
    let _with = plugin::deploy_with(&node, &["renamed"]).unwrap();
    node.wait_for_amount("nvidia.com/gpu.shared", 32, |_| Ok(())).unwrap();
    let order = Order { name: "shared", resource: "nvidia.com/gpu.shared", gpus: 1, ..Order::default() };
    let pod = Pod::create(&node, &order).unwrap();
    pod.wait_for("Succeeded").unwrap();
    assert_isolated(&pod.report().unwrap(), 1);
    assert_eq!(node.amounts(GPU).unwrap().1, 0);
}

/// What tells the plugin's process from one that was started anew.
fn plugin_process(node: &Locked) -> Result<String> {
    let pod = PLUGIN.wait_until_running(node)?;
    let container = container(&pod);
    Ok(format!("{} {}", container["containerID"], container["restartCount"]))
}
