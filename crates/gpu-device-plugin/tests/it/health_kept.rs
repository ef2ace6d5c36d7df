//! Health over restarts, and people who overrule it.

use std::process::Output;

use nvml_sim::FaultEntry;
use sim_node::{Signal, SimNode};

use crate::harness::{PATIENCE, QUICK, bare, counts, eventually, gpus, serving, start_kubelet, start_plugin};

fn health(node: &SimNode, arguments: &[&str]) -> Output {
    let mut command = node.command("gpu-device-plugin").unwrap();
    command.args(node.plugin_flags()).arg("health").args(arguments).output().unwrap()
}

/// Runs a request of ada's, and gives the exit code and what was said.
pub fn ada(node: &SimNode, arguments: &[&str]) -> (Option<i32>, String) {
    let output = health(node, &[arguments, &["--who", "ada", "--why", "ticket 4711"]].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn list(node: &SimNode) -> serde_json::Value {
    let output = health(node, &["list", "--output", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Waits until what is kept of GPU `index` says so.
fn kept(node: &SimNode, index: usize, state: &str) -> serde_json::Value {
    let gpu = gpus(node)[index].clone();
    eventually("it is kept", || {
        let listing = list(node);
        let records = listing["gpus"].as_array().cloned().unwrap_or_default();
        let found = records.into_iter().find(|record| record["subject"] == gpu.as_str());
        found.filter(|record| record["health"]["state"] == state).ok_or_else(|| listing.to_string())
    })
}

// Fails if serve.rs begins with an empty ledger.
#[tokio::test]
async fn f41_restart_launders_no_sick_gpu() {
    let (node, kubelet, plugin) = serving().await;
    plugin.says("watching 8 of 8 GPUs").unwrap();
    // The driver itself forgets it at once.
    let gpu = Some("1".to_owned());
    let xid = FaultEntry { xid: Some(95), no_recovery_action: true, gpu, ..FaultEntry::default() };
    node.driver().declare(xid).unwrap();
    counts(&kubelet, 8, 7);
    assert_eq!(kept(&node, 1, "unhealthy")["awaits"], "a reset of the GPU");
    plugin.signal(Signal::KILL).unwrap();
    plugin.wait(PATIENCE).unwrap();
    assert_eq!(list(&node)["running"], false);

    let second = start_plugin(&node, &QUICK);
    let sick = gpus(&node)[1].clone();
    second.ready_and_says(&[&format!("{sick} is Unhealthy(xid-95)")]).unwrap();
    counts(&kubelet, 8, 7);
    assert_eq!(list(&node)["running"], true);
}

// Fails if the keeper takes no requests, or the observer answers them without the ledger.
#[tokio::test]
async fn person_fences_a_gpu_and_clears_it_and_a_restart_keeps_the_fence() {
    let (node, kubelet, plugin) = serving().await;
    let gpu = gpus(&node)[3].clone();
    eventually("the report is there", || node.run_dir().join("device-plugin/inventory.json").metadata());
    let (code, said) = ada(&node, &["fence", "3"]);
    assert_eq!((code, said.trim()), (Some(0), format!("{gpu}: fenced").as_str()));
    counts(&kubelet, 8, 7);
    let record = kept(&node, 3, "unhealthy");
    assert_eq!(record["fence"]["who"], "ada");
    assert_eq!(record["fence"]["why"], "ticket 4711");
    let table = String::from_utf8(health(&node, &["list"]).stdout).unwrap();
    assert!(table.contains("Unhealthy(fenced)") && table.contains("fenced by ada"), "{table}");
    assert!(table.contains("The device plugin runs."), "{table}");

    // The newer instance takes over what was said to the older one.
    let newer = start_plugin(&node, &QUICK);
    newer.ready_and_says(&["another instance of the plugin keeps the health"]).unwrap();
    let (code, said) = ada(&node, &["fence", "5"]);
    assert_eq!(code, Some(0), "{said}");
    plugin.signal(Signal::TERM).unwrap();
    plugin.wait(PATIENCE).unwrap();
    counts(&kubelet, 8, 6);
    let (code, said) = ada(&node, &["clear", &gpu]);
    assert_eq!((code, said.trim()), (Some(0), format!("{gpu}: cleared").as_str()));
    counts(&kubelet, 8, 7);
    assert_eq!(kept(&node, 3, "healthy")["cleared"]["who"], "ada");

    let (code, said) = ada(&node, &["fence", "GPU-00000000-0000-0000-0000-000000000000"]);
    assert!(code == Some(1) && said.contains("refuses") && said.contains("is not known here"), "{said}");
    let (code, said) = ada(&node, &["fence", "12"]);
    assert!(code == Some(1) && said.contains("names no GPU of this node"), "{said}");
}

// Fails if the command does not look at the lock, or the keeper not at requests that were there before it.
#[tokio::test]
async fn request_without_a_plugin_says_so_and_waits_for_one() {
    let node = bare().build().unwrap();
    let gpu = gpus(&node)[0].clone();
    let (code, said) = ada(&node, &["fence", &gpu, "--wait", "100ms"]);
    assert!(code == Some(1) && said.contains("no device plugin runs here"), "{said}");
    let listed = health(&node, &["list"]);
    assert_eq!(listed.status.code(), Some(1));
    let kubelet = start_kubelet(&node).await;
    let _plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 7);
    kept(&node, 0, "unhealthy");
    eventually("the request is gone", || {
        let left = std::fs::read_dir(node.run_dir().join("device-plugin/health-requests")).unwrap().count();
        if left == 0 { Ok(()) } else { Err(left) }
    });
}

// Fails if the file is not moved aside.
#[tokio::test]
async fn kept_health_that_cannot_be_read_is_moved_aside_and_told() {
    let node = bare().build().unwrap();
    let folder = node.state_dir().join("device-plugin");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("health.json"), "{").unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    plugin.says("cannot be used: beginning afresh").unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("health.json.refused")).unwrap(), "{");
    kept(&node, 0, "healthy");
}
