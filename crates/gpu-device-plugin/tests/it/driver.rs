//! Drivers that come late or in parts.

use crate::harness::{QUICK, bare, counts, eventually, gpus, serving, start_kubelet, start_plugin};

#[tokio::test]
async fn driver_that_appears_later_is_picked_up_without_a_restart() {
    let node = bare().without_driver().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"no-driver\"", "libnvidia-ml.so.1"]).unwrap();
    assert!(kubelet.resources().resources.is_empty());
    node.install_driver().unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[tokio::test]
async fn missing_uvm_node_holds_the_registration_until_it_is_there() {
    let node = bare().build().unwrap();
    let uvm = node.root().join("dev/nvidia-uvm");
    std::fs::rename(&uvm, node.dir().join("uvm")).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    plugin.readiness_says(&["\"uvm-missing\"", "nvidia-modprobe"]).unwrap();
    assert!(kubelet.resources().resources.is_empty());
    std::fs::rename(node.dir().join("uvm"), &uvm).unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
}

#[tokio::test]
async fn uvm_node_that_vanishes_later_takes_all_devices_and_leaves_the_spec_until_it_is_back() {
    let (node, kubelet, plugin) = serving().await;
    plugin.ready().unwrap();
    let spec = || std::fs::read_to_string(node.cdi_dir().join("gantry.dev-gpu.json")).unwrap();
    let before = spec();
    let (there, away) = (node.root().join("dev/nvidia-uvm"), node.dir().join("uvm"));
    std::fs::rename(&there, &away).unwrap();
    plugin.readiness_says(&["\"uvm-missing\"", "nvidia-modprobe"]).unwrap();
    counts(&kubelet, 8, 0);
    assert_eq!(spec(), before);
    std::fs::rename(&away, &there).unwrap();
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    assert_eq!(spec(), before);
}

#[tokio::test]
async fn gpu_without_its_device_node_is_listed_and_cannot_be_had() {
    let node = bare().build().unwrap();
    std::fs::remove_file(node.root().join("dev/nvidia6")).unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 7);
    plugin.ready_and_says(&["/dev/nvidia6 does not exist"]).unwrap();
}

#[tokio::test]
async fn device_node_that_vanishes_later_takes_its_gpu_until_it_is_back_and_the_report_says_why() {
    let (node, kubelet, _plugin) = serving().await;
    let (there, away) = (node.root().join("dev/nvidia6"), node.dir().join("nvidia6"));
    std::fs::rename(&there, &away).unwrap();
    counts(&kubelet, 8, 7);
    let gpu = gpus(&node)[6].clone();
    eventually("the report says why", || {
        let report =
            std::fs::read_to_string(node.run_dir().join("device-plugin/inventory.json")).unwrap_or_default();
        let read: serde_json::Value = serde_json::from_str(&report).unwrap_or_default();
        let record = &read["health"][&gpu];
        let is_so = record["health"]["state"] == "healthy"
            && record["not_offered"].as_str().is_some_and(|why| why.contains("/dev/nvidia6"));
        if is_so { Ok(()) } else { Err(report) }
    });
    std::fs::rename(&away, &there).unwrap();
    counts(&kubelet, 8, 8);
}
