//! What the device plugin's being there or away changes: events of the driver, and how long its report counts.

use std::fs;
use std::time::Duration;

use gpu_model::{DriverVersions, Health, HealthReason, Inventory, Reading};
use node_contract::{HealthRecord, LeaseFolder, NodeReport, REPORT_PATH};
use node_host::{HostRoot, LocalPath};
use sim_node::{Process, Signal, SimNode};

use crate::harness::{bare, file_says, labels_of, start};
use crate::keeping::{COUNT, PARTITIONED, children};

/// Nothing but a reason leads to a look.
const NEVER: &str = "--sleep-interval=infinite";

const UNHEALTHY: &str = "gantry.dev/gpu.unhealthy.count";

fn looks(discovery: &Process) -> f64 {
    discovery.metric("gantry_feature_discovery_looks_total{result=\"ok\"}").unwrap_or_default()
}

fn looked(discovery: &Process, times: f64) {
    let check = || match looks(discovery) {
        found if found >= times => Ok(()),
        found => Err(format!("{found} of {times}")),
    };
    sim_node::eventually("it looked", Duration::from_secs(30), check).unwrap();
}

/// Waits until the driver's events are watched, and what may have happened before that was looked at.
fn watches(discovery: &Process, gpus: &str) {
    discovery.says(&format!("watching {gpus} GPUs from now on")).unwrap();
    looked(discovery, 2.0);
}

#[test]
fn change_of_mig_and_an_xid_are_looked_at_where_no_plugin_tells_of_them() {
    let node = bare().yaml(PARTITIONED).build().unwrap();
    let discovery = start(&node, &[NEVER, "--mig-strategy=mixed"]);
    file_says(&node, "nvidia.com/mig-1g.10gb.count", Some("1"));
    watches(&discovery, "1 of 1");
    let gone = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        mig.destroy_compute(gpu, 7, 0)?;
        mig.destroy(gpu, 7)
    };
    node.driver().change_mig("0", gone).unwrap();
    file_says(&node, "nvidia.com/mig-1g.10gb.count", None);
    let before = looks(&discovery);
    node.driver().inject_xid("0", 13, None, None).unwrap();
    looked(&discovery, before + 1.0);
}

fn plugin(node: &SimNode) -> node_contract::Presence {
    LeaseFolder::new(&LocalPath::new(node.run_dir())).present("gpu-device-plugin.0").unwrap()
}

#[test]
fn events_are_watched_while_the_plugin_is_away_and_not_beside_it() {
    let node = bare().build().unwrap();
    let there = plugin(&node);
    let discovery = start(&node, &[NEVER]);
    file_says(&node, COUNT, Some("8"));
    discovery.signal(Signal::HUP).unwrap();
    looked(&discovery, 2.0);
    let starts = "gantry_feature_discovery_nvml_worker_starts_total{role=\"events\"}";
    assert_eq!(discovery.metric(starts).unwrap(), 0.0);
    drop(there);
    watches(&discovery, "8 of 8");
    let _back = plugin(&node);
    let check = || match children(&discovery) {
        1 => Ok(()),
        workers => Err(format!("{workers} workers")),
    };
    sim_node::eventually("the worker for events has ended", Duration::from_secs(30), check).unwrap();
}

#[test]
fn report_of_a_plugin_that_went_just_now_counts_and_one_that_counted_no_more_stays_silent() {
    let node = bare().build().unwrap();
    let boot = node_host::boot_id(&HostRoot::new(node.root())).unwrap();
    let gpu = node.driver().node().unwrap().gpus[3].uuid.parse().unwrap();
    let record = HealthRecord {
        health: Health::Unhealthy { reason: HealthReason::Lost },
        since: jiff::Timestamp::now(),
        not_offered: None,
        cause: None,
        instances: Default::default(),
    };
    let driver = DriverVersions { driver: String::new(), nvml: String::new(), cuda: Reading::NotSupported };
    let inventory = Inventory { driver, gpus: Vec::new(), failures: Vec::new() };
    let report = NodeReport::new(7, boot, inventory, [(gpu, record)].into());
    let path = LocalPath::new(node.run_dir()).join(REPORT_PATH);
    fs::create_dir_all(path.as_path().parent().unwrap()).unwrap();
    report.write(&path).unwrap();
    assert_eq!(labels_of(&node, &[])[UNHEALTHY], "1");
    let name = format!("7 of {} in {}", report.written_at, report.boot_id);
    fs::write(node.state_dir().join("silenced-report"), name).unwrap();
    assert_eq!(labels_of(&node, &[])[UNHEALTHY], "0");
    let _there = plugin(&node);
    assert_eq!(labels_of(&node, &[])[UNHEALTHY], "1");
}
