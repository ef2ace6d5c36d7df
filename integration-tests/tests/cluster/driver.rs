//! A GPU that is lost, and a driver that comes late.

use anyhow::{Context, Result};
use serde_json::Value;
use test_cluster::{Verdict, until};

use crate::node::{Node, PATIENCE, lock_own};
use crate::pod::{Order, Pod, gpu_nodes};
use crate::{plugin, simulation};

/// Gives the node a new driver with 8 healthy GPUs when a test ends, however it ends.
pub struct Restored<'a>(pub &'a Node);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let restored = simulation::clear(self.0)
            .and_then(|()| simulation::lay(self.0))
            .and_then(|()| plugin::deploy(self.0))
            .and_then(|()| plugin::replace(self.0))
            .and_then(|()| self.0.wait_for_fresh_gpus(8, 8));
        if let Err(error) = restored {
            eprintln!("restore the simulated driver: {error:#}");
        }
    }
}

#[test]
fn lost_gpu_leaves_seven_and_pods_are_admitted_on_those() {
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
    plugin::remove(&node).unwrap();
    simulation::clear(&node).unwrap();
    plugin::deploy(&node).unwrap();
    let before = plugin::wait_until_running(&node).unwrap();
    let reasons = not_ready(&node).unwrap();
    assert!(reasons.contains("\"no-driver\""), "{reasons}");
    // The kubelet remembers for a while how many there were.
    node.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0).unwrap();

    simulation::lay(&node).unwrap();
    node.wait_for_gpus(8, 8).unwrap();
    plugin::wait_until_ready(&node).unwrap();
    let after = plugin::wait_until_running(&node).unwrap();
    for field in ["containerID", "restartCount"] {
        assert_eq!(plugin::container(&before)[field], plugin::container(&after)[field], "{field}");
    }
    let pod = Pod::create(&node, &Order { gpus: 8, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
}

/// What /ready says once it says that it looked for the driver.
fn not_ready(node: &Node) -> Result<String> {
    until("/ready to say that there is no driver", PATIENCE, || {
        let answer = match plugin::ask(node, "/ready") {
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
