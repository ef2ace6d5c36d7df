//! Daemons of a node that are not privileged: `gantry.dev/gpu-management`.

use serde_json::{Value, json};

use crate::daemon::PLUGIN;
use crate::driver::Restored;
use crate::node::{GPU, lock_own, text};
use crate::pod::{Order, Pod, REFUSED, gpu_nodes, restricted};
use crate::{plugin, simulation};
use integration_tests::probe::CONTROL_NODES;

const MANAGEMENT: &str = "gantry.dev/gpu-management";

#[test]
fn management_gives_a_daemon_without_rights_every_gpu_and_a_pod_without_it_none() {
    let Some(node) = lock_own("management") else { return };
    let _restored = Restored(&node);
    let _with = plugin::deploy_with(&node, &["gpu-management"]).unwrap();
    node.wait_for_amount(MANAGEMENT, 16, |_| Ok(())).unwrap();
    node.wait_for_gpus(8, 8).unwrap();

    // What another pod has does not matter, nor that a GPU is sick.
    let all = Pod::create(&node, &Order { name: "all", gpus: 7, hold: true, ..Order::default() }).unwrap();
    all.wait_for("Running").unwrap();
    simulation::tell(&node, &["lose", "--gpu=3"]).unwrap();
    node.wait_for_gpus(8, 7).unwrap();
    assert_eq!(node.amounts(MANAGEMENT).unwrap(), (16, 16));

    let order = Order { name: "daemon", resource: MANAGEMENT, gpus: 1, restricted: true, ..Order::default() };
    let daemon = Pod::create(&node, &order).unwrap();
    daemon.wait_for("Succeeded").unwrap();
    let report = daemon.report().unwrap();
    assert_eq!(gpu_nodes(&report).len(), 8, "{report:?}");
    let capabilities = simulation::capabilities(&node).unwrap();
    assert_eq!(report.opened.len(), 8 + CONTROL_NODES.len() + capabilities.len(), "{report:?}");
    assert!(report.opened.values().all(|opened| opened == "ok"), "{report:?}");
    assert_eq!(report.visible.as_deref(), Some("void"));
    // It makes no nodes itself.
    assert!(report.made.values().all(|made| made.starts_with("mknod: ")), "{report:?}");

    // As the other daemons will: NVML by way of the driver's root, on the same rights.
    let lister = Pod::of(&node, "lister", &lister(), &volumes()).unwrap();
    lister.wait_for("Succeeded").unwrap();
    let log = lister.log().unwrap();
    let from = log.find('{').unwrap_or_else(|| panic!("no inventory: {log}"));
    let listed: Value = serde_json::Deserializer::from_str(&log[from..]).into_iter().next().unwrap().unwrap();
    let gpus = listed["gpus"].as_array().unwrap();
    // NVML cannot name the lost one.
    let mut uuids: Vec<String> = gpus.iter().map(|gpu| text(&gpu["uuid"])).collect();
    uuids.extend(listed["failures"].as_array().unwrap().iter().map(|failure| failure["index"].to_string()));
    assert_eq!(uuids.len(), 8, "{listed}");

    let other = Pod::create(&node, &Order { name: "other", ..Order::default() }).unwrap();
    other.wait_for("Succeeded").unwrap();
    let report = other.report().unwrap();
    assert!(report.nodes.is_empty(), "{report:?}");
    assert!(!report.made.is_empty() && report.made.values().all(|made| made == REFUSED), "{report:?}");
    assert_eq!(node.amounts(GPU).unwrap().0, 8);
}

/// The plugin's own program, which asks NVML for all GPUs and ends.
fn lister() -> Value {
    json!({
        "name": "lister",
        "image": PLUGIN.image(),
        "imagePullPolicy": "IfNotPresent",
        "command": ["/usr/bin/gpu-device-plugin", "devices", "--output=json"],
        "env": [
            { "name": "GANTRY_DRIVER_ROOT", "value": simulation::ROOT },
            { "name": "GANTRY_DRIVER_ROOT_CTR_PATH", "value": simulation::ROOT },
            { "name": "NVML_SIM_DIR", "value": simulation::STATE },
        ],
        "resources": { "limits": { MANAGEMENT: 1 } },
        "securityContext": restricted(),
        "volumeMounts": [
            { "name": "simulation", "mountPath": simulation::FOLDER },
            { "name": "run", "mountPath": "/run/gantry" },
        ],
    })
}

fn volumes() -> Value {
    json!([
        { "name": "simulation", "hostPath": { "path": simulation::FOLDER, "type": "Directory" } },
        { "name": "run", "emptyDir": {} },
    ])
}
