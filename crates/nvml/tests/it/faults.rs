//! A driver that hangs, crashes, or is slow.

use std::time::{Duration, Instant};

use gpu_model::{GpuFailure, failure};
use nvml::{NvmlError, RoleState};
use nvml_sim::Effect;

use crate::node::{DEADLINE, Node, block_on, eventually};

crate::tests![
    function_that_hangs_is_stuck_by_name_and_answers_after_it_is_cleared,
    init_that_hangs_is_stuck_by_name,
    function_that_crashes_costs_one_call_and_is_named,
    single_crash_in_one_gpus_call_costs_nobody_anything,
    gpu_that_hangs_in_an_inventory_fails_alone_by_name_and_comes_back,
    gpu_that_hangs_in_a_probe_fails_alone_by_name,
    gpu_that_crashes_the_library_fails_alone_by_name,
    two_gpus_that_hang_leave_six,
    gpus_that_failed_together_come_back_together,
    gpu_that_hangs_in_the_topology_is_left_out_there_and_listed_elsewhere,
    driver_slow_in_every_call_is_waited_for,
    shutdown_during_a_hang_does_not_wait_for_it,
];

/// Every GPU hangs: more than one question leaves out.
fn function_that_hangs_is_stuck_by_name_and_answers_after_it_is_cleared() {
    let node = Node::of("dgx-a100");
    let nvml = node.impatient_nvml();
    node.fault("nvmlDeviceGetName", Effect::Hang, None);
    let error = block_on(nvml.inventory()).unwrap_err();
    assert_eq!(error, NvmlError::Stuck { call: "nvmlDeviceGetName".into(), after: DEADLINE });
    // Another operation does not need that function.
    assert_eq!(eventually(|| block_on(nvml.probe())).len(), 8);
    node.state.clear_faults(None).unwrap();
    assert_lists_all_again(&nvml);
}

fn assert_lists_all_again(nvml: &nvml::Nvml) {
    eventually(|| match block_on(nvml.inventory()) {
        Ok(seen) if seen.gpus.len() == 8 => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

fn gpu_that_hangs_in_an_inventory_fails_alone_by_name_and_comes_back() {
    let node = Node::of("dgx-a100");
    let nvml = node.impatient_nvml();
    node.fault_of_gpu(3, "nvmlDeviceGetName", Effect::Hang);
    for _ in 0..3 {
        let seen = block_on(nvml.inventory()).unwrap();
        assert_eq!(seen.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6, 7]);
        let expected = GpuFailure { index: 3, call: "nvmlDeviceGetName".into(), code: failure::NO_RETURN };
        assert_eq!(seen.failures, [expected]);
    }
    node.state.clear_faults(None).unwrap();
    assert_lists_all_again(&nvml);
}

fn gpu_that_hangs_in_a_probe_fails_alone_by_name() {
    let node = Node::of("dgx-a100");
    let nvml = node.impatient_nvml();
    node.fault_of_gpu(5, "nvmlDeviceGetFieldValues", Effect::Hang);
    let probes = block_on(nvml.probe()).unwrap();
    let unwell: Vec<_> = probes.iter().filter(|probe| !probe.is_well()).collect();
    let [probe] = unwell.as_slice() else { panic!("{probes:?}") };
    let call = "nvmlDeviceGetFieldValues".to_owned();
    assert_eq!(probe.failure, Some(GpuFailure { index: 5, call, code: failure::NO_RETURN }));
    assert_eq!(probes.len(), 8);
}

fn gpu_that_crashes_the_library_fails_alone_by_name() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.fault_of_gpu(2, "nvmlDeviceGetMemoryInfo", Effect::Crash);
    let seen = block_on(nvml.inventory()).unwrap();
    assert_eq!(seen.gpus.len(), 7);
    let expected = GpuFailure { index: 2, call: "nvmlDeviceGetMemoryInfo".into(), code: failure::CRASH };
    assert_eq!(seen.failures, [expected]);
}

fn two_gpus_that_hang_leave_six() {
    let node = Node::of("dgx-a100");
    let nvml = node.impatient_nvml();
    node.fault_of_gpu(0, "nvmlDeviceGetPciInfo_v3", Effect::Hang);
    node.fault_of_gpu(7, "nvmlDeviceGetUUID", Effect::Hang);
    let seen = block_on(nvml.inventory()).unwrap();
    assert_eq!(seen.gpus.len(), 6);
    let failures: Vec<_> =
        seen.failures.iter().map(|failure| (failure.index, failure.call.as_str())).collect();
    assert_eq!(failures, [(0, "nvmlDeviceGetPciInfo_v3"), (7, "nvmlDeviceGetUUID")]);
}

/// As after a stall of the whole driver.
fn gpus_that_failed_together_come_back_together() {
    let node = Node::of("dgx-a100");
    let mut config = node.config();
    config.deadlines.query = DEADLINE;
    (config.backoff.first, config.backoff.max) = (Duration::from_millis(1), Duration::from_millis(1));
    let nvml = node.nvml_with(config);
    let begun = Instant::now();
    (0..6).for_each(|gpu| node.fault_of_gpu(gpu, "nvmlDeviceGetFieldValues", Effect::Crash));
    let well = || {
        let probes = block_on(nvml.probe()).map_err(|error| error.to_string())?;
        Ok::<_, String>(probes.iter().filter(|probe| probe.is_well()).count())
    };
    eventually(|| match well() {
        Ok(2) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    node.state.clear_faults(None).unwrap();
    // A pause that has doubled is one deadline longer than the time that it took to grow.
    let (cleared, longest) = (Instant::now(), begun.elapsed() + DEADLINE);
    eventually(|| match cleared.elapsed() {
        time if time > longest && nvml.status().borrow().queries.abandoned == 0 => Ok(()),
        time => Err(format!("{time:?}")),
    });
    assert_eq!(well(), Ok(8));
}

fn gpu_that_hangs_in_the_topology_is_left_out_there_and_listed_elsewhere() {
    let node = Node::of("dgx-a100");
    let nvml = node.impatient_nvml();
    node.fault_of_gpu(1, "nvmlDeviceGetNvLinkState", Effect::Hang);
    let topology = block_on(nvml.topology()).unwrap();
    assert_eq!((topology.gpus.len(), topology.pairs.len()), (7, 21));
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
}

fn init_that_hangs_is_stuck_by_name() {
    let node = Node::of("t4");
    node.fault("nvmlInit_v2", Effect::Hang, None);
    let mut config = node.config();
    config.deadlines.init = DEADLINE;
    let error = block_on(node.nvml_with(config).inventory()).unwrap_err();
    let call = "dlopen, nvmlInit_v2, nvmlSystemGetDriverVersion".into();
    assert_eq!(error, NvmlError::Stuck { call, after: DEADLINE });
}

fn function_that_crashes_costs_one_call_and_is_named() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.fault("nvmlSystemGetNVMLVersion", Effect::Crash, Some(1));
    let error = block_on(nvml.inventory()).unwrap_err();
    let expected =
        NvmlError::Crashed { call: "nvmlSystemGetNVMLVersion".into(), how: "signal 11 (SIGSEGV)".into() };
    assert_eq!(error, expected);
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
}

fn single_crash_in_one_gpus_call_costs_nobody_anything() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.fault("nvmlDeviceGetMemoryInfo", Effect::Crash, Some(1));
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
    assert_eq!(nvml.status().borrow().queries.starts, 2);
}

fn driver_slow_in_every_call_is_waited_for() {
    let node = Node::of("dgx-a100");
    node.state.set_latency(None, Some("150ms".parse().unwrap())).unwrap();
    let begun = Instant::now();
    assert_eq!(block_on(node.impatient_nvml().inventory()).unwrap().gpus.len(), 8);
    assert!(begun.elapsed() > 2 * DEADLINE, "not slow enough to prove anything: {:?}", begun.elapsed());
}

fn shutdown_during_a_hang_does_not_wait_for_it() {
    let node = Node::of("t4");
    node.fault("nvmlDeviceGetName", Effect::Hang, None);
    let mut config = node.config();
    config.deadlines.query = Duration::from_secs(3600);
    let nvml = node.nvml_with(config);
    let answer = block_on(async {
        let asking = nvml.inventory();
        let stopping = async {
            let is_slow = |state: &RoleState| matches!(state, RoleState::Slow { call, .. } if call == "nvmlDeviceGetName");
            nvml.status().wait_for(|status| is_slow(&status.queries.state)).await.unwrap();
            nvml.shutdown().await;
        };
        tokio::join!(asking, stopping).0
    });
    assert_eq!(answer.unwrap_err(), NvmlError::Closed);
}
