//! The node's clock is set while the plugin runs (F22).

use std::collections::BTreeSet;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use fake_kubelet::FakeKubelet;
use jiff::Timestamp;
use sim_node::{Process, Signal, SimNode};

use crate::harness::{
    PATIENCE, QUICK, RESOURCE, bare, counts, eventually, gpus, start_kubelet, start_plugin,
};
use crate::leases::{acknowledged, lease};
use crate::resources::{SHARED_4, rig, write};

const HOUR: i64 = 3600;

const YEAR: i64 = 365 * 24 * HOUR;

/// How far before now the epoch is, where a machine without a battery begins.
fn since_1970() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

/// An XID for which the driver wants a reset.
fn strike(node: &SimNode, gpu: &str) {
    node.driver().inject_xid(gpu, 95, None, None).unwrap();
}

/// Sets the clock, and waits until the plugin says a time by it: in the report that it writes on the next change.
fn strike_at(node: &SimNode, kubelet: &FakeKubelet, seconds: i64, gpu: &str, left: usize) {
    node.set_clock(seconds).unwrap();
    strike(node, gpu);
    counts(kubelet, 8, left);
    let report = node.run_dir().join("device-plugin/inventory.json");
    eventually("the plugin's clock is the node's", || {
        let text = fs::read_to_string(&report).unwrap_or_default();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let written: Timestamp =
            report["written_at"].as_str().unwrap_or_default().parse().unwrap_or_default();
        let off = written.as_second() - since_1970();
        if (off - seconds).abs() < HOUR / 2 { Ok(()) } else { Err(format!("off by {off}, set by {seconds}")) }
    });
}

// Fails if `node_contract::now` takes its `up` from the wall clock: leases end, and proofs come at once or never.
#[tokio::test]
async fn f22_clock_that_jumps_ends_no_lease_and_heals_and_takes_no_gpu() {
    let node = bare().own_clock().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let plugin = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    plugin.says("watching 8 of 8 GPUs").unwrap();
    let all = gpus(&node);
    let held = kubelet.allocate("held", "main", RESOURCE, 2).await.unwrap().devices;
    let free: Vec<usize> = (0..8).filter(|index| !held.contains(&all[*index])).collect();
    let of = |at: usize| free[at].to_string();
    let hold = lease(&node, &[all[free[0]].clone()]);
    acknowledged(&hold);
    counts(&kubelet, 8, 7);

    strike_at(&node, &kubelet, 2 * HOUR, &of(1), 6);
    strike_at(&node, &kubelet, -2 * HOUR, &of(2), 5);
    strike_at(&node, &kubelet, YEAR, &of(3), 4);
    // What is proven well while the clock stands elsewhere is well, and nothing else is: neither the lease nor the others.
    node.driver().reset(&of(1)).unwrap();
    counts(&kubelet, 8, 5);
    node.set_clock(100 - since_1970()).unwrap();
    node.driver().reset(&of(2)).unwrap();
    node.driver().reset(&of(3)).unwrap();
    counts(&kubelet, 8, 7);
    node.set_clock(0).unwrap();
    let sick: BTreeSet<String> = kubelet.resources().resources[RESOURCE]
        .devices
        .iter()
        .filter(|device| !device.healthy)
        .map(|device| device.id.clone())
        .collect();
    assert_eq!(sick, BTreeSet::from([all[free[0]].clone()]));
    drop(hold);
    counts(&kubelet, 8, 8);
    plugin.ready().unwrap();
    assert_eq!(kubelet.resources().pods[0].holdings[0].devices, held);
    let lost = "gantry_device_plugin_registrations_lost_total";
    assert!(plugin.metric(lost).is_err() || plugin.metric(lost).unwrap() < 0.1, "a stream was lost");
}

// Fails if holders.rs takes its `now` from the wall clock: the kubelet would never have settled after its start.
#[tokio::test]
async fn f22_config_and_holders_are_followed_by_a_clock_that_goes_to_and_fro() {
    let rig = rig(bare().own_clock().build().unwrap(), SHARED_4, &[]).await;
    counts(&rig.kubelet, 32, 32);
    let held = rig.kubelet.allocate("pod", "main", RESOURCE, 32).await.unwrap().devices.len();
    rig.node.set_clock(-HOUR).unwrap();
    write(&rig.node, &SHARED_4.replace("4}", "2}"));
    counts(&rig.kubelet, held, 16);
    rig.kubelet.restart().await.unwrap();
    rig.kubelet.release("pod");
    let mut seconds = 0;
    eventually("what was held is free, while the clock goes back and back", || {
        seconds -= HOUR;
        rig.node.set_clock(seconds).unwrap();
        let found = rig.resource(RESOURCE);
        if (found.capacity, found.allocatable) == (16, 16) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    rig.node.set_clock(0).unwrap();
    write(&rig.node, SHARED_4);
    counts(&rig.kubelet, 32, 32);
    rig.plugin.ready().unwrap();
}

fn ada(node: &SimNode, verb: &str, gpu: &str) {
    let words = [verb, gpu, "--who", "ada", "--why", "a look"];
    let mut command = node.command("gpu-device-plugin").unwrap();
    let output = command.args(node.plugin_flags()).arg("health").args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn end(plugin: &Process) {
    plugin.signal(Signal::TERM).unwrap();
    plugin.wait(PATIENCE).unwrap();
}

// Fails if `Level::has_other_words` asks which word has the later time: the older one would be taken over, or none.
#[tokio::test]
async fn f22_persons_last_word_counts_over_an_update_though_the_clock_was_set_back_before_it() {
    let node = bare().own_clock().build().unwrap();
    let kubelet = start_kubelet(&node).await;
    let older = start_plugin(&node, &QUICK);
    counts(&kubelet, 8, 8);
    older.ready().unwrap();
    node.set_clock(HOUR).unwrap();
    ada(&node, "fence", "3");
    ada(&node, "fence", "4");
    ada(&node, "clear", "4");
    counts(&kubelet, 8, 7);
    let newer = start_plugin(&node, &QUICK);
    newer.ready_and_says(&["another instance of the plugin keeps the health"]).unwrap();
    node.set_clock(-HOUR).unwrap();
    ada(&node, "clear", "3");
    ada(&node, "fence", "4");
    end(&older);
    // Not the older one's last list.
    kubelet.restart().await.unwrap();
    eventually("the newer one knows both words", || {
        let devices = kubelet.resources().resources.remove(RESOURCE).unwrap_or_default().devices;
        let sick: Vec<String> = devices.into_iter().filter(|it| !it.healthy).map(|it| it.id).collect();
        if sick == [gpus(&node)[4].clone()] { Ok(()) } else { Err(format!("{sick:?}")) }
    });
    newer.ready().unwrap();
}
