//! Whether each GPU answers.

use gpu_model::Reading;
use nvml::{Condition, Fabric, Probe, RecoveryAction, Rows, Slowdown};
use nvml_sim::{Effect, FaultEntry};

use crate::node::{Node, block_on};

crate::tests![
    well_gpus_answer_with_no_more_than_seven_calls_each,
    condition_of_a_gpu_is_told_and_makes_no_probe_fail,
    lost_gpu_fails_its_probe_until_it_returns,
    recovery_action_of_the_driver_makes_a_gpu_unwell,
    driver_that_knows_no_recovery_action_is_asked_for_something_else,
    recovery_action_that_cannot_be_told_makes_no_gpu_unwell,
];

fn well_gpus_answer_with_no_more_than_seven_calls_each() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    assert!(block_on(nvml.probe()).unwrap().iter().all(Probe::is_well));
    let before = nvml.status().borrow().queries.calls;
    let probes = block_on(nvml.probe()).unwrap();
    let uuids: Vec<_> = probes.iter().map(|probe| probe.uuid.value().unwrap().to_string()).collect();
    assert_eq!(uuids, (0..8).map(|index| node.uuid(index)).collect::<Vec<_>>());
    let calls = nvml.status().borrow().queries.calls;
    assert!(calls - before <= 1 + 7 * 8, "{}", calls - before);
}

fn condition_of_a_gpu_is_told_and_makes_no_probe_fail() {
    let node = Node::of("dgx-h100");
    let nvml = node.nvml();
    let well = block_on(nvml.probe()).unwrap()[2].condition.clone();
    let links = *well.links_up.value().unwrap();
    let expected = Condition {
        rows: Reading::Value(Rows { pending: false, failed: false }),
        // Only root is told.
        sram_over_threshold: well.sram_over_threshold.clone(),
        links_up: Reading::Value(links),
        fabric: Reading::Value(Fabric::Well),
        slowdown: Reading::Value(Slowdown::None),
    };
    assert!(links > 2);
    assert_eq!(well, expected);

    node.state.set("2", "fabric-health", "route-unhealthy").unwrap();
    node.state.set("2", "throttle", "hw-thermal").unwrap();
    let gpu = || FaultEntry { gpu: Some("2".to_owned()), ..FaultEntry::default() };
    node.state.declare(FaultEntry { nvlink_down: Some(vec![0, 1]), ..gpu() }).unwrap();
    for (counter, by) in [("rows.uncorrectable", 1), ("rows.failed", 1), ("ecc.uncorrected.sram-parity", 5)] {
        let count = Some(counter.parse().unwrap());
        node.state.declare(FaultEntry { count, by: Some(by), ..gpu() }).unwrap();
    }
    let probe = block_on(nvml.probe()).unwrap()[2].clone();
    let expected = Condition {
        rows: Reading::Value(Rows { pending: true, failed: true }),
        sram_over_threshold: probe.condition.sram_over_threshold.clone(),
        links_up: Reading::Value(links - 2),
        fabric: Reading::Value(Fabric::RouteUnhealthy),
        slowdown: Reading::Value(Slowdown::HwThermal),
    };
    assert_eq!(probe.condition, expected);
    assert_eq!(
        expected.sram_over_threshold == Reading::Value(true),
        well.sram_over_threshold == Reading::Value(false)
    );
    assert!(probe.is_well());
}

fn lost_gpu_fails_its_probe_until_it_returns() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.state.lose("5", None).unwrap();
    let probes = block_on(nvml.probe()).unwrap();
    let unwell: Vec<_> = probes.iter().filter(|probe| !probe.is_well()).collect();
    assert_eq!(unwell.iter().map(|probe| probe.index).collect::<Vec<_>>(), [5]);
    assert_eq!(unwell[0].failure.as_ref().map(|failure| failure.code), Some(15));
    node.state.give_back("5").unwrap();
    assert!(block_on(nvml.probe()).unwrap().iter().all(Probe::is_well));
}

fn recovery_action_of_the_driver_makes_a_gpu_unwell() {
    let node = Node::of("dgx-a100");
    node.state.set("2", "recovery-action", "reset").unwrap();
    let probes = block_on(node.nvml().probe()).unwrap();
    assert_eq!(probes[2].recovery, Reading::Value(RecoveryAction::Reset));
    assert!(!probes[2].is_well() && probes[1].is_well());
}

fn driver_that_knows_no_recovery_action_is_asked_for_something_else() {
    let yaml = nvml_sim::presets::find(nvml_sim::presets::NODES, "dgx-a100").unwrap().yaml;
    let node = Node::from_yaml(&yaml.replace("580.95.05", "535.161.08").replace("13.0", "12.2"));
    let nvml = node.nvml();
    let probes = block_on(nvml.probe()).unwrap();
    assert!(
        probes.iter().all(|probe| probe.is_well() && probe.recovery == Reading::NotSupported),
        "{probes:?}"
    );
    let calls = nvml.status().borrow().queries.calls;
    assert!(calls <= 2 + 8 * 8, "{calls}");
    node.fault_of_gpu(3, "nvmlDeviceGetMemoryInfo", Effect::Return(999));
    let probes = block_on(nvml.probe()).unwrap();
    let failed = probes[3].failure.as_ref().map(|failure| (failure.call.as_str(), failure.code));
    assert_eq!(failed, Some(("nvmlDeviceGetMemoryInfo", 999)));
}

fn recovery_action_that_cannot_be_told_makes_no_gpu_unwell() {
    let node = Node::of("dgx-a100");
    node.fault_of_gpu(1, "nvmlDeviceGetFieldValues", Effect::Return(999));
    node.fault_of_gpu(2, "nvmlDeviceGetFieldValues", Effect::Return(16));
    let probes = block_on(node.nvml().probe()).unwrap();
    assert!(probes[1].is_well(), "{:?}", probes[1]);
    // The code of a GPU that must be reset says it all.
    assert_eq!(probes[2].failure.as_ref().map(|failure| failure.code), Some(16));
}
