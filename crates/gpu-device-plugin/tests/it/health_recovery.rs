//! Sick GPUs that become well again, parts of GPUs, and GPUs that are not quite well.

use fake_kubelet::FakeKubelet;
use nvml_sim::FaultEntry;
use sim_node::Process;

use crate::harness::{
    QUICK, RESOURCE, bare, counts, eventually, gpus, serving, serving_with, start_kubelet, start_plugin,
};

/// A node of one whole A100, and one with two MIG devices of different profiles.
const PARTITIONED: &str = "seed: health
driver: {version: 580.95.05, cuda: \"13.0\"}
gpus:
  - {model: A100-SXM4-80GB, pci: \"0000:07:00.0\", numa: 0, pcie: 0/0/0/0}
  - {model: A100-SXM4-80GB, pci: \"0000:47:00.0\", numa: 0, pcie: 0/0/0/0, mig-instances: [1g.10gb, 3g.40gb]}
";

fn fault(gpu: &str) -> FaultEntry {
    FaultEntry { gpu: Some(gpu.to_owned()), ..FaultEntry::default() }
}

fn metric_is(plugin: &Process, sample: &str, expected: f64) {
    eventually(sample, || {
        let value = plugin.metric(sample).unwrap();
        if (value - expected).abs() < 0.1 { Ok(()) } else { Err(value.to_string()) }
    });
}

// Fails without `prove` in gpu-health's entry.rs, or if the observer asks for no probe at `probe_due`.
#[tokio::test]
async fn k11_f27_gpu_that_was_reset_or_came_back_is_offered_again() {
    let (node, kubelet, plugin) = serving_with(&["--cdi-proof=assume", "--probe-interval=2s"]).await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let held = kubelet.allocate("held", "main", RESOURCE, 8).await.unwrap();
    node.driver().inject_xid("2", 95, None, None).unwrap();
    counts(&kubelet, 8, 7);
    // Whoever runs on it runs on.
    assert_eq!(kubelet.resources().pods[0].holdings[0].devices, held.devices);
    kubelet.release("held");
    let sick = gpus(&node)[2].clone();
    metric_is(
        &plugin,
        &format!("gantry_device_plugin_gpu_health{{gpu=\"{sick}\",gpu_instance=\"\",reason=\"xid-95\""),
        1.0,
    );
    node.driver().lose("5", Some(79)).unwrap();
    counts(&kubelet, 8, 6);
    // The driver has asked for resets, and asks no more.
    node.driver().reset("2").unwrap();
    node.driver().give_back("5").unwrap();
    counts(&kubelet, 8, 8);
    let well = "gantry_device_plugin_health_transitions_total{cause=\"probe\",reason=\"\",to=\"healthy\"}";
    metric_is(&plugin, well, 2.0);
    metric_is(
        &plugin,
        &format!("gantry_device_plugin_gpu_health{{gpu=\"{sick}\",gpu_instance=\"\",reason=\"\""),
        1.0,
    );
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

fn schedulable(kubelet: &FakeKubelet, resource: &str) -> (usize, usize) {
    let found = kubelet.resources().resources.remove(resource).unwrap_or_default();
    (found.capacity, found.allocatable)
}

fn offers(kubelet: &FakeKubelet, expected: [(&str, (usize, usize)); 3]) {
    eventually(&format!("{expected:?}"), || {
        let found = expected.map(|(resource, _)| (resource, schedulable(kubelet, resource)));
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

// Fails if projection.rs asks the ledger for the GPU's health where it offers a MIG device.
#[tokio::test]
async fn f24_xid_of_a_gpu_instance_takes_that_one_and_one_of_the_gpu_takes_both() {
    let node = bare().yaml(PARTITIONED).build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &[&QUICK[..], &["--mig-strategy=mixed"]].concat());
    let (whole, small, large) = (RESOURCE, "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb");
    offers(&kubelet, [(whole, (1, 1)), (small, (1, 1)), (large, (1, 1))]);
    plugin.says("watching 2 of 2 GPUs").unwrap();

    let report = std::fs::read_to_string(node.run_dir().join("device-plugin/inventory.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let parts = report["inventory"]["gpus"][1]["mig_devices"].as_array().unwrap();
    let large_part = parts.iter().max_by_key(|part| part["memory_bytes"]["value"].as_u64()).unwrap();
    let gi = u32::try_from(large_part["gpu_instance"].as_u64().unwrap()).unwrap();
    let xid = |xid| FaultEntry { xid: Some(xid), gi: Some(gi), no_recovery_action: true, ..fault("1") };
    node.driver().declare(xid(48)).unwrap();
    offers(&kubelet, [(whole, (1, 1)), (small, (1, 1)), (large, (1, 0))]);
    // Not only because its list comes later: what is published is counted in the order of the names.
    let sick = |resource: &str| {
        plugin
            .metric(&format!("gantry_device_plugin_devices{{health=\"unhealthy\",resource=\"{resource}\"}}"))
            .unwrap()
    };
    eventually("it is counted", || if sick(large) > 0.9 { Ok(()) } else { Err("not yet") });
    assert!(sick(small) < 0.1);
    node.driver().declare(xid(95)).unwrap();
    offers(&kubelet, [(whole, (1, 1)), (small, (1, 0)), (large, (1, 0))]);
}

// Fails if `Health::is_schedulable` refuses Degraded, or the probe does not tell the rows.
#[tokio::test]
async fn f26_degraded_gpu_is_offered_and_told() {
    let (node, kubelet, plugin) = serving().await;
    let rows = Some("rows.uncorrectable".parse().unwrap());
    node.driver().declare(FaultEntry { count: rows, by: Some(1), ..fault("4") }).unwrap();
    let degraded = gpus(&node)[4].clone();
    plugin.ready_and_says(&[&format!("{degraded} is Degraded(remap-pending)")]).unwrap();
    let gauge = format!(
        "gantry_device_plugin_gpu_health{{gpu=\"{degraded}\",gpu_instance=\"\",reason=\"remap-pending\",state=\"degraded\"}}"
    );
    metric_is(&plugin, &gauge, 1.0);
    metric_is(&plugin, "gantry_device_plugin_devices{health=\"degraded\"", 1.0);
    counts(&kubelet, 8, 8);
    assert!(kubelet.allocate("pod", "main", RESOURCE, 8).await.is_ok());
}

// Fails if the breaker admits all.
#[tokio::test]
async fn cause_that_would_take_all_gpus_takes_half_until_it_is_seen_again() {
    let (node, kubelet, plugin) = serving().await;
    for index in 0..8 {
        node.driver().set(&index.to_string(), "recovery-action", "reset").unwrap();
    }
    counts(&kubelet, 8, 0);
    let held = plugin.log().lines().filter(|line| line.contains("to=Unknown(recovery-reset)")).count();
    assert!(held >= 3, "{held} were held back");
}

// Fails if the ledger does not ask `HealthChecks::ruling`.
#[tokio::test]
async fn xids_that_are_switched_off_take_nothing_and_those_switched_on_do() {
    let flags = [
        "--cdi-proof=assume",
        "--probe-interval=1s",
        "--disable-healthchecks=79",
        "--enable-healthchecks=13",
    ];
    let (node, kubelet, plugin) = serving_with(&flags).await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let xid = |xid, gpu| FaultEntry { xid: Some(xid), no_recovery_action: true, ..fault(gpu) };
    node.driver().declare(xid(79, "1")).unwrap();
    node.driver().declare(xid(13, "2")).unwrap();
    metric_is(&plugin, "gantry_device_plugin_xids_total{class=\"application\",xid=\"79\"}", 1.0);
    counts(&kubelet, 8, 7);
    plugin.ready_and_says(&[&format!("{} is Unhealthy(xid-13)", gpus(&node)[2])]).unwrap();
}
