//! A GPU that is lost, and a driver that comes late, hangs, crashes or goes.

use anyhow::{Context, Result};
use serde_json::Value;
use test_cluster::{Verdict, until};

use crate::daemon::{PLUGIN, container};
use crate::node::{GPU, Node, PATIENCE, lock_own, repeats, wait};
use crate::pod::{Order, Pod, gpu_nodes};
use crate::restarts::{Held, takes_the_rest};
use crate::watch::watched;
use crate::{plugin, simulation};

/// Gives the node a new driver with 8 healthy GPUs when a test ends, however it ends.
pub struct Restored<'a>(pub &'a Node);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        self.0.truth.mends_all();
        let restored = PLUGIN
            .remove(self.0)
            .and_then(|()| simulation::clear(self.0))
            .and_then(|()| plugin::forget_health(self.0))
            .and_then(|()| simulation::lay(self.0))
            .and_then(|()| plugin::deploy(self.0))
            .and_then(|()| self.0.wait_for_fresh_gpus(8, 8));
        if let Err(error) = restored {
            eprintln!("restore the simulated driver: {error:#}");
        }
    }
}

// Fails if observe.rs asks the driver from the task that publishes, or a worker's deadline ends.
#[test]
fn f30_driver_that_hangs_leaves_pods_alone_and_holds_up_none_and_its_return_brings_the_gpus_back() {
    let Some(node) = lock_own("hanging driver") else { return };
    let _restored = Restored(&node);
    let (pod, before) = Held::create(&node);
    watched(&node, || {
        // While the plugin runs: what it knew last stays offered for a minute.
        simulation::tell(&node, &["fault", "hang", "nvmlDeviceGet*"]).unwrap();
        PLUGIN.wait_until_says(&node, "nvml-stuck").unwrap();
        takes_the_rest(&node);
        simulation::tell(&node, &["fault", "clear"]).unwrap();
        PLUGIN.wait_until_ready_without(&node, "nvml-stuck").unwrap();
        node.wait_for_gpus(8, 8).unwrap();

        // At its start: it knows nothing, offers nothing, and is there.
        simulation::tell(&node, &["fault", "hang", "nvmlInit_v2"]).unwrap();
        let plugin_pod = PLUGIN.wait_until_running(&node).unwrap();
        PLUGIN.kill(&node, &plugin_pod).unwrap();
        PLUGIN.wait_until_says(&node, "nvmlInit_v2").unwrap();
        node.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0).unwrap();
        let other = Pod::create(&node, &Order { name: "other", ..Order::default() }).unwrap();
        other.wait_for("Succeeded").unwrap();
        before.assert_undisturbed(&pod);
        simulation::tell(&node, &["fault", "clear"]).unwrap();
        node.wait_for_gpus(8, 8).unwrap();
        takes_the_rest(&node);
    });
    before.assert_undisturbed(&pod);
}

// Fails if the plugin calls the library in its own process, or does not start the worker anew.
#[test]
fn f33_driver_library_that_crashes_again_and_again_costs_no_gpu_and_no_pod() {
    let Some(node) = lock_own("crashing driver library") else { return };
    let _restored = Restored(&node);
    let (pod, before) = Held::create(&node);
    let starts = "gantry_device_plugin_nvml_worker_starts_total";
    let settled = PLUGIN.metric(&node, starts).unwrap();
    watched(&node, || {
        let every_100th = ["fault", "crash", "nvmlDeviceGet*", "--probability=1%", "--seed=33"];
        simulation::tell(&node, &every_100th).unwrap();
        for _ in 0..repeats(2, 20) {
            let started = PLUGIN.metric(&node, starts).unwrap();
            wait("another worker to be started", || {
                let now = PLUGIN.metric(&node, starts)?;
                Ok(if now > started { Verdict::Done(()) } else { Verdict::Waiting(now.to_string()) })
            })
            .unwrap();
            assert_eq!(node.amounts(GPU).unwrap(), (8, 8));
            takes_the_rest(&node);
        }
        simulation::tell(&node, &["fault", "clear"]).unwrap();
        PLUGIN.wait_until_ready_without(&node, "nvml-").unwrap();
    });
    assert!(PLUGIN.metric(&node, starts).unwrap() > settled);
    let after = PLUGIN.wait_until_running(&node).unwrap();
    assert_eq!(container(&after)["restartCount"], 0, "the plugin itself died");
    before.assert_undisturbed(&pod);
}

// Fails if the observer does not look at the host's device nodes with each probe.
#[test]
fn f36_driver_that_is_unloaded_under_a_running_pod_takes_the_gpus_and_brings_them_back() {
    let Some(node) = lock_own("unloaded driver") else { return };
    let _restored = Restored(&node);
    let (pod, before) = Held::create(&node);
    let process = container(&PLUGIN.wait_until_running(&node).unwrap())["containerID"].clone();
    watched(&node, || {
        for _ in 0..repeats(1, 10) {
            simulation::clear(&node).unwrap();
            node.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0).unwrap();
            simulation::lay(&node).unwrap();
            node.wait_for_gpus(8, 8).unwrap();
            takes_the_rest(&node);
        }
    });
    let after = PLUGIN.wait_until_running(&node).unwrap();
    assert_eq!(container(&after)["containerID"], process);
    before.assert_undisturbed(&pod);
}

// Fails if the observer drops the XID and the lost GPU's answer to the probe.
#[test]
fn f23_lost_gpu_leaves_seven_and_pods_are_admitted_on_those() {
    let Some(node) = lock_own("lost GPU") else { return };
    let _restored = Restored(&node);
    let gpu = simulation::gpus(&node).unwrap()[3].clone();
    simulation::tell(&node, &["lose", "--gpu=3", "--xid"]).unwrap();
    node.wait_for_gpus(8, 7).unwrap();

    let pod = Pod::create(&node, &Order { gpus: 7, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let nodes = gpu_nodes(&pod.report().unwrap());
    assert_eq!(nodes.len(), 7, "{nodes:?}");
    assert!(!nodes.contains(&format!("nvidia{}", gpu["minor"])), "{nodes:?}, lost: {gpu}");
}

#[test]
fn driver_that_appears_after_the_plugin_started_is_picked_up_without_a_restart() {
    let Some(node) = lock_own("late driver") else { return };
    let _restored = Restored(&node);
    PLUGIN.remove(&node).unwrap();
    simulation::clear(&node).unwrap();
    plugin::deploy(&node).unwrap();
    let before = PLUGIN.wait_until_running(&node).unwrap();
    let reasons = not_ready(&node).unwrap();
    assert!(reasons.contains("\"no-driver\""), "{reasons}");
    // The kubelet remembers for a while how many there were.
    node.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0).unwrap();

    simulation::lay(&node).unwrap();
    node.wait_for_gpus(8, 8).unwrap();
    PLUGIN.wait_until_ready(&node).unwrap();
    let after = PLUGIN.wait_until_running(&node).unwrap();
    for field in ["containerID", "restartCount"] {
        assert_eq!(container(&before)[field], container(&after)[field], "{field}");
    }
    let pod = Pod::create(&node, &Order { gpus: 8, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
}

/// What /ready says once it says that it looked for the driver.
fn not_ready(node: &Node) -> Result<String> {
    until("/ready to say that there is no driver", PATIENCE, || {
        let answer = match PLUGIN.ask(node, "/ready") {
            Ok(answer) => answer,
            Err(error) => return Ok(Verdict::Waiting(error.to_string())),
        };
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let Ok(body) = serde_json::from_str::<Value>(body) else { return Ok(Verdict::Waiting(answer)) };
        Ok(match head.contains(" 503 ") && body.to_string().contains("no-driver") {
            true => Verdict::Done(body.to_string()),
            false => Verdict::Waiting(body.to_string()),
        })
    })
}
