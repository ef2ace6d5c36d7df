//! MIG devices under the strategy `mixed`, in pods, and while they change.

use std::collections::BTreeSet;

use anyhow::ensure;

use crate::driver::Restored;
use crate::node::{GPU, Node, amounts, lock_own};
use crate::pod::{Order, Pod, REFUSED, gpu_nodes};
use crate::{plugin, simulation};

const LARGE: &str = "nvidia.com/mig-3g.40gb";
const SMALL: &str = "nvidia.com/mig-1g.10gb";

#[test]
fn pod_with_a_mig_device_opens_that_alone_and_a_change_of_the_others_leaves_all_else_alone() {
    let Some(node) = lock_own("MIG devices") else { return };
    let _restored = Restored(&node);
    let _with = partition(&node);

    let capabilities = simulation::capabilities(&node).unwrap();
    let numbers: Vec<String> = capabilities.values().cloned().collect();
    let order = Order { name: "slice", resource: SMALL, gpus: 1, hold: true, numbers, ..Order::default() };
    let pod = Pod::create(&node, &order).unwrap();
    pod.wait_for("Running").unwrap();
    let report = pod.report().unwrap();
    assert_eq!(gpu_nodes(&report).into_iter().collect::<Vec<_>>(), ["nvidia7"]);
    let own: BTreeSet<&String> =
        report.nodes.keys().filter(|name| name.starts_with("nvidia-caps/")).collect();
    assert_eq!(own.len(), 2, "its GPU instance and its compute instance: {report:?}");
    assert!(report.opened.values().all(|opened| opened == "ok"), "{report:?}");
    for (name, number) in &capabilities {
        let expected = if own.contains(name) { "ok" } else { REFUSED };
        assert_eq!(report.made[number], expected, "{name} {number}: {report:?}");
    }

    // The other instance goes: neither the whole GPUs nor the held instance dip.
    let container = pod.running().unwrap();
    let instance = instance_of(&node, "3g.40gb");
    simulation::tell(&node, &["mig", "destroy", "--gpu=7", &format!("--gi={instance}")]).unwrap();
    let no_dip = |node: &serde_json::Value| {
        let now = (amounts(node, GPU)?, amounts(node, SMALL)?);
        ensure!(now == ((7, 7), (1, 1)), "a resource dipped: {now:?}");
        Ok(())
    };
    node.wait_for_amount(LARGE, 0, no_dip).unwrap();
    assert_eq!(pod.running().unwrap(), container);
    let report = pod.report_anew().unwrap();
    assert!(report.opened.values().all(|opened| opened == "ok"), "{report:?}");
}

// Fails on the kubelet's side if projection.rs asks the ledger for the GPU instance alone.
#[test]
fn f24_xid_of_a_partitioned_gpu_takes_all_its_instances_and_no_other_gpu() {
    let Some(node) = lock_own("XID of a partitioned GPU") else { return };
    let _restored = Restored(&node);
    let _with = partition(&node);
    let order = Order { name: "slice", resource: SMALL, gpus: 1, hold: true, ..Order::default() };
    let pod = Pod::create(&node, &order).unwrap();
    pod.wait_for("Running").unwrap();
    let (held, container) = (pod.given().unwrap(), pod.running().unwrap());
    let held = held.first().unwrap();

    simulation::tell(&node, &["xid", "--gpu=7", "95"]).unwrap();
    node.wait_for_amounts(SMALL, 1, 0).unwrap();
    node.wait_for_amounts(LARGE, 1, 0).unwrap();
    pod.wait_for_health(held, "Unhealthy").unwrap();
    assert_eq!(node.amounts(GPU).unwrap(), (7, 7));
    assert_eq!(pod.running().unwrap(), container);
    let rest = Pod::create(&node, &Order { name: "rest", gpus: 7, ..Order::default() }).unwrap();
    rest.wait_for("Succeeded").unwrap();
}

/// Cuts GPU 7 into two parts of different profiles and serves each under its own name.
fn partition(node: &Node) -> plugin::With<'_> {
    for words in [&["mode", "--gpu=7", "on"][..], &["create", "--gpu=7", "3g.40gb", "1g.10gb"]] {
        simulation::tell(node, &[&["mig"], words].concat()).unwrap();
        // An A100 takes the mode over at its next reset.
        if words[0] == "mode" {
            simulation::tell(node, &["reset", "--gpu=7"]).unwrap();
        }
    }
    let with = plugin::deploy_with(node, &["mig-mixed"]).unwrap();
    for (resource, amount) in [(LARGE, 1), (SMALL, 1), (GPU, 7)] {
        node.wait_for_amount(resource, amount, |_| Ok(())).unwrap();
    }
    with
}

/// The id of the GPU instance of a profile on GPU 7.
fn instance_of(node: &Node, profile: &str) -> u64 {
    let list = simulation::tell(node, &["mig", "list", "--output=json"]).unwrap();
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let gpus = list.as_array().unwrap().iter().filter(|gpu| gpu["gpu"] == 7);
    let mut instances = gpus.flat_map(|gpu| gpu["gpuInstances"].as_array().unwrap());
    instances.find(|instance| instance["profile"] == profile).unwrap()["id"].as_u64().unwrap()
}
